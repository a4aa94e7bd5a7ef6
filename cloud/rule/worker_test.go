package rule

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// ticking is a worker whose clock runs, without a store: what its rules fire is
// in the log already, as after a restart.
type ticking struct {
	*worker
	t *testing.T
}

func newTicking(t *testing.T) *ticking {
	ctx, cancel := context.WithCancel(t.Context())
	w := &ticking{&worker{
		Rules: &Rules{}, armed: map[ruleKey]*armed{}, made: map[string]uint64{}, ring: make(chan struct{}, 1), life: ctx, since: time.Now(),
	}, t}
	done := make(chan error)
	go func() { done <- w.tick() }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != context.Canceled {
			t.Error(err)
		}
	})
	return w
}

// follow arms a rule that begins now.
func (w *ticking) follow(id, when string) *armed {
	s := stepping(w.t, when)
	s.ID = id
	a := &armed{stepper: newStepper(s.program, fresh(s.program, 0, time.Now(), nil)), key: ruleKey{"home", id}, place: -1}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed[a.key] = a
	w.set(a)
	return a
}

// hear has a rule step over an event of now.
func (w *ticking) hear(a *armed, seq uint64, body string) {
	ev := reported(seq, 0, "door/a", body)
	ev.Time = time.Now()
	w.known(a, Cause{Event: seq})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.step(a, ev)
}

// known has the log of runs know what a fires for a cause.
func (w *ticking) known(a *armed, c Cause) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.made[firingID(a.Rule, c)] = 1
}

// fires fails the test unless a has fired so often, a moment before after has
// passed and then.
func (w *ticking) fires(a *armed, after time.Duration, before, then uint64) {
	w.t.Helper()
	for _, c := range []struct {
		wait time.Duration
		want uint64
	}{{after - time.Nanosecond, before}, {time.Nanosecond, then}} {
		time.Sleep(c.wait)
		synctest.Wait()
		w.mu.Lock()
		if a.state.Fired != c.want {
			w.t.Errorf("%s has fired %d times, want %d", a.ID, a.state.Fired, c.want)
		}
		w.mu.Unlock()
	}
}

// TestTick: the worker's own timer fires what is due when it is due, also if that
// comes before what it has been waiting for.
func TestTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTicking(t)
		hourly := w.follow("hourly", "{every: 1h}") // the timer looks each minute
		for i := range 4 {
			w.known(hourly, Cause{Time: time.Now().Truncate(time.Hour).Add(time.Duration(i) * time.Hour)})
		}
		patient := w.follow("patient", "{event: {device: door, if: event.v, for: 5m}}")
		synctest.Wait()
		time.Sleep(30 * time.Second)
		w.hear(patient, 1, `{"v":true}`)
		w.fires(patient, 5*time.Minute, 0, 1)

		w.hear(patient, 2, `{"v":false}`)
		w.hear(patient, 3, `{"v":true}`)
		time.Sleep(time.Minute)
		w.hear(patient, 4, `{"v":false}`) // in time
		w.fires(patient, time.Hour-time.Since(time.Now().Truncate(time.Hour)), 1, 1)
		w.fires(hourly, time.Hour, 1, 2)

		w.mu.Lock()
		delete(w.armed, hourly.key)
		w.clock.drop(hourly)
		w.mu.Unlock()
		w.fires(hourly, 2*time.Hour, 2, 2)
	})
}

// TestTickBehind: no instant fires before the events that were missed have been
// seen, but for so long only.
func TestTickBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTicking(t)
		w.mu.Lock()
		w.end = 7
		w.mu.Unlock()
		a := w.follow("a", "{every: 2s}")
		due := a.state.Due
		for i := range 10 {
			w.known(a, Cause{Time: due.Add(time.Duration(i) * 2 * time.Second)})
		}
		w.fires(a, 5*time.Second, 0, 0)
		w.mu.Lock()
		w.cursor = 7
		w.mu.Unlock()
		time.Sleep(20 * time.Millisecond)
		w.fires(a, time.Nanosecond, 2, 2)
	})
	synctest.Test(t, func(t *testing.T) {
		w := newTicking(t)
		w.mu.Lock()
		w.end = 7
		w.mu.Unlock()
		a := w.follow("a", "{every: 9s}")
		w.known(a, Cause{Time: a.state.Due})
		w.fires(a, behind, 0, 1)
	})
}

// past is a world of one event, to which so many firings led.
type past struct {
	World
	ev   *Event
	hops int
}

func (p past) Past(_ context.Context, _ Past, each func(*Event) bool) error { each(p.ev); return nil }
func (p past) Device(string) Device                                         { return p.ev.about }
func (p past) Hops(*Event) int                                              { return p.hops }
func (p past) MayWait(string, string) bool                                  { return true }

// TestHopsOfThePast: what led to an event counts also for a rule that begins after
// it: else rules that cause each other would go on for longer.
func TestHopsOfThePast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for hops, want := range map[int]uint64{0: 1, maxHops - 1: 1, maxHops: 0} {
			w := newTicking(t)
			w.cfg.World = past{ev: reported(1, 0, "door/a", `{"v":true}`), hops: hops}
			a := w.follow("a", "{event: {device: door}}")
			w.known(a, Cause{Event: 1})
			if err := w.catchUp(t.Context(), a, 1, 1); err != nil {
				t.Fatal(err)
			}
			w.mu.Lock()
			if a.state.Fired != want {
				t.Errorf("behind %d firings it has fired %d times, want %d", hops, a.state.Fired, want)
			}
			w.mu.Unlock()
		}
	})
}
