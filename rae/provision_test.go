package rae_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
)

// attempts are the endpoints of a device whose servers behave as their names
// say: "good…" lets it in after 100 ms, "bad…" cannot be reached, "refuses…"
// does not know the account.
type attempts struct {
	mu   sync.Mutex // guards log
	from time.Time
	log  []string // "+0s good.example", "-2s good.example"
}

func (a *attempts) add(mark string, s rae.Settings) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.log = append(a.log, fmt.Sprintf("%s%v %s", mark, time.Since(a.from), s.Server.Address))
}

func (a *attempts) serve(ctx context.Context, s rae.Settings, tell func(rae.State)) error {
	a.add("+", s)
	defer a.add("-", s)
	switch time.Sleep(100 * time.Millisecond); {
	case strings.HasPrefix(s.Server.Address, "bad"):
		tell(rae.State{Status: rae.Error, Reason: "host-unreachable: nobody there"})
	case strings.HasPrefix(s.Server.Address, "refuses"):
		tell(rae.State{Status: rae.Error, Reason: "auth-failed: not-authorized"})
		return errors.New("auth-failed")
	default:
		tell(rae.State{Status: rae.Connected})
	}
	<-ctx.Done()
	tell(rae.State{Status: rae.Error, Reason: "timeout: it is over"}) // too late to be heard
	return ctx.Err()
}

// expect compares what has happened since the last call.
func (a *attempts) expect(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Equal(a.log, want) {
		t.Errorf("%v in:\n got %q\nwant %q", time.Since(a.from), a.log, want)
	}
	a.log = nil
}

// led runs a device of these settings until the test ends.
func led(t *testing.T, cfg rae.ProvisioningConfig) (*device.Host, *rae.Provisioning, *attempts) {
	a := &attempts{from: time.Now()}
	cfg.Serve = a.serve
	h, p := provisioned(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	})
	return h, p, a
}

// disk keeps settings, unless it is full.
type disk struct {
	mu   sync.Mutex // guards what follows
	set  rae.Settings
	full bool
}

func (d *disk) keep(s rae.Settings) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full {
		return errors.New("disk full")
	}
	d.set = s
	return nil
}

func (d *disk) kept() rae.Settings {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.set
}

func server(name string) string { return `{"address":"` + name + `","port":5222}` }

// must sets something.
func (a asker) must(t *testing.T, href, body string) {
	t.Helper()
	if got := a.text(t, oic.Update, href, body); !strings.HasPrefix(got, "2.04") || !strings.Contains(got, "jid") && !strings.Contains(got, `"NotInitialized"`) {
		t.Errorf("%s %s: %s", href, body, got)
	}
}

func expectState(t *testing.T, p *rae.Provisioning, status rae.Status, reason string) {
	t.Helper()
	synctest.Wait()
	if got := p.State(); got != (rae.State{Status: status, Reason: reason}) {
		t.Errorf("state %v, want %v %q", got, status, reason)
	}
}

// RA-030, A-04: nothing is tried before all is set; what is set counts a second
// after the last change, and until then the stream stands; the state is that of
// the latest settings.
func TestProvisioningWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p, a := led(t, rae.ProvisioningConfig{})
		owner := asker{h, owner}
		time.Sleep(time.Hour)
		owner.must(t, userHref, annsLogin)
		time.Sleep(time.Hour)
		a.expect(t)
		expectState(t, p, rae.NotInitialized, "")

		a.from = time.Now()
		owner.must(t, confHref, server("good.example"))
		time.Sleep(900 * time.Millisecond)
		owner.must(t, confHref, server("good.example"))
		time.Sleep(900 * time.Millisecond)
		a.expect(t)
		time.Sleep(100 * time.Millisecond)
		a.expect(t, "+1.9s good.example")
		expectState(t, p, rae.NotInitialized, "")
		time.Sleep(100 * time.Millisecond)
		expectState(t, p, rae.Connected, "")

		a.from = time.Now()
		owner.must(t, confHref, server("bad.example"))
		expectState(t, p, rae.NotInitialized, "")
		time.Sleep(time.Second)
		a.expect(t, "-1s good.example", "+1s bad.example")
		expectState(t, p, rae.NotInitialized, "")
		time.Sleep(100 * time.Millisecond)
		expectState(t, p, rae.Error, "host-unreachable: nobody there")

		time.Sleep(time.Hour) // a change near the device is not taken back
		a.expect(t)
		a.from = time.Now()
		owner.must(t, confHref, server("refuses.example"))
		time.Sleep(2 * time.Second)
		expectState(t, p, rae.Error, "auth-failed: not-authorized")
		time.Sleep(time.Hour) // and who is refused does not ask again
		a.expect(t, "-1s bad.example", "+1s refuses.example", "-1.1s refuses.example")
		a.from = time.Now()
		owner.must(t, userHref, annsLogin) // until something is set, be it the same
		time.Sleep(time.Second)
		a.expect(t, "+1s refuses.example")
	})
}

// RA-015: a device that starts with all it needs waits for nothing.
func TestProvisionedAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, p, a := led(t, rae.ProvisioningConfig{Chosen: settings(t)})
		a.expect(t, "+0s xmpp.home.example")
		time.Sleep(100 * time.Millisecond)
		expectState(t, p, rae.Connected, "")
	})
}

// RA-031: who observes the state hears of each change, once.
func TestStatusObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, _ := led(t, rae.ProvisioningConfig{Chosen: settings(t)})
		ctx, cancel := context.WithCancel(t.Context())
		var heard []string
		ended := make(chan error)
		go func() {
			ended <- h.Observe(ctx, &oic.Request{Href: confHref}, func(resp *oic.Response) {
				_, status, _ := strings.Cut(string(toJSON(t, resp)), `"status":"`)
				status, _, _ = strings.Cut(status, `"`)
				heard = append(heard, status)
			})
		}()
		time.Sleep(time.Second)
		asker{h, owner}.must(t, confHref, server("bad.example"))
		time.Sleep(2 * time.Second)
		cancel()
		<-ended
		if want := []string{"NotInitialized", "Connected", "NotInitialized", "Error"}; !slices.Equal(heard, want) {
			t.Errorf("heard %q, want %q", heard, want)
		}
	})
}

// RA-001: a reset ends the stream at once, and leaves nothing.
func TestReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{set: settings(t)}
		h, p, a := led(t, rae.ProvisioningConfig{Chosen: d.set, Keep: d.keep})
		time.Sleep(time.Second)
		a.expect(t, "+0s xmpp.home.example")
		if err := p.Reset(); err != nil {
			t.Fatal(err)
		}
		a.expect(t, "-1s xmpp.home.example")
		expectState(t, p, rae.NotInitialized, "")
		if got := (asker{h, owner}).text(t, oic.Retrieve, userHref, ""); d.kept() != (rae.Settings{}) || strings.Contains(got, "ann") {
			t.Errorf("kept %+v, shown %s", d.kept(), got)
		}
		time.Sleep(time.Hour)
		a.expect(t)
	})
}

// a server that was set by Remote Access and fails for five minutes gives
// way to the one that worked, also over a restart; one that works stays.
func TestRollback(t *testing.T) {
	for _, c := range []struct {
		name  string
		after func(t *testing.T, h *device.Host) // a change from afar, that is at 0s
		want  []string
		ends  string
	}{
		{"it cannot be reached", nil, []string{"-1s good.example", "+1s bad.example", "-5m2s bad.example", "+5m2s good.example"}, "good.example"},
		{"it refuses", func(t *testing.T, h *device.Host) {
			asker{h.Remote(), account}.must(t, confHref, server("refuses.example"))
		}, []string{"-1s good.example", "+1s refuses.example", "-1.1s refuses.example", "+5m2s good.example"}, "good.example"},
		{"two mistakes", func(t *testing.T, h *device.Host) {
			asker{h.Remote(), account}.must(t, confHref, server("bad2.example"))
		}, []string{"-1s good.example", "+1s bad2.example", "-5m2s bad2.example", "+5m2s good.example"}, "good.example"},
		{"another works", func(t *testing.T, h *device.Host) {
			asker{h.Remote(), account}.must(t, confHref, server("good2.example"))
		}, []string{"-1s good.example", "+1s good2.example"}, "good2.example"},
		{"back by hand", func(t *testing.T, h *device.Host) {
			asker{h.Remote(), account}.must(t, confHref, server("good.example"))
		}, []string{"-1s good.example", "+1s good.example"}, "good.example"},
		{"corrected near the device", func(t *testing.T, h *device.Host) {
			time.Sleep(4 * time.Minute)
			asker{h, owner}.must(t, confHref, server("bad3.example"))
		}, []string{"-1s good.example", "+1s bad.example", "-4m1s bad.example", "+4m1s bad3.example"}, "bad3.example"},
		{"account set near the device", func(t *testing.T, h *device.Host) {
			time.Sleep(4 * time.Minute)
			asker{h, owner}.must(t, userHref, annsLogin)
		}, []string{"-1s good.example", "+1s bad.example", "-4m1s bad.example", "+4m1s bad.example"}, "bad.example"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &disk{set: settings(t)}
				d.set.Server.Address = "good.example"
				h, p, a := led(t, rae.ProvisioningConfig{Chosen: d.set, Keep: d.keep})
				time.Sleep(time.Second)
				a.expect(t, "+0s good.example")
				a.from = time.Now()
				asker{h.Remote(), account}.must(t, confHref, server("bad.example"))
				if set := d.kept(); set.Before.Address != "good.example" {
					t.Errorf("kept %v, from which there is no way back", set)
				}
				if c.after != nil {
					c.after(t, h)
				}
				time.Sleep(time.Hour)
				a.expect(t, c.want...)
				if set := d.kept(); set.Server.Address != c.ends || set.Before != (rae.Server{}) {
					t.Errorf("kept %v, before %v; want %s and nothing", set.Server, set.Before, c.ends)
				}
				if connected := strings.HasPrefix(c.ends, "good"); (p.State().Status == rae.Connected) != connected {
					t.Errorf("state %v", p.State())
				}
			})
		})
	}
}

// A-24, after a restart in between: the five minutes begin anew, and what cannot
// be kept is tried again.
func TestRollbackAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := settings(t)
		set.Server, set.Before = rae.Server{Address: "bad.example", Port: 1}, rae.Server{Address: "good.example", Port: 2}
		d := &disk{set: set, full: true}
		_, p, a := led(t, rae.ProvisioningConfig{Chosen: set, Keep: d.keep})
		time.Sleep(9 * time.Minute)
		d.mu.Lock()
		d.full = false
		d.mu.Unlock()
		time.Sleep(2 * time.Minute)
		a.expect(t, "+0s bad.example", "-10m1s bad.example", "+10m1s good.example")
		if got, want := d.kept(), (rae.Server{Address: "good.example", Port: 2}); got.Server != want || got.Before != (rae.Server{}) {
			t.Errorf("kept %v, before %v", got.Server, got.Before)
		}
		expectState(t, p, rae.Connected, "")
	})
}
