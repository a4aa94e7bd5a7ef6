package xmppd

import (
	"slices"
	"sync"
	"time"

	"github.com/farreach/farreach/xmpp/stream"
)

// batch is what the handling of some bytes brings about: stanzas that are added
// to the queues of others and, at its end, written there. It is borrowed from a
// pool, so that routing allocates nothing.
type batch struct {
	from    *conn       // whose bytes they are; nil: nobody waits
	touched []*conn     // with something in their queues
	item    stream.Item // the one at hand
	scratch []byte      // the stanza that is made of it
	stanzas int         // that came
}

var batches = sync.Pool{New: func() any { return new(batch) }}

func newBatch(from *conn) *batch {
	x := batches.Get().(*batch)
	x.from = from
	return x
}

// keepScratch is the largest scratch that goes back to the pool, bytes.
const keepScratch = 64 << 10

// free gives x back; nobody may use it any more.
func (x *batch) free() {
	clear(x.touched[:cap(x.touched)])
	if cap(x.scratch) > keepScratch {
		x.scratch = nil
	}
	*x = batch{touched: x.touched[:0], scratch: x.scratch[:0]}
	batches.Put(x)
}

// done writes what was added.
func (x *batch) done() {
	for i, c := range x.touched {
		c.queue.Flush()
		x.touched[i] = nil
	}
	x.touched = x.touched[:0]
}

// touch notes that something was added to the queue of c, which is due to be
// written or can wait until done.
func (x *batch) touch(c *conn, due bool) {
	switch {
	case due:
		c.queue.Flush()
	case !slices.Contains(x.touched[max(len(x.touched)-4, 0):], c): // twice is no harm
		x.touched = append(x.touched, c)
	}
}

// begin begins a stanza of our own in scratch. The addresses and the id are as
// they stand in attributes; nil: none.
func (x *batch) begin(name, typ string, from, to, id []byte) {
	b := append(append(x.scratch[:0], '<'), name...)
	if typ != "" {
		b = appendRaw(b, " type=", []byte(typ))
	}
	b = appendRaw(b, " from=", from)
	b = appendRaw(b, " to=", to)
	b = appendRaw(b, " id=", id)
	x.scratch = append(b, '>')
}

// appendRaw appends an attribute whose value is as it stood in one, whatever
// the quotes around it were.
func appendRaw(b []byte, name string, value []byte) []byte {
	if value == nil {
		return b
	}
	q := byte('\'')
	if slices.Contains(value, q) {
		q = '"'
	}
	b = append(append(b, name...), q)
	return append(append(b, value...), q)
}

// stamp puts the item into scratch as it goes to others.
func (x *batch) stamp(it *stream.Item, s stream.Stamp) {
	x.scratch = it.AppendStamped(x.scratch[:0], s)
}

// post hands the stanza in scratch to a session, and reports whether it could.
// One that takes too little of what it gets is ended.
func (x *batch) post(s *session) bool { return x.deliver(s, 0) }

// patience is how long a sender waits for a receiver that is slow. Whoever
// takes nothing for so long, with a queue that is full, is ended.
const patience = time.Second

// deliver is post that waits for a slow receiver, at most for the time given.
func (x *batch) deliver(s *session, wait time.Duration) bool {
	for deadline := (time.Time{}); ; {
		c, due, how := s.put(x.scratch)
		switch how {
		case taken:
			if c != nil {
				x.touch(c, due)
			}
			return true
		case absent:
			return false
		}
		if deadline.IsZero() {
			deadline = time.Now().Add(wait)
		}
		if c == nil || !x.awaitRoom(s, c, deadline) {
			s.overflow()
			return false
		}
	}
}

// awaitRoom waits until the queue of s, whose connection is c, may have room.
// It reports false when the deadline has come.
func (x *batch) awaitRoom(s *session, c *conn, deadline time.Time) bool {
	left := time.Until(deadline)
	if left <= 0 || x.from == nil {
		return false
	}
	x.done() // nobody shall wait for what we hold back
	changed, acked := c.queue.Changed(), s.acked()
	if !s.full() {
		return true
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-changed:
	case <-acked:
	case <-c.over:
	case <-x.from.done:
	case <-timer.C:
		return false
	}
	return true
}
