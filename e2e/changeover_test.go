package e2e_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/device/sim"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/reach"
	"github.com/farreach/farreach/xmppd/xmppdtest"
)

// counted counts the commands that a device is given.
type counted struct {
	oic.Observer
	mu sync.Mutex // guards n
	n  int
}

func (c *counted) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	if req.Op == oic.Update {
		c.mu.Lock()
		c.n++
		c.mu.Unlock()
	}
	return c.Observer.Handle(ctx, req)
}

func (c *counted) times() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// attend has a device be there over XMPP until the test ends or leave is called.
func attend(t *testing.T, srv *xmppdtest.Server, h oic.Handler) (leave func()) {
	t.Helper()
	e, err := rae.New(rae.Config{XMPP: srv.Client("ann", ""), Device: h, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { e.Run(ctx) })
	leave = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	t.Cleanup(leave)
	<-e.Complete() // its presence is known to the server then
	return leave
}

// told is what an observer was told.
type told struct {
	news chan string
	all  []string
}

// expect waits for states, and that nothing else is told before the last.
func (o *told) expect(t *testing.T, states ...string) {
	t.Helper()
	for _, want := range states {
		select {
		case got := <-o.news:
			if o.all = append(o.all, got); got != want {
				t.Errorf("told %s, want %s; all: %q", got, want, o.all)
			}
		case <-time.After(patience):
			t.Fatalf("not told %s in time; all: %q", want, o.all)
		}
	}
}

// One device in the cloud and on XMPP at once: it is one, the client says which
// way it went, and changes over when one way is lost. A command is given once,
// and what is watched goes on over whichever way there is.
func TestChangeOver(t *testing.T) {
	h := newHome(t, 0)
	w := h.ways()["coaps+tcp"]
	srv := xmppdtest.Run(t, xmppdtest.Config{})
	lamp, err := sim.New("lamp", device.Config{Name: "lamp", Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	host := lamp.Host()
	over := &counted{Observer: host.Remote()}
	state := cloudlink.FileState(filepath.Join(t.TempDir(), "state.json"))
	inCloud := h.joinAs(host, lamp.Run, w, state)
	inCloud.registered(t)
	leaveXMPP := attend(t, srv, over)

	changes := make(chan string, 64)
	p, err := reach.Open(t.Context(), reach.Config{Cloud: w.uri, TLS: w.tls, Account: "home", Token: h.token, Log: quiet,
		XMPP: &reach.XMPP{Config: srv.Client("ann", "")}, OnChange: func(c reach.Change) {
			from, _, _ := strings.Cut(c.From, ":")
			to, _, _ := strings.Cut(c.To, ":")
			changes <- from + ">" + to
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	d, err := p.Device(t.Context(), reach.Target{Device: host.ID()[:8]})
	if err != nil {
		t.Fatal(err)
	}
	changed := func(want string) {
		t.Helper()
		select {
		case got := <-changes:
			if got != want {
				t.Errorf("it changed over %s, want %s", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("it did not change over %s in time", want)
		}
	}
	command := func(dimming int, via string) {
		t.Helper()
		before := over.times()
		if err := post(t.Context(), d, "/a/light", fmt.Sprintf(`{"dimming":%d}`, dimming)); err != nil {
			t.Errorf("%s: %v", via, err)
		}
		if !strings.HasPrefix(d.Via(), via) {
			t.Errorf("it went via %s, want %s", d.Via(), via)
		}
		if n := over.times() - before; n != strings.Count(via, "xmpp") {
			t.Errorf("the command was given %d times over XMPP", n)
		}
	}
	command(10, "coaps+tcp:")
	h.awaitEvent(host.ID(), "/a/light", `"dimming":10`)
	inCloud.leave() // what is left is XMPP
	command(20, "xmpp:")
	changed("coaps+tcp>xmpp")
	inCloud = h.joinAs(host, lamp.Run, w, state)
	inCloud.registered(t)

	watched := &told{news: make(chan string, 64)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- d.Observe(ctx, &oic.Request{Href: "/a/light", Accept: oic.OCF}, func(r *oic.Response) {
			var light struct {
				Dimming int `json:"dimming"`
			}
			oic.Decode(r.Format, r.Body, &light)
			watched.news <- fmt.Sprint(light.Dimming)
		})
	}()
	watched.expect(t, "20")
	command(30, "xmpp:")
	watched.expect(t, "30")

	h.awaitEvent(host.ID(), "/a/light", `"dimming":30`)
	leaveXMPP() // what is left is the cloud
	changed("xmpp>coaps+tcp")
	command(40, "coaps+tcp:")
	watched.expect(t, "40")

	attend(t, srv, over)
	changed("coaps+tcp>xmpp")
	h.stop() // the server itself is gone, with what it was watching
	command(50, "xmpp:")
	watched.expect(t, "50")
	cancel()
	if err := <-ended; err != context.Canceled {
		t.Errorf("the observation ended with %v", err)
	}
	h.start() // so that it can be stopped again
}
