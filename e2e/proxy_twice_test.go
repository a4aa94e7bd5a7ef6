package e2e_test

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/cloud/directory"
	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/xcproxy"
)

// rival is one of several proxies that find the same device.
type rival struct {
	t      *testing.T
	h      *home
	gadget *device.Host
	dir    string
	first  chan struct{} // Connected waits for it

	mu    sync.Mutex // guards what follows
	log   bytes.Buffer
	now   cloudlink.Status // of the device in the cloud
	looks int              // how often it was asked whether the device is connected
}

func (r *rival) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(b)
}

// run shows the device until the end of the test, or until stop.
func (r *rival) run() (stop func()) {
	r.t.Helper()
	p, err := xcproxy.New(xcproxy.Config{
		Policy: xcproxy.Everything(), State: xcproxy.FileState(filepath.Join(r.dir, "state.json")),
		Retry: backoff.Backoff{Base: 20 * time.Millisecond, Max: 50 * time.Millisecond},
		Log:   slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelInfo})),
		Cloud: &xcproxy.Cloud{
			Client: func(di string) cloudlink.Config {
				way := r.h.ways()["coap+tcp"]
				return cloudlink.Config{Servers: []string{way.uri}, State: cloudlink.FileState(filepath.Join(r.dir, di+".json")),
					Backoff: backoff.Backoff{Base: 50 * time.Millisecond, Max: time.Second}, Log: quiet}
			},
			Code: func(context.Context, string) (secret.String, error) { return r.h.code(), nil },
			Connected: func(ctx context.Context, di string) (bool, error) {
				select {
				case <-r.first:
				case <-ctx.Done():
					return false, ctx.Err()
				}
				r.mu.Lock()
				r.looks++
				r.mu.Unlock()
				d, err := r.h.cloud.DeviceInfo(ctx, r.h.owner(), di)
				return d.Presence.State == directory.Reachable || d.Presence.State == directory.Unproven, err
			},
		},
		OnChange: func(c xcproxy.Change) {
			if c.Device == r.gadget.ID() {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.now = c.Cloud
			}
		},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	stop = playing(r.t, func(ctx context.Context) { _ = p.Run(ctx) })
	p.Found(xcproxy.Found{ID: r.gadget.ID(), Name: "gadget", Types: []string{"oic.d.light"}, Links: r.gadget.Links(), Device: r.gadget})
	return stop
}

func (r *rival) shows() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now.Registered
}

// waits reports whether the other one has the device, as this one has seen so often.
func (r *rival) waits(looks int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now.Err != nil && strings.Contains(r.now.Err.Error(), "another program shows this device") && r.looks >= looks
}

// said is how often the log has it.
func (r *rival) said(text string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Count(r.log.String(), text)
}

// TestProxyTwice: a device that a second proxy has shown in the cloud since is left
// to it, by a first one that says so once, and is shown by the first again when the
// second has gone; which then waits in its turn.
func TestProxyTwice(t *testing.T) {
	t.Parallel()
	h := newHome(t, 0)
	gadget := newGadget("gadget")
	ready := make(chan struct{})
	one := &rival{t: t, h: h, gadget: gadget, dir: t.TempDir(), first: ready}
	two := &rival{t: t, h: h, gadget: gadget, dir: t.TempDir(), first: ready}
	one.run()
	within(t, patience, one.shows)
	stop := two.run()
	within(t, patience, two.shows)
	close(ready) // from now on the second one is there
	within(t, patience, func() bool { return one.waits(10) })
	if !two.shows() || one.shows() {
		t.Error("the first has taken the device back")
	}
	stop()
	within(t, patience, one.shows)
	two.run()
	within(t, patience, func() bool { return two.waits(10) })
	if !one.shows() {
		t.Error("the second has taken the device back")
	}
	for text, want := range map[string]int{"another program shows": 1, "is asked for anew": 1} {
		if got := one.said(text); got != want {
			t.Errorf("the first said %q %d times", text, got)
		}
	}
	if got := two.said("another program shows"); got != 1 || two.said("is asked for anew") != 0 {
		t.Errorf("the second:\n%s", two.log.String())
	}
}
