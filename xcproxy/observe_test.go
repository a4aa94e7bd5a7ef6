package xcproxy

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/oic"
)

// crowd watches one resource.
type crowd struct {
	mu    sync.Mutex
	heard []string // by watcher: the newest
	ended []error
	tasks sync.WaitGroup
	leave context.CancelFunc
}

func watch(t *testing.T, m *mirror, n int, href string) *crowd {
	ctx, cancel := context.WithCancel(t.Context())
	c := &crowd{heard: make([]string, n), ended: make([]error, n), leave: cancel}
	for i := range n {
		c.tasks.Go(func() {
			err := m.Observe(ctx, &oic.Request{Href: href}, func(resp *oic.Response) {
				text, err := oic.ToJSON(resp.Format, resp.Body)
				c.mu.Lock()
				defer c.mu.Unlock()
				c.heard[i] = fmt.Sprint(string(text), err)
			})
			c.mu.Lock()
			defer c.mu.Unlock()
			c.ended[i] = err
		})
	}
	t.Cleanup(func() { cancel(); c.tasks.Wait() })
	return c
}

func (c *crowd) allHeard(want string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.heard {
		if h != want+"<nil>" {
			return false
		}
	}
	return true
}

// Two hundred who observe one resource cost the device one observation, which
// ends with the last of them (section 6 of the wire profile, 5).
func TestFanIn(t *testing.T) {
	l := newLamp(t, lampID)
	m := mirrorOf(t, l, Everything())
	first := watch(t, m, 150, "/a/light")
	until(t, "150 hear the first", func() bool { return first.allHeard(`{"value":0}`) })
	l.set(1)
	until(t, "150 hear a change", func() bool { return first.allHeard(`{"value":1}`) })
	more := watch(t, m, 50, "/a/light")
	until(t, "50 late ones hear what is", func() bool { return more.allHeard(`{"value":1}`) })
	for v := int64(2); v <= 10; v++ {
		l.set(v)
	}
	until(t, "200 hear the newest", func() bool { return first.allHeard(`{"value":10}`) && more.allHeard(`{"value":10}`) })
	if n := l.watched.Load(); n != 1 {
		t.Errorf("the device has %d observations", n)
	}
	first.leave()
	first.tasks.Wait()
	l.set(11)
	until(t, "those who stay hear on", func() bool { return more.allHeard(`{"value":11}`) })
	if l.ended.Load() != 0 {
		t.Error("the observation has ended before the last has left")
	}
	more.leave()
	until(t, "the observation ends with the last", func() bool { return l.ended.Load() == 1 })
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.watched != 0 || len(m.fans) != 0 {
		t.Errorf("%d watchers, %d fans are left", m.watched, len(m.fans))
	}
}

// What may not be seen any more ends, as if it had been deleted (threats rule 2).
func TestPolicyLive(t *testing.T) {
	l := newLamp(t, lampID)
	m := mirrorOf(t, l, Everything())
	light, dim, res := watch(t, m, 3, "/a/light"), watch(t, m, 1, "/a/dim"), watch(t, m, 1, "/oic/res?rt=oic.r.switch.binary")
	until(t, "all hear", func() bool {
		return light.allHeard(`{"value":0}`) && dim.allHeard(`{"value":0}`) && !res.allHeard("[]")
	})
	m.permit(Policy{{Href: "/a/dim"}})
	light.tasks.Wait()
	if got, want := fmt.Sprint(light.ended[0]), "4.04 Not Found: no resource /a/light"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	until(t, "the link is gone", func() bool { return res.allHeard("[]") })
	until(t, "the device is not observed", func() bool { return l.ended.Load() == 1 })
	m.permit(nil)
	dim.tasks.Wait()
	res.tasks.Wait()
	m.permit(Everything())
	if got := ask(t, m, oic.Retrieve, "/a/light", nil); got != `2.05 {"value":0}` {
		t.Error(got)
	}
}

// A device that is lost ends what is observed; one that has moved does not.
func TestMovedAndLost(t *testing.T) {
	l := newLamp(t, lampID)
	m := mirrorOf(t, l, Everything())
	c := watch(t, m, 2, "/a/light")
	until(t, "both hear", func() bool { return c.allHeard(`{"value":0}`) })
	elsewhere := newLamp(t, lampID)
	elsewhere.set(5)
	m.found(elsewhere.found(t), Everything())
	until(t, "both hear what it says elsewhere", func() bool { return c.allHeard(`{"value":5}`) })
	until(t, "it is not observed where it was", func() bool { return l.ended.Load() == 1 })
	m.lost()
	c.tasks.Wait()
	if c.ended[0] != error(errUnreachable) {
		t.Errorf("the end is %v", c.ended[0])
	}
}

// A resource that cannot be observed is answered once.
func TestNotObservable(t *testing.T) {
	l := newLamp(t, lampID)
	still := newThing("/a/still", "x.still")
	still.link.Policy.Mask = oic.Discoverable
	l.Add(still)
	m := mirrorOf(t, l, Everything())
	for _, href := range []string{"/a/still", "/oic/d"} {
		var last bool
		if err := m.Observe(t.Context(), &oic.Request{Href: href}, func(resp *oic.Response) { last = resp.Last }); err != oic.ErrNotObservable || !last {
			t.Errorf("%s: %v, %v", href, err, last)
		}
	}
}

// raving tells news without end.
type raving struct{ told int }

func (r *raving) Handle(context.Context, *oic.Request) (*oic.Response, error) {
	return nil, oic.ErrOffline
}

func (r *raving) Observe(ctx context.Context, _ *oic.Request, each func(*oic.Response)) error {
	for ctx.Err() == nil {
		r.told++
		body, err := oic.Encode(oic.OCF, number{int64(r.told)})
		if err != nil {
			return err
		}
		each(&oic.Response{Status: oic.Content, Format: oic.OCF, Body: body})
	}
	return ctx.Err()
}

// Endless notifications are slowed down to what people can follow.
func TestRaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &raving{}
		m := newMirror(lampID, quiet)
		m.found(Found{ID: lampID, Links: []oic.Link{{Href: "/a"}}, Device: r}, Everything())
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		heard := 0
		m.Observe(ctx, &oic.Request{Href: "/a"}, func(*oic.Response) { heard++ })
		m.tasks.Wait()
		if r.told > 502 || heard > r.told || heard < 490 {
			t.Errorf("told %d, heard %d in 10 s", r.told, heard)
		}
	})
}

// broken tells how often it was observed, and breaks off.
type broken struct{ begun atomic.Int64 }

func (b *broken) Handle(context.Context, *oic.Request) (*oic.Response, error) {
	return nil, oic.ErrOffline
}

func (b *broken) Observe(_ context.Context, _ *oic.Request, each func(*oic.Response)) error {
	n := b.begun.Add(1)
	if n%2 == 0 {
		return oic.ErrOffline // nor does each attempt get through
	}
	body, err := oic.Encode(oic.OCF, number{n})
	if err != nil {
		return err
	}
	each(&oic.Response{Status: oic.Content, Format: oic.OCF, Body: body})
	return oic.ErrOffline
}

// Who observes from afar is spared what breaks off on the local network, until
// the device is lost.
func TestBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &broken{}
		m := newMirror(lampID, quiet)
		m.found(Found{ID: lampID, Links: []oic.Link{{Href: "/a"}}, Device: b}, Everything())
		c := watch(t, m, 2, "/a")
		time.Sleep(3 * time.Minute)
		if n := b.begun.Load(); n < 5 || n > 60 || c.allHeard(`{"value":1}`) {
			t.Errorf("begun %d times, %v", b.begun.Load(), c.heard)
		}
		m.lost()
		c.tasks.Wait()
		m.tasks.Wait()
		if c.ended[0] != error(errUnreachable) {
			t.Errorf("the end is %v", c.ended[0])
		}
	})
}
