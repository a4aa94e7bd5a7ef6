// Package sm counts stanzas as XEP-0198 does, for both ends of a stream: what
// was sent and is not acknowledged is kept, so that a connection can break and
// nothing is lost or comes twice.
//
//	Send ── Queue.Add ──▶ wire ──▶ peer ── Received.Add ──▶ handler
//	        Queue.Ack ◀── <a h='7'/> ◀── Received.H
//	lost ── resume ──▶ <resumed h='5'/> ── Queue.Ack, then Queue.All again ──▶ wire
//
// It knows neither streams nor time, and is not for several goroutines at once.
package sm

import (
	"errors"
	"iter"
	"strconv"
	"sync"
)

// Namespace is that of all elements of XEP-0198.
const Namespace = "urn:xmpp:sm:3"

// Request asks the peer for an Ack (XEP-0198, section 4).
const Request = "<r xmlns='" + Namespace + "'/>"

// The defaults of a Queue.
const (
	DefaultStanzas = 1000
	DefaultBytes   = 1 << 20
)

var (
	// ErrFull says that the peer acknowledges too little. The session is over.
	ErrFull = errors.New("sm: too much is not acknowledged")
	// ErrTooHigh says that the peer acknowledges what was not sent. The stream
	// ends with undefined-condition (XEP-0198, section 4).
	ErrTooHigh = errors.New("sm: more was acknowledged than sent")
)

// AppendAck appends <a h='…'/>.
func AppendAck(b []byte, h uint32) []byte {
	b = append(b, "<a xmlns='"+Namespace+"' h='"...)
	b = strconv.AppendUint(b, uint64(h), 10)
	return append(b, "'/>"...)
}

// ParseH reads an attribute h: a number of 32 bits without a sign.
func ParseH(s string) (h uint32, ok bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil
}

// Received counts the stanzas that came: messages, presences and iqs, nothing
// else. The zero value has had none.
type Received struct{ h uint32 }

// Add counts one more.
func (r *Received) Add() { r.h++ }

// H is what to acknowledge.
func (r *Received) H() uint32 { return r.h }

// Queue holds what was sent and is not acknowledged, in order. The zero value
// is empty, with the default bounds, and takes no memory. All stanzas lie in
// one piece of memory, which is borrowed while there are any: adding one allocates
// nothing once those that are lent have grown.
type Queue struct {
	MaxStanzas int // 0: 1,000
	MaxBytes   int // of stanzas; 0: 1 MiB

	acked uint32  // stanzas that the peer has acknowledged, modulo 2^32
	mem   *memory // nil: there are none
	sizes []int   // of those it has not; sizes[first:] are in use
	first int
	bytes []byte // the stanzas; bytes[start:] are in use
	start int
}

// memory is what a Queue borrows.
type memory struct {
	sizes []int
	bytes []byte
}

var memories = sync.Pool{New: func() any { return new(memory) }}

// maxLent is the largest memory that is lent again, bytes.
const maxLent = 256 << 10

// Add keeps a copy of a stanza that is being sent. The error is ErrFull, after
// which nothing was kept.
func (q *Queue) Add(stanza []byte) error {
	if q.Len() >= or(q.MaxStanzas, DefaultStanzas) || q.Size()+len(stanza) > or(q.MaxBytes, DefaultBytes) {
		return ErrFull
	}
	if q.mem == nil {
		q.mem = memories.Get().(*memory)
		q.bytes, q.sizes = q.mem.bytes[:0], q.mem.sizes[:0]
	}
	if q.start > 0 && len(q.bytes)+len(stanza) > cap(q.bytes) { // room in front before more memory
		q.bytes = q.bytes[:copy(q.bytes, q.bytes[q.start:])]
		q.start = 0
	}
	if q.first > 0 && len(q.sizes) == cap(q.sizes) {
		q.sizes = q.sizes[:copy(q.sizes, q.sizes[q.first:])]
		q.first = 0
	}
	q.bytes = append(q.bytes, stanza...)
	q.sizes = append(q.sizes, len(stanza))
	return nil
}

// Ack drops what the peer has handled: all up to the h-th stanza. The same h
// again is fine. The error is ErrTooHigh.
func (q *Queue) Ack(h uint32) error {
	n := int(h - q.acked) // modulo 2^32
	if n < 0 || n > q.Len() {
		return ErrTooHigh
	}
	for range n {
		q.start += q.sizes[q.first]
		q.first++
	}
	q.acked = h
	if q.Len() == 0 {
		q.clear()
	}
	return nil
}

func (q *Queue) clear() {
	if q.mem != nil && cap(q.bytes) <= maxLent {
		q.mem.bytes, q.mem.sizes = q.bytes, q.sizes
		memories.Put(q.mem)
	}
	q.mem, q.bytes, q.sizes, q.start, q.first = nil, nil, nil, 0, 0
}

// Len is how many stanzas are not acknowledged.
func (q *Queue) Len() int { return len(q.sizes) - q.first }

// Size is how many bytes these have.
func (q *Queue) Size() int { return len(q.bytes) - q.start }

// Sent is how many stanzas were ever added, modulo 2^32.
func (q *Queue) Sent() uint32 { return q.acked + uint32(q.Len()) }

// All yields what is not acknowledged, the oldest first. A slice is good until
// the next Add or Ack.
func (q *Queue) All() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		at := q.start
		for _, n := range q.sizes[q.first:] {
			if !yield(q.bytes[at : at+n : at+n]) {
				return
			}
			at += n
		}
	}
}

func or(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}
