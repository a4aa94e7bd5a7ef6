package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/internal/tracing"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

const (
	firstWait   = time.Second      // bound of the first wait after a failure
	longestWait = 10 * time.Minute // bound of all others
	maxCalls    = 256              // targets that are being told something at once; an account has ten
	keepEvery   = time.Second
	goodbye     = 2 * time.Second // to keep how far it is
	lookAgain   = time.Minute     // the longest between two looks at the clock
)

// Run delivers what waits until ctx ends, in one process at a time of all that
// share the store.
func (w *Webhooks) Run(ctx context.Context) error {
	return w.cfg.Store.Lead(ctx, "webhooks", func(ctx context.Context) error {
		c := &courier{Webhooks: w, lanes: map[string]*lane{}, states: map[string]progress{}}
		err := c.run(ctx)
		w.counts.waiting.Store(0)
		if ctx.Err() == nil {
			w.cfg.Log.Warn("webhooks: starting again", "err", err)
		}
		return err
	})
}

// courier tells the targets what waits for them:
//
//	log ── Follow ──▶ lane of a target ──▶ one after the other ──▶ ask ──▶ delivered ─────▶ log
//	                    ▲                                           └─ failed: later, further and further apart
//	                    └── too many, too old: given up ──▶ log
//
// The log has one record of each delivery, the newest: the order of those that
// wait is that of the log. After a crash they are all still there, and what was
// told at that moment is told again, with the same id.
type courier struct {
	*Webhooks
	tasks  *errgroup.Group
	life   context.Context // of tasks
	states map[string]progress

	mu    sync.Mutex // guards what follows
	lanes map[string]*lane
	busy  int // lanes that somebody is at
}

// lane is what waits for a target, and what has ended of it.
type lane struct {
	account, name string
	waiting       []letter // in their order
	ended         []letter // the first to end in front
	busy          bool     // somebody is at it
	due           time.Time
	wait          backoff.Backoff
	hurried       time.Time // Target.Hurried
	progress      progress
	dirty         bool // progress is to be kept
}

// letter is a delivery without its body.
type letter struct {
	id    string
	seq   uint64 // of its record
	since time.Time
}

func (c *courier) run(ctx context.Context) error {
	for e, err := range c.Webhooks.states.All(ctx, "") {
		if err != nil {
			return err
		}
		c.states[e.Key] = e.Value
	}
	c.tasks, c.life = errgroup.WithContext(ctx)
	c.tasks.Go(func() error { return c.log.Follow(c.life, 1, nil, nil, c.heard) })
	c.tasks.Go(c.tend)
	c.tasks.Go(c.keep)
	return c.tasks.Wait()
}

// heard takes over a record of the log.
func (c *courier) heard(rec store.Record) error {
	var d struct {
		State State     `json:"state"`
		Since time.Time `json:"since"`
	}
	if err := json.Unmarshal(rec.Data, &d); err != nil || len(rec.Key) != 3 {
		c.cfg.Log.Error("webhooks: a delivery is unreadable and left out", "seq", rec.Seq, "err", err)
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lane(rec.Key[0], rec.Key[1])
	at := letter{rec.Key[2], rec.Seq, d.Since}
	if d.State == Waiting {
		l.add(at)
	} else {
		l.end(at)
	}
	c.rouse()
	return nil
}

// lane returns that of a target. c is locked.
func (c *courier) lane(account, name string) *lane {
	key := store.Key(account, name)
	l := c.lanes[key]
	if l == nil {
		l = &lane{account: account, name: name, wait: c.again, progress: c.states[key]}
		delete(c.states, key)
		if t := c.targets.Get(key); t != nil {
			l.belong(t)
		}
		c.lanes[key] = l
	}
	return l
}

// belong makes l that of t: what is known of another of this name is not about
// this one.
func (l *lane) belong(t *Target) {
	if !l.progress.Of.Equal(t.Created) {
		l.progress, l.dirty = progress{Of: t.Created}, true
	}
	l.hurried = t.Hurried
}

// add puts a delivery behind those that wait.
func (l *lane) add(a letter) {
	l.ended = slices.DeleteFunc(l.ended, func(e letter) bool { return e.id == a.id })
	l.waiting = append(l.waiting, a)
	l.counted()
}

// end notes that a delivery has ended, with the record that says so. It may be
// told so twice: by who wrote it, and by the log.
func (l *lane) end(a letter) {
	is := func(e letter) bool { return e.id == a.id && e.seq < a.seq }
	if i := slices.IndexFunc(l.waiting, is); i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
		l.counted()
	}
	for _, others := range [][]letter{l.waiting, l.ended} {
		if slices.ContainsFunc(others, func(e letter) bool { return e.id == a.id && e.seq >= a.seq }) {
			return
		}
	}
	l.ended = append(slices.DeleteFunc(l.ended, is), a)
}

func (l *lane) counted() { l.progress.Waiting, l.dirty = len(l.waiting), true }

// chore is one thing to be done for a target.
type chore int

const (
	nothing chore = iota
	giveUp        // the oldest that waits
	forget        // the oldest that has ended
	tell          // the oldest that waits
)

// next says what is to be done now, with which delivery, and why, or else when
// to look again; zero: when something has changed.
func (l *lane) next(now time.Time) (do chore, with letter, why string, again time.Time) {
	if len(l.ended) > keptEnded {
		return forget, l.ended[0], "", again
	}
	if len(l.waiting) == 0 {
		return nothing, with, "", again
	}
	first := l.waiting[0]
	late := first.since.Add(maxAge)
	switch {
	case len(l.waiting) > maxWaiting:
		return giveUp, first, fmt.Sprintf("more than %d waited", maxWaiting), again
	case !now.Before(late):
		return giveUp, first, "not taken within a day", again
	case !now.Before(l.due):
		return tell, first, "", again
	case late.Before(l.due):
		return nothing, with, "", late
	}
	return nothing, with, "", l.due
}

// tend sees to it that somebody is at each lane that has something to do.
func (c *courier) tend() error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-c.wake:
		case <-timer.C:
		case <-c.life.Done():
			return c.life.Err()
		}
		c.changes()
		timer.Reset(c.look(time.Now()))
	}
}

// changes takes over changes of targets.
func (c *courier) changes() {
	changed := c.take()
	c.mu.Lock()
	defer c.mu.Unlock()
	for key := range changed {
		l, t := c.lanes[key], c.targets.Get(key)
		switch {
		case l == nil:
		case t == nil:
			delete(c.lanes, key)
		case !l.progress.Of.Equal(t.Created) || !l.hurried.Equal(t.Hurried):
			l.belong(t)
			l.due, l.wait = time.Time{}, c.again
		}
	}
}

// look starts what is due, and returns how long to wait for what is not.
func (c *courier) look(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	first, waiting := now.Add(lookAgain), 0
	for _, l := range c.lanes {
		waiting += len(l.waiting)
		do, _, _, again := l.next(now)
		switch {
		case l.busy:
		case do != nothing && c.busy < maxCalls:
			l.busy = true
			c.busy++
			c.tasks.Go(func() error { return c.serve(l) })
		case do == nothing && !again.IsZero() && again.Before(first):
			first = again
		}
	}
	c.counts.waiting.Store(int64(waiting))
	return first.Sub(now)
}

// serve does what there is to do for a target, until there is nothing.
func (c *courier) serve(l *lane) error {
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		l.busy = false
		c.busy--
		c.rouse()
	}()
	for c.life.Err() == nil {
		c.mu.Lock()
		do, with, why, _ := l.next(time.Now())
		if c.lanes[store.Key(l.account, l.name)] != l {
			do = nothing // the target has been removed
		}
		c.mu.Unlock()
		var err error
		switch do {
		case tell:
			err = c.tell(l, with)
		case giveUp:
			err = c.giveUp(l, with, why)
		case forget:
			err = c.forget(l, with)
		default:
			return nil
		}
		if err != nil && c.life.Err() == nil {
			c.cfg.Log.Debug("webhooks: a delivery waits for the store", "account", l.account, "webhook", l.name, "err", err)
			_ = backoff.Sleep(c.life, keepEvery) // the loop sees its end
		}
	}
	return c.life.Err()
}

// tell tries to tell the target. An error is one of the store.
func (c *courier) tell(l *lane, a letter) error {
	d, err := c.read(l, a)
	if err != nil || d == nil {
		return err
	}
	t, err := c.targets.Fetch(c.life, store.Key(l.account, l.name))
	if err != nil {
		return err
	}
	if t == nil {
		return c.drop(l)
	}
	c.mu.Lock()
	hurried, start := l.hurried, time.Now()
	c.mu.Unlock()
	ctx, span := c.cfg.Tracer.Start(c.cfg.Tracer.Take(c.life, d.Trace, ""), tracing.Task, "webhook delivery")
	status, err := c.once(ctx, t, d)
	told(span, d, err)
	if c.life.Err() != nil {
		return c.life.Err() // whether it was taken is not known: it is told again
	}
	c.tried(l, a, d, hurried, start, status, err)
	if err != nil {
		return nil
	}
	d.State, d.Ended = Delivered, time.Now().UTC()
	return c.finish(l, a, d)
}

// tried notes how an attempt went, in d as well.
func (c *courier) tried(l *lane, a letter, d *Delivery, hurried, start time.Time, status int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := &l.progress
	if p.ID != a.id {
		p.ID, p.Attempts = a.id, 0
	}
	p.Attempts, p.Tried, p.Status, p.Problem, p.Next = p.Attempts+1, start.UTC(), status, "", time.Time{}
	if err == nil {
		c.counts.delivered.Add(1)
	} else {
		c.counts.failed.Add(1)
		_, p.Problem = oic.StatusOf(err)
		if l.hurried.Equal(hurried) { // else somebody wants another attempt at once
			l.due = time.Now().Add(l.wait.Next())
			p.Next = l.due.UTC()
		}
	}
	l.dirty = true
	d.Attempts, d.Tried, d.Status, d.Problem = p.Attempts, p.Tried, p.Status, p.Problem
}

// read reads a delivery; nil: it is not what it was when it was heard of.
func (c *courier) read(l *lane, a letter) (*Delivery, error) {
	rec, err := c.log.Last(c.life, []string{l.account, l.name, a.id})
	if errors.Is(err, store.ErrNotFound) || err == nil && rec.Seq != a.seq {
		c.leave(l, a)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d, err := parseDelivery(rec)
	if err != nil {
		c.cfg.Log.Error("webhooks: a delivery is unreadable and left out", "seq", rec.Seq, "err", err)
		c.leave(l, a)
		return nil, nil
	}
	return &d, nil
}

// leave takes a delivery out of those that wait.
func (c *courier) leave(l *lane, a letter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l.waiting = slices.DeleteFunc(l.waiting, func(e letter) bool { return e.seq == a.seq })
	l.counted()
}

// drop forgets what waits for a target that is not there.
func (c *courier) drop(l *lane) error {
	err := c.log.Purge(c.life, []string{l.account, l.name})
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.lanes, store.Key(l.account, l.name))
	}
	return err
}

// once tells a target once. What it answers beside the status does not matter,
// and is not read.
func (w *Webhooks) once(ctx context.Context, t *Target, d *Delivery) (status int, err error) {
	if strings.HasPrefix(t.URL, subjectScheme+":") {
		a, err := w.bySubject(ctx, t, d.Body)
		return a.Status, err
	}
	resp, err := w.post(ctx, t, d.ID, d.Body)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return resp.StatusCode, oic.Errorf(oic.BadGateway, "webhook %s: it answered %d", t.Name, resp.StatusCode)
	}
	return resp.StatusCode, nil
}

// giveUp ends a delivery that was not taken.
func (c *courier) giveUp(l *lane, a letter, why string) error {
	d, err := c.read(l, a)
	if err != nil || d == nil {
		return err
	}
	c.mu.Lock()
	if p := &l.progress; p.ID == a.id {
		d.Attempts, d.Tried, d.Status = p.Attempts, p.Tried, p.Status
		if p.Problem != "" {
			why += "; " + p.Problem
		}
	}
	c.mu.Unlock()
	c.counts.givenUp.Add(1)
	d.State, d.Ended, d.Problem = GivenUp, time.Now().UTC(), why
	return c.finish(l, a, d)
}

// finish stores the end of a delivery, for as long as it takes: it must not be
// told again.
func (c *courier) finish(l *lane, a letter, d *Delivery) error {
	for wait := (backoff.Backoff{Base: 10 * time.Millisecond, Max: time.Second}); ; {
		seq, err := c.write(c.life, d, a.seq)
		switch {
		case err == nil:
			c.mu.Lock()
			defer c.mu.Unlock()
			l.end(letter{a.id, seq, a.since})
			if d.State == Delivered {
				l.progress.Delivered++
			} else {
				l.progress.GivenUp++
			}
			l.progress.ID, l.due, l.wait = "", time.Time{}, c.again
			return nil
		case errors.Is(err, store.ErrConflict): // written by an attempt of which no answer came, or removed
			c.leave(l, a)
			return nil
		}
		if err := backoff.Sleep(c.life, wait.Next()); err != nil {
			return err
		}
	}
}

// forget removes what has ended and is not kept any longer.
func (c *courier) forget(l *lane, a letter) error {
	if err := c.log.PurgeUpTo(c.life, []string{l.account, l.name, a.id}, a.seq); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	l.ended = slices.DeleteFunc(l.ended, func(e letter) bool { return e == a })
	return nil
}

// keep keeps each second how far the lanes are, and at the end.
func (c *courier) keep() error {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.checkpoint(c.life)
		case <-c.life.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(c.life), goodbye)
			defer cancel()
			c.checkpoint(ctx) // what is not kept is only told wrong
			return c.life.Err()
		}
	}
}

func (c *courier) checkpoint(ctx context.Context) {
	c.mu.Lock()
	dirty := map[string]progress{}
	for key, l := range c.lanes {
		if t := c.targets.Get(key); l.dirty && t != nil && t.Created.Equal(l.progress.Of) {
			l.dirty = false
			dirty[key] = l.progress
		}
	}
	c.mu.Unlock()
	for key, p := range dirty {
		if _, err := c.Webhooks.states.Put(ctx, key, p); err != nil {
			c.mu.Lock()
			if l := c.lanes[key]; l != nil {
				l.dirty = true
			}
			c.mu.Unlock()
		}
	}
}

// counts is what the courier has done.
type counts struct {
	delivered, failed, givenUp atomic.Uint64
	waiting                    atomic.Int64
}

// Counts is what this process has done since it was started, and what waits
// now, if it is the one that delivers.
type Counts struct {
	Delivered, Failed, GivenUp uint64 // attempts that went well and that did not; deliveries given up
	Waiting                    int64
}

// Counts returns them.
func (w *Webhooks) Counts() Counts {
	n := &w.counts
	return Counts{n.delivered.Load(), n.failed.Load(), n.givenUp.Load(), n.waiting.Load()}
}
