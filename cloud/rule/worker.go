package rule

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/farreach/farreach/store"
)

const (
	keepEvery = time.Second
	maxLate   = 10_000           // events that wait for a rule that begins
	goodbye   = 2 * time.Second  // to keep the last states
	behind    = 10 * time.Second // the longest that a start waits for the events it missed
	lookAgain = time.Minute      // the longest between two looks at the clock
)

// point is how far the worker has come, as it is kept.
type point struct {
	Seq  uint64 `json:"seq"`  // events up to this one have been stepped, and what they fired is in the log of runs
	Done uint64 `json:"done"` // firings up to this one, in that log, have been done
}

// here is the key of the one point that there is.
const here = "all"

// errOvertaken says that another process follows the rules.
var errOvertaken = errors.New("another process follows the rules")

// Run follows the rules until ctx ends, in one process at a time of all that
// share the store.
func (r *Rules) Run(ctx context.Context) error {
	return r.cfg.Store.Lead(ctx, "rules", func(ctx context.Context) error {
		w := &worker{
			Rules: r, index: index{map[string]*house{}}, armed: map[ruleKey]*armed{}, lanes: map[ruleKey]*lane{},
			made: map[string]uint64{}, unmade: map[*job]bool{}, doing: map[uint64]bool{}, ring: make(chan struct{}, 1),
		}
		err := w.run(ctx)
		if ctx.Err() == nil {
			r.cfg.Log.Warn("rules: starting again", "err", err)
		}
		return err
	})
}

// worker steps over events and time:
//
//	Follow ─▶ event ─┐                 ┌─▶ lane of a rule: make, then do
//	         tick ───┴─▶ step ─▶ fired ┘        └ in the log    └ commands, messages
//	                      └── states, kept each second once all that they fired is made
//
// After a crash it goes on from the states and the point that were kept. What
// it steps over again has the same names; what of it is in the log of runs is
// not made again, and done only if that was not known to be over.
type worker struct {
	*Rules
	tasks *errgroup.Group
	life  context.Context // of tasks

	mu     sync.Mutex // guards what follows
	index  index
	armed  map[ruleKey]*armed
	clock  clock
	ring   chan struct{} // holds one if the first instant is another one
	cursor uint64        // the newest event
	end    uint64        // events up to this one were missed: no instant fires before they are seen
	since  time.Time     // when the worker began
	lanes  map[ruleKey]*lane
	made   map[string]uint64 // firings that were in the log at the start, by id
	unmade map[*job]bool     // firings that are not in the log yet
	doing  map[uint64]bool   // firings that are, and are not done
	newest uint64            // firing in the log
	last   point             // as kept
}

// run does it until ctx ends or something fails.
func (w *worker) run(ctx context.Context) error {
	if err := w.restore(ctx); err != nil {
		return err
	}
	w.tasks, w.life = errgroup.WithContext(ctx)
	from := w.cursor + 1
	w.mu.Lock()
	for _, l := range w.lanes { // what was made and perhaps not done
		w.move(l)
	}
	w.mu.Unlock()
	w.tasks.Go(func() error { return w.World().Follow(w.life, from, func(uint64) {}, w.event) })
	w.tasks.Go(w.tick)
	w.tasks.Go(w.follow)
	w.tasks.Go(w.keep)
	return w.tasks.Wait()
}

// World is what rules know and do.
func (r *Rules) World() World { return r.cfg.World }

// restore reads where the last worker was.
func (w *worker) restore(ctx context.Context) error {
	newest, err := w.World().Newest(ctx)
	if err != nil {
		return err
	}
	p, _, err := w.points.Get(ctx, here)
	if errors.Is(err, store.ErrNotFound) {
		p.Seq = newest
		_, err = w.points.Put(ctx, here, p) // rules that are made from now on begin behind it
	}
	if err != nil {
		return err
	}
	w.cursor, w.end, w.last, w.newest, w.since = p.Seq, newest, p, p.Done, time.Now()
	if err := w.recall(ctx, p.Done); err != nil {
		return err
	}
	w.take() // all are looked at now
	for _, rule := range w.rules.All() {
		if err := w.arm(ctx, rule.key(), p.Seq); err != nil {
			return err
		}
	}
	return nil
}

// follow takes over changes of rules.
func (w *worker) follow() error {
	for {
		select {
		case <-w.wake:
		case <-w.life.Done():
			return w.life.Err()
		}
		for key := range w.take() {
			if err := w.arm(w.life, key, 0); err != nil {
				return err
			}
		}
	}
}

// arm begins to follow the revision of a rule that there is now, if any, and
// ends with the one before. Events up to seen have been stepped by the rule.
func (w *worker) arm(ctx context.Context, key ruleKey, seen uint64) error {
	rule := w.rules.Get(key.String())
	w.mu.Lock()
	old := w.armed[key]
	if old != nil && rule != nil && old.Revision == rule.Revision {
		w.mu.Unlock()
		return nil
	}
	w.disarm(old)
	w.mu.Unlock()
	if rule == nil || rule.Disabled {
		return nil
	}
	p, err := compileRule(rule)
	if err != nil { // made by another version of the program
		w.cfg.Log.Error("rules: a rule is not followed", "account", rule.Account, "rule", rule.Name, "err", err)
		return nil
	}
	state, _, err := w.states.Get(ctx, key.state(rule.Revision))
	if errors.Is(err, store.ErrNotFound) {
		state, err = w.fresh(ctx, p)
	}
	if err != nil {
		return fmt.Errorf("state of a rule: %w", err)
	}
	if state.Followed { // else the worker may have come as far as seen without it
		state.Seq = max(state.Seq, seen)
	}
	a := &armed{stepper: newStepper(p, state), key: key, place: -1, catching: true}
	w.mu.Lock()
	w.armed[key] = a
	w.index.add(a)
	from, to := state.Seq+1, w.cursor
	w.mu.Unlock()
	return w.catchUp(ctx, a, from, to)
}

// disarm ends with a rule. w is locked.
func (w *worker) disarm(a *armed) {
	if a == nil {
		return
	}
	delete(w.armed, a.key)
	w.index.remove(a)
	w.clock.drop(a)
}

// catchUp steps a rule that has begun over the events that have come since it
// was made.
func (w *worker) catchUp(ctx context.Context, a *armed, from, to uint64) error {
	var before []*Event
	if from <= to && a.schedule == nil {
		err := w.World().Past(ctx, Past{Account: a.Account, From: from, To: to}, func(ev *Event) bool {
			e := *ev
			e.about = w.World().Device(ev.Device)
			if w.concerns(a.program, &e) {
				e.hops = w.World().Hops(&e) // else two rules that cause each other count anew
				before = append(before, &e)
			}
			return len(before) < maxLate
		})
		if err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ev := range append(before, a.late...) {
		w.step(a, ev)
	}
	a.catching, a.late = false, nil
	if !a.state.Followed {
		a.state.Followed, a.dirty = true, true
	}
	w.set(a)
	return nil
}

// event steps over an event of any account.
func (w *worker) event(ev *Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cursor = ev.Seq
	if saidByRule(ev) {
		return nil
	}
	w.offer(ev, ev.Account)
	for _, guest := range w.World().Guests(ev.Account) {
		w.offer(ev, guest)
	}
	return nil
}

// offer has the rules of an account step over an event, if they wait for it. w is
// locked.
func (w *worker) offer(ev *Event, account string) {
	h := w.index.houses[account]
	if h == nil || len(h.rules) == 0 {
		return
	}
	if ev.about.ID == "" {
		ev.about, ev.hops = w.World().Device(ev.Device), -1
	}
	h.each(ev, func(a *armed) {
		if !w.concerns(a.program, ev) {
			return
		}
		if ev.hops < 0 {
			ev.hops = w.World().Hops(ev)
		}
		switch {
		case !a.catching:
			w.step(a, ev)
		case len(a.late) < maxLate:
			late := *ev
			a.late = append(a.late, &late)
		}
	})
}

// step steps a rule over an event. w is locked.
func (w *worker) step(a *armed, ev *Event) {
	a.event(ev, func(f *Firing) { w.fired(a, f) })
	w.set(a)
}

// set puts a where it belongs in the clock. w is locked.
func (w *worker) set(a *armed) {
	if w.armed[a.key] == a && w.clock.set(a) {
		w.rouse()
	}
}

// rouse makes tick look at the clock.
func (w *worker) rouse() {
	select {
	case w.ring <- struct{}{}:
	default: // it will look anyway
	}
}

// tick fires what is due.
func (w *worker) tick() error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-w.ring:
		case <-w.life.Done():
			return w.life.Err()
		}
		timer.Reset(w.advance(time.Now()))
	}
}

// advance fires what is due now, and returns how long to wait for the next.
func (w *worker) advance(now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cursor < w.end && now.Sub(w.since) < behind {
		return 10 * time.Millisecond // an event that was missed may undo what is due
	}
	for len(w.clock) > 0 {
		a := w.clock[0]
		if a.at.After(now) {
			return min(a.at.Sub(now), lookAgain) // the clock of the machine may be set
		}
		a.advance(now, func(f *Firing) { w.fired(a, f) })
		w.clock.set(a)
	}
	return lookAgain
}

// keep keeps states and point each second, and at the end.
func (w *worker) keep() error {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := w.checkpoint(w.life); err != nil && w.life.Err() == nil {
				w.cfg.Log.Warn("rules: states are not kept for now", "err", err)
			}
		case <-w.life.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(w.life), goodbye)
			defer cancel()
			_ = w.checkpoint(ctx) // what is not kept is stepped again
			return w.life.Err()
		}
	}
}

// checkpoint keeps what has changed. It waits until all that was fired before
// is made, so that nothing is lost when it goes on from there.
func (w *worker) checkpoint(ctx context.Context) error {
	states, now, unmade := w.snapshot()
	var err error
	for _, j := range unmade {
		select {
		case <-j.made:
			if j.seq != 0 { // others may have been made, and done, behind it
				now.Done = min(now.Done, j.seq-1)
			}
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	for key, s := range states {
		if err == nil {
			_, err = w.states.Put(ctx, key, s)
		}
	}
	if err == nil && now != w.last {
		_, err = w.points.Put(ctx, here, now)
	}
	if err != nil {
		w.spoil(states)
		return err
	}
	w.last = now
	return nil
}

// snapshot copies what is to be kept.
func (w *worker) snapshot() (states map[string]State, p point, unmade []*job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	states = map[string]State{}
	for key, a := range w.armed {
		if !a.dirty || a.catching {
			continue
		}
		a.dirty = false
		a.state.Seq = max(a.state.Seq, w.cursor)
		s := a.state
		s.On, s.Hour = maps.Clone(s.On), slices.Clone(s.Hour)
		states[key.state(a.Revision)] = s
	}
	p = point{Seq: w.cursor, Done: w.newest}
	for seq := range w.doing {
		p.Done = min(p.Done, seq-1)
	}
	return states, p, slices.Collect(maps.Keys(w.unmade))
}

// spoil notes that states have not been kept.
func (w *worker) spoil(states map[string]State) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, a := range w.armed {
		if _, ok := states[key.state(a.Revision)]; ok {
			a.dirty = true
		}
	}
}
