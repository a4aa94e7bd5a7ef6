package event

import (
	"context"
	"errors"
	"time"

	"github.com/farreach/farreach/store"
)

// What is kept of a resource that has been silent for long is its last state:
//
//	oldest ···─┬─···───────┬──────────────────────────────── newest
//	           └ must be looked through │ └ is looked through then: the newest event
//	                                        of each resource that lies before it ──▶ kept
//
// These are the parts of the log, by age and, if its size is limited, by size.
const (
	mustKeep  = 8 // an eighth is left to go before it is too late
	doKeep    = 4 // a fourth is looked through at once
	keepEvery = 10 * time.Second
)

// border is a place in the log: what was taken before time or up to seq lies
// before it.
type border struct {
	seq  uint64
	time time.Time
}

func (b border) before(r store.Record) bool { return r.Seq <= b.seq || r.Time.Before(b.time) }

// keep keeps the states that are about to go, until ctx ends. Of all processes
// that share the store, one does.
func (e *Events) keep(ctx context.Context) error {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	var done border
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-tick.C:
			if _, err := e.keepStates(ctx, &done, now); err != nil && ctx.Err() == nil {
				e.log.Warn("last states are not kept for now", "err", err)
			}
		}
	}
}

// keepStates looks through what is about to go, unless that lies before done
// already, and says how many states it kept.
func (e *Events) keepStates(ctx context.Context, done *border, now time.Time) (n int, err error) {
	x, err := e.records.Extent(ctx)
	if err != nil || x.Oldest.IsZero() {
		return 0, err
	}
	must, upTo := e.border(x, now, mustKeep), e.border(x, now, doKeep)
	if must.seq <= done.seq && (!must.time.After(done.time) || !x.Oldest.Before(must.time)) {
		return 0, nil
	}
	var failed error
	err = e.records.LastAll(ctx, nil, func(r store.Record) bool {
		if !upTo.before(r) {
			return true
		}
		n++
		_, failed = e.kept.Append(ctx, r.Key, r.Data)
		return failed == nil
	})
	if err = errors.Join(err, failed); err == nil {
		*done = upTo
	}
	return n, err
}

// border is that of the part of the log that goes next: one by parts of what
// it may hold.
func (e *Events) border(x store.Extent, now time.Time, parts uint64) border {
	b := border{time: now.Add(e.cfg.MaxAge/time.Duration(parts) - e.cfg.MaxAge)}
	if e.cfg.MaxBytes > 0 && x.Bytes >= e.cfg.MaxBytes/2 {
		b.seq = x.First + (x.Last-x.First)/parts
	}
	return b
}
