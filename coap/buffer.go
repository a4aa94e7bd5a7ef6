package coap

import "sync"

// readSize is how much one read takes at most, bytes: a whole TLS record of
// the usual kind, several hundred small requests.
const readSize = 16 << 10

// keepSize is the largest buffer that goes back to the pool, bytes.
const keepSize = 64 << 10

// buffer is borrowed memory.
type buffer struct{ b []byte }

// buffers holds the memory of all connections that are just now reading or
// writing. It is a cache, not state: nothing depends on what is in it.
var buffers = sync.Pool{New: func() any { return &buffer{b: make([]byte, 0, readSize)} }}

// borrow returns an empty buffer with room for readSize bytes.
func borrow() *buffer { return buffers.Get().(*buffer) }

// free gives b back; nobody may use it any more. A nil buffer is fine.
func (b *buffer) free() {
	if b == nil || cap(b.b) > keepSize {
		return
	}
	b.b = b.b[:0]
	buffers.Put(b)
}
