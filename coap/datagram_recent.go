package coap

import "time"

// Times of RFC 7252, section 4.8.2: how long a Message ID may come again.
const (
	exchangeLifetime = 247 * time.Second
	nonLifetime      = 145 * time.Second
)

// Bounds of what is remembered for each peer.
const (
	maxRecent  = 64      // messages
	maxAnswers = 8 << 10 // bytes of their answers
	keepAnswer = 128     // bytes of memory that an entry keeps for its next answer
)

// recent are the last messages of a peer with what was answered, so that a
// duplicate gets the same answer and is not carried out twice (RFC 7252,
// section 4.5).
type recent struct {
	ids     []uint16 // of entries, for the search
	entries []entry
	next    int    // which to overwrite when there are maxRecent
	serial  uint64 // of the newest entry
	bytes   int    // in all answers
}

type entry struct {
	serial uint64
	until  time.Duration // since Endpoint.born
	answer []byte        // the whole datagram; empty: none yet, or none any more
	lost   bool          // there was an answer; it was dropped
}

// find returns the entry of a message that came before; nil: it did not.
func (r *recent) find(id uint16, now time.Duration) *entry {
	for i, have := range r.ids {
		if have == id && r.entries[i].until > now {
			return &r.entries[i]
		}
	}
	return nil
}

// add remembers a message, in the place of the oldest if there are too many.
func (r *recent) add(id uint16, until time.Duration) *entry {
	r.serial++
	if len(r.entries) < maxRecent {
		r.ids = append(r.ids, id)
		r.entries = append(r.entries, entry{serial: r.serial, until: until})
		return &r.entries[len(r.entries)-1]
	}
	e := &r.entries[r.next]
	r.ids[r.next] = id
	r.next = (r.next + 1) % maxRecent
	r.bytes -= len(e.answer)
	*e = entry{serial: r.serial, until: until, answer: e.answer[:0]}
	if cap(e.answer) > keepAnswer {
		e.answer = nil
	}
	return e
}

// drop forgets a message, which then counts as new when it comes again.
func (r *recent) drop(e *entry) {
	r.bytes -= len(e.answer)
	e.answer, e.until = e.answer[:0], 0
}

// keep remembers the answer to the message with a serial number, if that is
// still remembered itself.
func (r *recent) keep(serial uint64, answer []byte) {
	for i := range r.entries {
		e := &r.entries[i]
		if e.serial != serial {
			continue
		}
		r.bytes += len(answer) - len(e.answer)
		e.answer = append(e.answer[:0], answer...)
		e.lost = false
		r.trim(i)
		return
	}
}

// trim drops the oldest answers while there are too many bytes of them; but
// not that of the entry at i.
func (r *recent) trim(i int) {
	for at := r.next; r.bytes > maxAnswers; at++ {
		e := &r.entries[at%len(r.entries)]
		if at%len(r.entries) == i || len(e.answer) == 0 {
			if at > r.next+2*maxRecent {
				return
			}
			continue
		}
		r.bytes -= len(e.answer)
		e.answer, e.lost = nil, true
	}
}
