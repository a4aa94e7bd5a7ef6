package wire

import "sync"

// readSize is how much one read takes at most, bytes: a whole TLS record of
// the usual kind, several hundred small requests.
const readSize = 16 << 10

// keepSize is the largest buffer that goes back to the pool, bytes.
const keepSize = 64 << 10

// Buffer is borrowed memory.
type Buffer struct{ B []byte }

// buffers holds the memory of all connections that are just now reading or
// writing. It is a cache, not state: nothing depends on what is in it.
var buffers = sync.Pool{New: func() any { return &Buffer{B: make([]byte, 0, readSize)} }}

// Borrow returns an empty buffer with room for readSize bytes.
func Borrow() *Buffer { return buffers.Get().(*Buffer) }

// Free gives b back; nobody may use it any more. A nil buffer is fine.
func (b *Buffer) Free() {
	if b == nil || cap(b.B) > keepSize {
		return
	}
	b.B = b.B[:0]
	buffers.Put(b)
}
