package event

import (
	"context"
	"sync"

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
// events again. So what waits for it there costs no memory either. One that
// wants states rather than events has a queue in which a newer event takes the
// place of the older one of the same resource; see news.go.
type feed struct {
	begun chan struct{} // closed once pos is known

	mu        sync.Mutex // guards what follows, and the queues
	pos       uint64     // sequence of the newest record that was handed out
	queued    int        // events in all queues
	followers map[key]map[*follower]bool
	shapes    [8]int // how many keys of each shape have followers
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
	feed    *feed
	follows selection
	wake    chan struct{} // holds one if something is queued, or behind

	queue  pile
	behind bool // an event did not fit: queue gets no more
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
		} else {
			e.remember(&ev)
		}
		d.hand(r.Seq, ev)
		return nil
	})
}

// remember takes note of what is the newest of a resource.
func (e *Events) remember(ev *Event) {
	if !ev.DeviceTime.IsZero() {
		e.newest.raise(resource(ev), ev.DeviceTime)
	}
	e.lasts.heard(ev, false)
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
		if d.shapes[k.shape()] == 0 {
			continue
		}
		for f := range d.followers[k] {
			f.put(ev)
		}
	}
}

// shape says which parts of a key are given.
func (k *key) shape() (bits int) {
	for i, part := range [...]string{k.account, k.device, k.href} {
		if part != "" {
			bits |= 1 << i
		}
	}
	return bits
}

// put queues ev. The feed is locked.
func (f *follower) put(ev Event) {
	if f.behind {
		return
	}
	before := len(f.queue.events)
	if !f.queue.put(ev) || f.feed.queued >= maxQueued {
		f.behind = true
	}
	f.feed.queued += len(f.queue.events) - before
	select {
	case f.wake <- struct{}{}:
	default: // it will come anyway
	}
}

// join returns a follower of s, which is to leave at the end. It gets nothing
// before it has been reset. See pile for merge.
func (d *feed) join(s selection, merge int) *follower {
	f := &follower{feed: d, follows: s, wake: make(chan struct{}, 1), queue: pile{merge: merge}, behind: true}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range s {
		if d.followers[k] == nil {
			d.followers[k] = map[*follower]bool{}
			d.shapes[k.shape()]++
		}
		d.followers[k][f] = true
	}
	return f
}

func (f *follower) leave() {
	f.feed.mu.Lock()
	defer f.feed.mu.Unlock()
	f.empty()
	for _, k := range f.follows {
		set := f.feed.followers[k]
		if delete(set, f); set != nil && len(set) == 0 {
			delete(f.feed.followers, k)
			f.feed.shapes[k.shape()]--
		}
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
func (f *follower) empty() News {
	f.feed.queued -= len(f.queue.events)
	return f.queue.take()
}

// take waits for events and returns those that are queued, without any when
// ctx has ended. When behind, there are more, which are not in the queue.
func (f *follower) take(ctx context.Context) (news News, behind bool) {
	select {
	case <-f.wake:
	case <-ctx.Done():
		return News{}, false
	}
	f.feed.mu.Lock()
	defer f.feed.mu.Unlock()
	return f.empty(), f.behind
}

// maxReuse is how long a slice may be that is used again, lest one flood be
// remembered for ever.
const maxReuse = 1024

// reuse gives back the slice of events that take returned.
func (f *follower) reuse(events []Event) {
	if cap(events) > maxReuse {
		return
	}
	clear(events)
	f.feed.mu.Lock()
	defer f.feed.mu.Unlock()
	if f.queue.events == nil {
		f.queue.events = events[:0]
	}
}
