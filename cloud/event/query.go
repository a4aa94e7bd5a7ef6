package event

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/farreach/farreach/store"
)

// Order is in which order Query gives events, and which of them if there are
// more than f.Limit.
type Order int

// The orders.
const (
	NewestLast  Order = iota // the newest f.Limit, oldest first; with f.From the first ones from there on
	OldestFirst              // the oldest ones
	NewestFirst              // the newest ones
)

// The time of an event is a part of it, and events are found by sequence. So
// what was received between two times is found by halving the log until the
// sequence is known; then only events of the right resources are read:
//
//	seq 1 ····· since ─── slack ┬──────── read ────────┬─ slack ── until ····· newest
//	                            └ at(since)            └ at(until)
//
// Two events may be stored in another order than they were received, but not
// by more than slack, unless the clock of a server was set back by more.
const slack = 10 * time.Second

// maxHeld is how much of bodies Query holds to turn the order around, bytes:
// of the newest events, no more than fit. One event is always given.
const maxHeld = 8 << 20

// Query calls each for the events that f selects, until it returns false. At
// most f.Limit come; newest ones first are also fewer when together they would
// be longer than 8 MiB.
//
// To page through: with OldestFirst, f.From is the Seq of the last event + 1;
// with NewestFirst, f.Before is that of the last event.
func (e *Events) Query(ctx context.Context, f Filter, each func(Event) bool) error {
	prefix, err := f.prefix()
	if err != nil {
		return err
	}
	if f.Limit <= 0 {
		f.Limit = defaultLimit
	}
	r := ranged{e: e, f: f, which: selection{{f.Account, f.Device, f.Href}}, prefix: prefix}
	if err := r.find(ctx); err != nil || r.from >= r.to {
		return err
	}
	if f.Order == OldestFirst || f.Order == NewestLast && f.From > 0 {
		return r.read(ctx, r.from, r.to, func(ev Event) bool {
			f.Limit--
			return each(ev) && f.Limit > 0
		})
	}
	newest, err := r.newest(ctx)
	if err != nil {
		return err
	}
	if f.Order == NewestLast {
		slices.Reverse(newest)
	}
	for _, ev := range newest {
		if !each(ev) {
			break
		}
	}
	return nil
}

// All calls each for every event that f selects, oldest first, until it returns
// false. f.Limit does not count.
func (e *Events) All(ctx context.Context, f Filter, each func(Event) bool) error {
	s, err := f.selection()
	if err != nil {
		return err
	}
	r := ranged{e: e, f: f, which: s}
	if len(s) == 1 {
		r.prefix = s[0].prefix()
	}
	if err := r.find(ctx); err != nil || r.from >= r.to {
		return err
	}
	return r.read(ctx, r.from, r.to, each)
}

// Newest returns the sequence of the newest event; 0 if there never was one.
func (e *Events) Newest(ctx context.Context) (uint64, error) {
	x, err := e.records.Extent(ctx)
	return x.Last, err
}

// ranged is one query.
type ranged struct {
	e        *Events
	f        Filter
	which    selection
	prefix   []string // of the records that the store is to choose; nil: of all
	from, to uint64   // sequences: what is selected is not before from, but before to
}

// find learns the sequences.
func (r *ranged) find(ctx context.Context) error {
	x, err := r.e.records.Extent(ctx)
	if err != nil {
		return err
	}
	r.from, r.to = max(x.First, r.f.From), x.Last+1
	if r.f.Before > 0 {
		r.to = min(r.to, r.f.Before)
	}
	if !r.f.Since.IsZero() {
		if r.from, err = r.e.at(ctx, r.f.Since.Add(-slack), r.from, r.to); err != nil {
			return err
		}
	}
	if !r.f.Until.IsZero() {
		r.to, err = r.e.at(ctx, r.f.Until.Add(slack), r.from, r.to)
	}
	return err
}

// at returns the sequence of the first event at t or later, of those from one
// sequence up to another; if there is none, the latter.
func (e *Events) at(ctx context.Context, t time.Time, from, to uint64) (uint64, error) {
	for from < to {
		middle := from + (to-from)/2
		r, err := e.records.Next(ctx, middle)
		if errors.Is(err, store.ErrNotFound) || err == nil && r.Seq >= to {
			to = middle // nothing is there from the middle on
			continue
		}
		if err != nil {
			return 0, err
		}
		ev, err := parseRecord(r)
		if err != nil {
			e.broken(r, err)
			ev.Time = r.Time
		}
		if ev.Time.Before(t) {
			from = r.Seq + 1
		} else {
			to = middle
		}
	}
	return to, nil
}

// selects reports whether the times of ev are those wanted.
func (r *ranged) selects(ev *Event) bool {
	return !ev.Time.Before(r.f.Since) && (r.f.Until.IsZero() || ev.Time.Before(r.f.Until))
}

// read calls each for the events from one sequence up to another.
func (r *ranged) read(ctx context.Context, from, to uint64, each func(Event) bool) error {
	more := r.e.parsed(func(ev Event) bool { return !r.which.matches(&ev) || !r.selects(&ev) || each(ev) })
	prefix := r.prefix
	if to-from <= dense {
		prefix = nil
	}
	return r.e.records.Read(ctx, store.Start{Seq: from}, prefix, func(rec store.Record) bool {
		return rec.Seq < to && more(rec) && rec.Seq+1 < to
	})
}

// newest returns the newest events, newest first. It looks back in steps that
// grow until there are enough: the events of one device may be rare among all.
func (r *ranged) newest(ctx context.Context) (found []Event, err error) {
	if err := r.silent(ctx); err != nil {
		return nil, err
	}
	w := window{room: maxHeld}
	for to, step := r.to, uint64(2*r.f.Limit); to > r.from && len(found) < r.f.Limit && !w.full; step *= 8 {
		from := r.from
		if to-from > step {
			from = to - step
		}
		w.most = r.f.Limit - len(found)
		if err := r.read(ctx, from, to, w.add); err != nil {
			return nil, err
		}
		found = append(found, w.take()...)
		to = from
	}
	return found, nil
}

// window holds the last events of those that are added, oldest first.
type window struct {
	most   int  // how many at most
	room   int  // bytes of bodies that there is room for; one event is held anyway
	full   bool // there was no room for some
	events []Event
	gone   int // the first ones, which are held no more
}

func (w *window) add(ev Event) bool {
	w.events = append(w.events, ev)
	w.room -= len(ev.Body)
	for n := len(w.events) - w.gone; n > w.most || w.room < 0 && n > 1; n-- {
		w.full = w.full || n <= w.most
		w.room += len(w.events[w.gone].Body)
		w.events[w.gone] = Event{}
		w.gone++
	}
	if w.gone > w.most {
		w.events, w.gone = slices.Delete(w.events, 0, w.gone), 0
	}
	return true
}

// take returns what is held, newest first, and holds nothing any more. Its
// bytes still count.
func (w *window) take() []Event {
	events := w.events[w.gone:]
	w.events, w.gone = nil, 0
	slices.Reverse(events)
	return events
}

// silent brings the end of a query of one resource to where that was heard of
// last, which may be long ago.
func (r *ranged) silent(ctx context.Context) error {
	if r.f.Device == "" || r.f.Href == "" {
		return nil
	}
	last, err := r.e.records.Last(ctx, r.prefix)
	if errors.Is(err, store.ErrNotFound) {
		r.to = r.from
		return nil
	}
	if err == nil {
		r.to = min(r.to, last.Seq+1)
	}
	return err
}
