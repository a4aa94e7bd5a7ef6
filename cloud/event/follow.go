package event

import (
	"context"
	"fmt"
	"time"

	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/store"
)

// Follow calls each for the events from f.From on, and for each new one, until
// ctx ends or each returns an error, which is returned. From 0, or beyond the
// end of the log, it starts with the first new event. What does not fit into a
// short queue waits in the store, for as long as each takes; Follow goes on by
// itself when the store was away. Bodies are shared: not to be changed.
//
// To go on after an interruption: f.From is the Seq of the last event seen + 1.
func (e *Events) Follow(ctx context.Context, f Filter, each func(Event) error) error {
	prefix, err := f.prefix()
	if err != nil {
		return err
	}
	return e.follow(ctx, f, prefix, Everything, oneByOne(each))
}

// FollowAll is Follow for the events of all accounts, for what acts on behalf
// of each of them. Of f only From and Begun count.
func (e *Events) FollowAll(ctx context.Context, f Filter, each func(Event) error) error {
	return e.follow(ctx, Filter{From: f.From, Begun: f.Begun}, nil, Everything, oneByOne(each))
}

func oneByOne(each func(Event) error) func(context.Context, News) error {
	return func(ctx context.Context, n News) error {
		for _, ev := range n.Events {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := each(ev); err != nil {
				return err
			}
		}
		return nil
	}
}

// follow does it. prefix selects what f does; see pile for merge.
func (e *Events) follow(ctx context.Context, f Filter, prefix []string, merge int, each func(context.Context, News) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(e.life, func() { cancel(fmt.Errorf("%w: closed", store.ErrUnavailable)) })()
	select {
	case <-e.feed.begun:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	queue := e.feed.join(key{f.Account, f.Device, f.Href}, merge)
	defer queue.leave()
	c := course{events: e, prefix: prefix, queue: queue, merge: merge, each: each}
	var err error
	if c.next, err = e.start(ctx, f.From); err != nil {
		return err
	}
	if f.Begun != nil {
		f.Begun()
	}
	for wait := again; ; {
		stopped, err := c.run(ctx)
		switch {
		case stopped:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			wait = again
		default:
			e.log.Debug("events cannot be read for now", "next", c.next, "err", err)
			_ = backoff.Sleep(ctx, wait.Next()) // run sees the end of ctx too
		}
	}
}

// again is how long to wait while the store cannot be read.
var again = backoff.Backoff{Base: 10 * time.Millisecond, Max: time.Second}

// start is the sequence to follow from, for somebody who asks for from.
func (e *Events) start(ctx context.Context, from uint64) (uint64, error) {
	e.feed.mu.Lock()
	end := max(e.feed.pos, e.appended.Load())
	e.feed.mu.Unlock()
	for wait := again; from > end+1; { // another process may have appended just now
		x, err := e.records.Extent(ctx)
		switch {
		case err == nil:
			return min(from, x.Last+1), nil
		case ctx.Err() != nil:
			return 0, context.Cause(ctx)
		}
		_ = backoff.Sleep(ctx, wait.Next())
	}
	if from == 0 {
		return end + 1, nil
	}
	return from, nil
}

// course is how far a follower has come.
type course struct {
	events *Events
	prefix []string
	queue  *follower
	merge  int // pile.merge
	each   func(context.Context, News) error
	next   uint64 // all events before it are done
}

// run goes on until the queue was too short, or stopped by each.
func (c *course) run(ctx context.Context) (stopped bool, err error) {
	if stopped, err = c.catchUp(ctx, c.queue.reset()); stopped || err != nil {
		return stopped, err
	}
	for {
		news, behind := c.queue.take(ctx)
		if err := c.pass(ctx, news); err != nil {
			return true, err
		}
		if behind || ctx.Err() != nil {
			return false, nil
		}
	}
}

const (
	// dense is how many records are read all together rather than have the
	// store choose among them: that costs it more than reading them. It is also
	// how many events somebody may be behind before states replace them.
	dense = 2 * maxQueue

	// What is read from the store is passed on in parts of so many events, or
	// bytes of bodies.
	part      = 64
	partBytes = 64 << 10
)

// catchUp passes on what the store has up to a sequence.
func (c *course) catchUp(ctx context.Context, upTo uint64) (stopped bool, err error) {
	if c.next > upTo {
		return false, nil
	}
	records := c.events.records
	if upTo-c.next < dense {
		read := func(each func(store.Record) bool) error {
			return records.Read(ctx, store.Start{Seq: c.next}, nil, each)
		}
		return c.read(ctx, upTo, 0, read)
	}
	if c.merge != Everything {
		n, err := records.Count(ctx, c.next, upTo, c.prefix)
		if err != nil {
			return false, err
		}
		if n > dense {
			return c.read(ctx, upTo, n, func(each func(store.Record) bool) error { return records.LastAll(ctx, c.prefix, each) })
		}
	}
	read := func(each func(store.Record) bool) error {
		return records.Read(ctx, store.Start{Seq: c.next}, c.prefix, each)
	}
	return c.read(ctx, upTo, 0, read)
}

// read passes on what a reader gives, from c.next up to a sequence. If that is
// not all there is, many is how many events there are.
func (c *course) read(ctx context.Context, upTo, many uint64, reader func(each func(store.Record) bool) error) (stopped bool, err error) {
	var failed error
	var found uint64
	some := pile{merge: c.merge}
	pass := func() bool { failed = c.pass(ctx, some.take()); return failed == nil }
	err = reader(func(r store.Record) bool {
		if r.Seq > upTo {
			return false
		}
		ev, err := parseRecord(r)
		if err != nil {
			c.events.broken(r, err)
			return true
		}
		if r.Seq < c.next || !c.queue.key.matches(&ev) {
			return true
		}
		found++
		if !some.put(ev) {
			return pass() && some.put(ev)
		}
		return c.merge == 0 || len(some.events) < part && some.bytes < partBytes || pass()
	})
	if err == nil && many > found {
		some.merged += int(many - found)
	}
	if failed == nil && pass() && err == nil {
		c.next = upTo + 1
	}
	if failed != nil {
		return true, failed
	}
	return false, err
}

// pass hands on what has not been handed on yet.
func (c *course) pass(ctx context.Context, n News) error {
	if len(n.Events) > 0 {
		for len(n.Events) > 0 && n.Events[0].Seq < c.next {
			n.Events = n.Events[1:]
		}
		n.Merged *= min(len(n.Events), 1) // all were older than what has been handed on
	}
	if len(n.Events) == 0 && n.Merged == 0 {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := c.each(ctx, n); err != nil {
		return err
	}
	if k := len(n.Events); k > 0 {
		c.next = n.Events[k-1].Seq + 1
	}
	return nil
}
