package store

import (
	"context"
	"errors"
	"sync"
	"time"
)

// tail is the newest records of a log, in the order in which the embedded server
// acknowledged them. Nobody but this process writes there: who follows the log
// need not have the server read what it was given a moment ago.
//
//	append ── acknowledged ──▶ tail ──────────▶ Log.Follow, up to date
//	            └──────────────▶ the server ──▶ Log.Follow, behind
//
// A record whose acknowledgement did not come may be in the log nevertheless.
// Then the tail begins anew with the first record that is given to the server
// after that, and who follows reads from the server until there.
type tail struct {
	mu      sync.Mutex // guards what follows
	last    uint64     // sequence of the newest record; 0: not known
	records []Record   // up to last, without gaps
	bytes   int        // of their data
	era     int        // counts the begins
	readers map[*tailReader]bool
}

// What a tail holds at most.
const (
	maxTail      = 8192 // for who reads it and is a moment late
	maxTailBytes = 4 << 20
	meetTail     = 512 // for who comes from behind and would go on here
)

// tailReader is one who follows.
type tailReader struct {
	next uint64        // the first record that it has not got; 0: it reads from the server
	wake chan struct{} // holds one if the tail has changed
}

// now is the era of what is given to the server from now on.
func (t *tail) now() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.era
}

// add takes a record that the server has acknowledged, in the order of their
// sequences. era is that of when the server was given it.
func (t *tail) add(era int, r Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if era != t.era || len(t.readers) == 0 {
		return
	}
	if r.Seq != t.last+1 {
		t.records, t.bytes = nil, 0
	}
	t.records, t.bytes, t.last = append(t.records, r), t.bytes+len(r.Data), r.Seq
	for len(t.records) > t.wanted() || t.bytes > maxTailBytes {
		t.drop(1)
	}
	t.rouse()
}

// wanted is how many of the newest records somebody may want, at most maxTail.
// t.mu is held.
func (t *tail) wanted() (n int) {
	for r := range t.readers {
		switch {
		case r.next == 0:
			n = max(n, meetTail)
		case r.next <= t.last:
			n = max(n, int(min(t.last+1-r.next, maxTail)))
		}
	}
	return n
}

// lose begins anew: nobody knows whether a record is in the log.
func (t *tail) lose() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.era++
	t.records, t.bytes, t.last = nil, 0, 0
	t.rouse()
}

// rouse wakes up all who wait. t.mu is held.
func (t *tail) rouse() {
	for r := range t.readers {
		select {
		case r.wake <- struct{}{}:
		default: // it will come anyway
		}
	}
}

// drop forgets the oldest n records. t.mu is held.
func (t *tail) drop(n int) {
	for i := range n {
		t.bytes -= len(t.records[i].Data)
		t.records[i] = Record{}
	}
	if n < len(t.records) {
		t.records = t.records[n:]
	} else if t.records = t.records[:0]; cap(t.records) > maxTail/8 {
		t.records = nil
	}
}

// join returns a reader, which is to leave at the end.
func (t *tail) join() *tailReader {
	r := &tailReader{wake: make(chan struct{}, 1)}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.readers == nil {
		t.readers = map[*tailReader]bool{}
	}
	t.readers[r] = true
	return r
}

func (t *tail) leave(r *tailReader) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if delete(t.readers, r); len(t.readers) == 0 {
		t.records, t.bytes, t.last = nil, 0, 0
	}
}

// has reports whether r can go on here with the record seq.
func (t *tail) has(seq uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.reaches(seq)
}

// reaches is has. t.mu is held.
func (t *tail) reaches(seq uint64) bool {
	return t.last != 0 && seq <= t.last+1 && seq+uint64(len(t.records)) > t.last
}

// take appends to some the records from next on, and reports false if r has to
// read them from the server. What all have got is forgotten.
func (t *tail) take(r *tailReader, next uint64, some []Record) ([]Record, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.reaches(next) {
		r.next = 0
		return some, false
	}
	n := int(t.last + 1 - next)
	some = append(some, t.records[len(t.records)-n:]...)
	r.next = t.last + 1
	if n := len(t.records) - t.wanted(); n > 0 {
		t.drop(n)
	}
	return some, true
}

// errTail ends the reading from the server: the tail has what comes next.
var errTail = errors.New("the tail has it")

// followTail calls each for the records from r.seq on, as long as the tail has
// them. It returns when each does with an error, and then stopped is true, or
// when ctx has ended or r.seq is to be read from the server.
func (l *Log) followTail(ctx context.Context, r *reader, t *tailReader, prefix []string, each func(Record) error) (stopped bool, err error) {
	var some []Record
	for {
		var ok bool
		if some, ok = l.tail.take(t, r.seq, some[:0]); !ok {
			return false, nil
		}
		for i := range some {
			if ctx.Err() != nil {
				return false, ctx.Err()
			}
			if below(prefix, some[i].Key) {
				if err := each(some[i]); err != nil {
					return true, err
				}
			}
			r.seq = some[i].Seq + 1
		}
		if len(some) > 0 {
			clear(some)
			continue
		}
		select {
		case <-t.wake:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// acknowledged hands what the server has to those who follow.
func (r *sent) acknowledged(with acked) {
	switch {
	case r.tail == nil:
	case with.err == nil:
		r.tail.add(r.era, Record{Seq: with.seq, Time: time.Now(), Key: r.key, Data: r.data})
	case with.unknown():
		r.tail.lose()
	}
}
