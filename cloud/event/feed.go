package event

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/store"
)

// feed hands each new event to those who follow it, whichever process appended
// it:
//
//	store ── one reader of all ──▶ feed ── by account, device, href ──▶ queue of a follower ──▶ each
//	  └───────────────── what is older, or what did not fit the queue ─────────────────────────▶ each
//
// A follower that is slow holds up nobody: when its queue is full it gets no
// more of it, and reads from the store what it missed before it waits for new
// events again. So what waits for it there costs no memory either.
type feed struct {
	begun chan struct{} // closed once pos is known

	mu        sync.Mutex // guards what follows, and the queues
	pos       uint64     // sequence of the newest record that was handed out
	queued    int        // events in all queues
	followers map[key]map[*follower]bool
}

// What waits for followers, at most. One of a flood must not be sent to the
// store for each short breath that it takes; many together must not fill the
// memory.
const (
	maxQueue      = 4096
	maxQueueBytes = 1 << 20 // of bodies
	maxQueued     = 1 << 16 // for all followers; bodies are shared
)

// key is what a follower follows. An empty part is any; an empty account is
// that of FollowAll alone.
type key struct{ account, device, href string }

func (k *key) matches(ev *Event) bool {
	return (k.account == "" || k.account == ev.Account) && (k.device == "" || k.device == ev.Device) && (k.href == "" || k.href == ev.Href)
}

// follower is one who follows.
type follower struct {
	feed *feed
	key  key
	wake chan struct{} // holds one if something is queued, or behind

	queue  []Event // in order, and without a gap
	bytes  int     // of bodies
	behind bool    // an event did not fit: queue gets no more
}

func newFeed() *feed {
	return &feed{begun: make(chan struct{}), followers: map[key]map[*follower]bool{}}
}

// run reads the log until ctx ends.
func (d *feed) run(ctx context.Context, e *Events) error {
	begun := func(next uint64) {
		d.pos = next - 1 // nobody looks before begun is closed
		close(d.begun)
	}
	return e.records.Follow(ctx, 0, nil, begun, func(r store.Record) error {
		ev, err := parseRecord(r)
		if err != nil {
			e.broken(r, err)
		}
		d.hand(r.Seq, ev)
		return nil
	})
}

// hand queues ev, whose sequence is seq, for all that follow it. An event that
// could not be read is followed by nobody.
func (d *feed) hand(seq uint64, ev Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pos = seq
	if len(d.followers) == 0 {
		return
	}
	for _, k := range [...]key{
		{}, {ev.Account, "", ""}, {ev.Account, ev.Device, ""}, {ev.Account, "", ev.Href}, {ev.Account, ev.Device, ev.Href},
	} {
		for f := range d.followers[k] {
			f.put(ev)
		}
	}
}

// put queues ev. The feed is locked.
func (f *follower) put(ev Event) {
	switch {
	case f.behind:
		return
	case len(f.queue) >= maxQueue, f.bytes+len(ev.Body) > maxQueueBytes, f.feed.queued >= maxQueued:
		f.behind = true
	default:
		f.queue = append(f.queue, ev)
		f.bytes += len(ev.Body)
		f.feed.queued++
	}
	select {
	case f.wake <- struct{}{}:
	default: // it will come anyway
	}
}

// join returns a follower of k, which is to leave at the end. It gets nothing
// before it has been reset.
func (d *feed) join(k key) *follower {
	f := &follower{feed: d, key: k, wake: make(chan struct{}, 1), behind: true}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.followers[k] == nil {
		d.followers[k] = map[*follower]bool{}
	}
	d.followers[k][f] = true
	return f
}

func (f *follower) leave() {
	f.feed.mu.Lock()
	defer f.feed.mu.Unlock()
	f.empty()
	set := f.feed.followers[f.key]
	if delete(set, f); len(set) == 0 {
		delete(f.feed.followers, f.key)
	}
}

// reset empties the queue and opens it again: it gets every event after the
// sequence that is returned.
func (f *follower) reset() (after uint64) {
	f.feed.mu.Lock()
	defer f.feed.mu.Unlock()
	f.empty()
	f.behind = false
	return f.feed.pos
}

// empty returns what is queued, which is no more. The feed is locked.
func (f *follower) empty() (events []Event) {
	events = f.queue
	f.feed.queued -= len(events)
	f.queue, f.bytes = nil, 0
	return events
}

// take waits for events and returns those that are queued, without any when
// ctx has ended. When behind, there are more, which are not in the queue.
func (f *follower) take(ctx context.Context) (events []Event, behind bool) {
	select {
	case <-f.wake:
	case <-ctx.Done():
		return nil, false
	}
	f.feed.mu.Lock()
	defer f.feed.mu.Unlock()
	return f.empty(), f.behind
}

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
	return e.follow(ctx, f, prefix, each)
}

// FollowAll is Follow for the events of all accounts, for what acts on behalf
// of each of them. Of f only From and Begun count.
func (e *Events) FollowAll(ctx context.Context, f Filter, each func(Event) error) error {
	return e.follow(ctx, Filter{From: f.From, Begun: f.Begun}, nil, each)
}

func (e *Events) follow(ctx context.Context, f Filter, prefix []string, each func(Event) error) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(e.life, func() { cancel(fmt.Errorf("%w: closed", store.ErrUnavailable)) })()
	select {
	case <-e.feed.begun:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	queue := e.feed.join(key{f.Account, f.Device, f.Href})
	defer queue.leave()
	c := course{events: e, prefix: prefix, queue: queue, each: each}
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
	each   func(Event) error
	next   uint64 // all events before it are done
}

// run goes on until the queue was too short, or stopped by each.
func (c *course) run(ctx context.Context) (stopped bool, err error) {
	if stopped, err = c.catchUp(ctx, c.queue.reset()); stopped || err != nil {
		return stopped, err
	}
	for {
		events, behind := c.queue.take(ctx)
		for _, ev := range events {
			if err := c.pass(ctx, ev); err != nil {
				return true, err
			}
		}
		if behind || ctx.Err() != nil {
			return false, nil
		}
	}
}

// dense is how many records are read all together rather than have the store
// choose among them: that costs it more than reading them.
const dense = 2 * maxQueue

// catchUp reads the events up to a sequence from the store.
func (c *course) catchUp(ctx context.Context, upTo uint64) (stopped bool, err error) {
	if c.next > upTo {
		return false, nil
	}
	prefix := c.prefix
	if upTo-c.next < dense {
		prefix = nil
	}
	var failed error
	err = c.events.records.Read(ctx, store.Start{Seq: c.next}, prefix, func(r store.Record) bool {
		if r.Seq > upTo {
			return false
		}
		ev, err := parseRecord(r)
		if err != nil {
			c.events.broken(r, err)
			return true
		}
		if !c.queue.key.matches(&ev) {
			return true
		}
		failed = c.pass(ctx, ev)
		return failed == nil
	})
	switch {
	case failed != nil:
		return true, failed
	case err == nil:
		c.next = upTo + 1
	}
	return false, err
}

// pass hands on an event that has not been handed on yet.
func (c *course) pass(ctx context.Context, ev Event) error {
	if ev.Seq < c.next {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := c.each(ev); err != nil {
		return err
	}
	c.next = ev.Seq + 1
	return nil
}
