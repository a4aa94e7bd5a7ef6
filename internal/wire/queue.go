package wire

import (
	"sync"
	"time"
)

const (
	recordBytes = 16 << 10 // of a TLS record, beyond which joining gains nothing

	pieceBytes = 16 << 10         // of a write that may wait
	pieceTime  = 10 * time.Second // in which the peer must take one
)

// Queue is what is to be written on a Link. Whoever adds to it also writes, if
// nobody does and the socket takes it at once; only while the socket is full
// another goroutine waits for it. Everything that waits leaves in one write.
//
//	Add ──▶ out ──▶ Flush ── Link.Try ──▶ socket
//	                  └──── full ──▶ drain ── Link.WriteBefore ──▶ socket
//
// Its fields are set before it is used. Its methods may be called from several
// goroutines, and call the functions among the fields without a lock.
type Queue struct {
	Link     Link
	Go       func(f func()) bool // runs f on a goroutine that somebody waits for; false: it is too late for that
	Failed   func(err error)     // called once when writing fails; nothing is written any more
	MaxItems int                 // 0: 256
	MaxBytes int                 // 0: 1 MiB

	mu     sync.Mutex // guards all below
	out    *Buffer    // not yet given to the socket; nil: nothing
	items  int        // in out
	hand   int        // items just being written
	bytes  int        // of those
	busy   bool       // somebody writes
	closed bool       // nothing is taken any more
	change chan struct{}
}

// Add appends the pieces of one item, full or not, and keeps none of them. It
// does not write; due says that one more like it would not fit into the same
// TLS record, so that waiting for more before Flush gains nothing.
func (q *Queue) Add(pieces ...[]byte) (due bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	if q.out == nil {
		q.out = Borrow()
	}
	before := len(q.out.B)
	for _, p := range pieces {
		q.out.B = append(q.out.B, p...)
	}
	q.items++
	return !q.busy && 2*len(q.out.B)-before > recordBytes
}

// Close makes Add ignore what comes from now on. What waits is still written.
func (q *Queue) Close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
}

// Full reports whether no more should be added.
func (q *Queue) Full() bool {
	items, bytes := q.Size()
	return items >= orDefault(q.MaxItems, 256) || bytes >= orDefault(q.MaxBytes, 1<<20)
}

func orDefault(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}

// Size is how much waits to be written.
func (q *Queue) Size() (items, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	items, bytes = q.items+q.hand, q.bytes
	if q.out != nil {
		bytes += len(q.out.B)
	}
	return items, bytes
}

// Changed returns a channel that is closed when less waits to be written than
// now, and when writing has failed. Ask for it before looking at Size or Full.
func (q *Queue) Changed() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.change == nil {
		q.change = make(chan struct{})
	}
	return q.change
}

// changed tells who waits. q.mu is held.
func (q *Queue) changed() {
	if q.change != nil {
		close(q.change)
		q.change = nil
	}
}

// Flush writes what waits, if nobody else does, and does not wait itself.
func (q *Queue) Flush() {
	q.mu.Lock()
	if q.busy {
		q.mu.Unlock()
		return
	}
	for b := q.take(); b != nil; b = q.take() {
		q.mu.Unlock()
		n, err := q.Link.Try(b.B)
		switch {
		case err != nil:
			b.Free()
			q.fail(err)
			return
		case n < len(b.B) || q.Link.Pending():
			if q.Go == nil || !q.Go(func() { q.drain(b, n) }) {
				b.Free()
			}
			return
		}
		b.Free()
		q.mu.Lock()
	}
	q.mu.Unlock()
}

// take takes all that waits, to be written; nil if nothing does, and then
// nobody writes any more. q.mu is held.
func (q *Queue) take() *Buffer {
	b := q.out
	q.out, q.hand, q.bytes, q.items = nil, q.items, 0, 0
	q.busy = b != nil
	if b != nil {
		q.bytes = len(b.B)
	}
	q.changed()
	return b
}

// drain goes on writing while the socket is full. b is borrowed, and written up
// to from.
func (q *Queue) drain(b *Buffer, from int) {
	for b != nil {
		err := q.writeAll(b.B[from:])
		b.Free()
		if err != nil {
			q.fail(err)
			return
		}
		q.mu.Lock()
		b, from = q.take(), 0
		q.mu.Unlock()
	}
}

// writeAll writes b in pieces, each of which may wait.
func (q *Queue) writeAll(b []byte) error {
	for {
		piece := b[:min(len(b), pieceBytes)]
		if err := q.Link.WriteBefore(piece, time.Now().Add(pieceTime)); err != nil {
			return err
		}
		if b = b[len(piece):]; len(b) == 0 {
			return nil
		}
		q.mu.Lock()
		q.bytes = len(b)
		q.changed()
		q.mu.Unlock()
	}
}

// fail ends the queue. It stays busy, so that nobody writes.
func (q *Queue) fail(err error) {
	q.mu.Lock()
	q.closed = true
	q.out.Free()
	q.out, q.items, q.hand, q.bytes = nil, 0, 0, 0
	q.changed()
	q.mu.Unlock()
	if q.Failed != nil {
		q.Failed(err)
	}
}
