package event

import (
	"cmp"
	"context"
	"fmt"
	"slices"
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
	f.Also = nil
	s, err := f.selection()
	if err != nil {
		return err
	}
	return e.follow(ctx, f, s, Everything, true, oneByOne(each))
}

// FollowAll is Follow for the events of all accounts, for what acts on behalf
// of each of them. Of f only From and Begun count.
func (e *Events) FollowAll(ctx context.Context, f Filter, each func(Event) error) error {
	return e.follow(ctx, Filter{From: f.From, Begun: f.Begun}, selection{{}}, Everything, true, oneByOne(each))
}

// selection is what a follower follows: the events that match one of these,
// none of which match two.
type selection []key

func (f Filter) selection() (selection, error) {
	list := selection{{f.Account, f.Device, f.Href}}
	for _, p := range f.Also {
		list = append(list, key{p.Account, p.Device, f.Href})
	}
	for _, k := range list {
		if _, err := k.filter().prefix(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (k key) filter() Filter { return Filter{Account: k.account, Device: k.device, Href: k.href} }

// prefix is the first tokens of the records that match.
func (k key) prefix() []string {
	if k.account == "" {
		return nil
	}
	prefix, _ := k.filter().prefix()
	return prefix
}

func (s selection) matches(ev *Event) bool {
	return slices.ContainsFunc(s, func(k key) bool { return k.matches(ev) })
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

// follow does it for a selection; of f only From, Begun and Caught count. See
// pile for merge, course for lent.
func (e *Events) follow(ctx context.Context, f Filter, s selection, merge int, lent bool, each func(context.Context, News) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(e.life, func() { cancel(fmt.Errorf("%w: closed", store.ErrUnavailable)) })()
	select {
	case <-e.feed.begun:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	queue := e.feed.join(s, merge)
	defer queue.leave()
	c := course{events: e, queue: queue, merge: merge, lent: lent, each: each, caught: f.Caught}
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
	queue  *follower
	merge  int  // pile.merge
	lent   bool // each keeps no slice of events
	each   func(context.Context, News) error
	caught func(uint64) // Filter.Caught; nil: was called
	next   uint64       // all events before it are done
}

// run goes on until the queue was too short, or stopped by each.
func (c *course) run(ctx context.Context) (stopped bool, err error) {
	if stopped, err = c.catchUp(ctx, c.queue.reset()); stopped || err != nil {
		return stopped, err
	}
	if c.caught != nil {
		c.caught(c.next - 1)
		c.caught = nil
	}
	for {
		news, behind := c.queue.take(ctx)
		if err := c.pass(ctx, news); err != nil {
			return true, err
		}
		if c.lent {
			c.queue.reuse(news.Events)
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
	read := func(prefix []string, each func(store.Record) bool) error {
		return records.Read(ctx, store.Start{Seq: c.next}, prefix, each)
	}
	if upTo-c.next < dense || len(c.queue.follows) > 1 && c.merge == Everything {
		return c.read(ctx, upTo, 0, func(each func(store.Record) bool) error { return read(nil, each) })
	}
	if c.merge != Everything {
		n, err := c.count(ctx, upTo)
		if err != nil {
			return false, err
		}
		if n > dense {
			return c.read(ctx, upTo, n, c.inOrder(upTo, func(prefix []string, each func(store.Record) bool) error {
				return records.LastAll(ctx, prefix, each)
			}))
		}
	}
	return c.read(ctx, upTo, 0, c.inOrder(upTo, read))
}

// count is how many events there are up to a sequence.
func (c *course) count(ctx context.Context, upTo uint64) (sum uint64, err error) {
	for _, k := range c.queue.follows {
		n, err := c.events.records.Count(ctx, c.next, upTo, k.prefix())
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// inOrder reads the records of all places in the order of the log. Those of
// several are held together: dense events, or the states that one may see.
func (c *course) inOrder(upTo uint64, read func(prefix []string, each func(store.Record) bool) error) func(each func(store.Record) bool) error {
	if list := c.queue.follows; len(list) == 1 {
		return func(each func(store.Record) bool) error { return read(list[0].prefix(), each) }
	}
	return func(each func(store.Record) bool) error {
		var all []store.Record
		for _, k := range c.queue.follows {
			err := read(k.prefix(), func(r store.Record) bool {
				if r.Seq <= upTo {
					all = append(all, r)
				}
				return r.Seq <= upTo
			})
			if err != nil {
				return err
			}
		}
		slices.SortFunc(all, func(a, b store.Record) int { return cmp.Compare(a.Seq, b.Seq) })
		for _, r := range all {
			if !each(r) {
				break
			}
		}
		return nil
	}
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
		if r.Seq < c.next || !c.queue.follows.matches(&ev) {
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
