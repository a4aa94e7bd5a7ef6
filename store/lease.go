package store

import (
	"context"
	"crypto/rand"
	"errors"
	"time"
)

// Times of a lease. No clock is compared with that of another machine: the
// holder counts from before it wrote, the others from after they have seen it.
//
//	holder   ── writes ──┬───────── holds ─────────▶│ stops
//	store                └─▶ new revision
//	another                    └── sees it ──────── waits ────────────▶ takes it over
const (
	leaseTTL   = 5 * time.Second // without a new revision until another may take it over
	leaseParts = 5               // of that: how often one writes or looks; and the holder stops one part early
)

// lease is what the table of leases has of a task.
type lease struct {
	Holder string `json:"holder"` // empty: given back
}

// Lead calls work while this process is the one that does task, among all that
// share the store, until ctx ends, whose error it returns.
//
// The context of work ends when that is no longer certain: when the store was
// away for 4 s, or with ctx. work then returns soon; if it returns by itself,
// the task is given up, and taken again a second later by whoever is first.
// After the end of a process another takes over at once, after its death
// within 6 s. With an embedded store nobody else can come.
//
// A machine that stood still may go on with work for the moment that it takes
// to see the time: what must not be done twice is to be written if absent.
func (s *Store) Lead(ctx context.Context, task string, work func(ctx context.Context) error) error {
	if s.server != nil {
		return s.leadAlone(ctx, task, work)
	}
	l := &tenure{s: s, task: task, me: rand.Text(), ttl: leaseTTL}
	return l.run(ctx, work)
}

// leadAlone is Lead when only this process has the store.
func (s *Store) leadAlone(ctx context.Context, task string, work func(ctx context.Context) error) error {
	s.mu.Lock()
	if s.tasked == nil {
		s.tasked = map[string]chan struct{}{}
	}
	turn := s.tasked[task]
	if turn == nil {
		turn = make(chan struct{}, 1)
		s.tasked[task] = turn
	}
	s.mu.Unlock()
	for {
		select {
		case turn <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		err := work(ctx)
		<-turn
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.log.Warn("store: a task has ended and begins again", "task", task, "err", err)
		if err := sleep(ctx, leaseTTL/leaseParts); err != nil {
			return err
		}
	}
}

// tenure is one process that wants to do a task.
type tenure struct {
	s     *Store
	task  string
	me    string // the holder, if it is this one
	ttl   time.Duration
	table *Table[lease]

	rev   uint64    // of the lease, as seen last
	since time.Time // when it was seen first
	until time.Time // held, unless given back
}

func (l *tenure) run(ctx context.Context, work func(ctx context.Context) error) error {
	for {
		if held, err := l.take(ctx); held {
			l.lead(ctx, work)
		} else if err != nil && ctx.Err() == nil {
			l.s.log.Debug("store: no lease for now", "task", l.task, "err", err)
		}
		if err := sleep(ctx, l.ttl/leaseParts); err != nil {
			return err
		}
	}
}

// take looks at the lease once, and takes it if it may.
func (l *tenure) take(ctx context.Context) (held bool, err error) {
	if l.table == nil {
		if l.table, err = OpenTable[lease](ctx, l.s, "leases", 0); err != nil {
			return false, err
		}
	}
	now, rev, err := l.table.Get(ctx, l.task)
	switch {
	case errors.Is(err, ErrNotFound):
		err := l.write(ctx, func() (uint64, error) { return l.table.Create(ctx, l.task, lease{l.me}) })
		return err == nil, err
	case err != nil:
		return false, err
	case rev != l.rev:
		l.rev, l.since = rev, time.Now()
	}
	if now.Holder != "" && now.Holder != l.me && time.Since(l.since) < l.ttl {
		return false, nil
	}
	err = l.hold(ctx, l.me)
	return err == nil, err
}

// hold writes who holds the lease, if nobody has written since it was seen.
func (l *tenure) hold(ctx context.Context, holder string) error {
	return l.write(ctx, func() (uint64, error) { return l.table.Update(ctx, l.task, lease{holder}, l.rev) })
}

func (l *tenure) write(ctx context.Context, do func() (uint64, error)) error {
	start := time.Now()
	rev, err := do()
	if err == nil {
		l.rev, l.since = rev, start
		l.until = start.Add(l.ttl - l.ttl/leaseParts)
	}
	return err
}

// lead does the work until the lease is lost or work returns.
func (l *tenure) lead(ctx context.Context, work func(ctx context.Context) error) {
	run, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	l.s.log.Info("store: this process does", "task", l.task)
	go func() { ended <- work(run) }()
	lost := l.keep(run, ended)
	stop()
	err := <-ended
	l.s.log.Info("store: this process does no longer", "task", l.task, "lost", lost, "err", err)
	if !lost {
		l.giveBack(ctx)
	}
}

// keep renews the lease until ctx or the work ends, and reports whether it was
// lost.
func (l *tenure) keep(ctx context.Context, ended chan error) (lost bool) {
	tick := time.NewTicker(l.ttl / leaseParts)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		case err := <-ended:
			ended <- err
			return false
		}
		op, cancel := context.WithDeadline(ctx, l.until)
		err := l.hold(op, l.me)
		if errors.Is(err, ErrConflict) && !l.mine(op) {
			cancel()
			return true
		}
		cancel()
		if !time.Now().Before(l.until) {
			return ctx.Err() == nil
		}
	}
}

// mine reports whether the newer revision of the lease may be by this process:
// a write of which no answer came may have been done.
func (l *tenure) mine(ctx context.Context) bool {
	now, rev, err := l.table.Get(ctx, l.task)
	if err != nil {
		return !errors.Is(err, ErrNotFound) // nobody knows: the time decides
	}
	if now.Holder == l.me {
		l.rev = rev
	}
	return now.Holder == l.me
}

// giveBack lets another take the task at once. ctx may have ended.
func (l *tenure) giveBack(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.ttl/leaseParts)
	defer cancel()
	if err := l.hold(ctx, ""); err != nil {
		l.s.log.Debug("store: lease not given back", "task", l.task, "err", err)
	}
}

// sleep waits for d.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
