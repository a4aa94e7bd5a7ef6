package lan_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/internal/simnet"
	"github.com/farreach/farreach/lan"
	"github.com/farreach/farreach/oic"
)

// Devices come, are asked, commanded and observed, change, go and come back.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, simnet.Config{Delay: time.Millisecond})
		lamp := simulated(t, "lamp", lampID, "lamp")
		n.plug("10.0.0.3:40003", simulated(t, "door", doorID, "door"))
		w := n.watch(lan.Config{})
		pass(5 * time.Second)
		w.expect("+door")

		plugged := n.plug("10.0.0.2:40002", lamp)
		pass(time.Minute)
		w.expect("+lamp")
		d := w.device(lampID)
		if got := read(t, d.Open(), "/a/light"); got != `{"value":false,"dimming":100}` {
			t.Errorf("the light is %s", got)
		}
		if d.Address != plugged.at || len(d.Links) != 5 || d.Types[0] != "oic.d.light" || d.Release != "ocf.2.2.5" {
			t.Errorf("the lamp is %+v", d)
		}

		body, _ := oic.FromJSON(oic.OCF, []byte(`{"n":"desk"}`))
		if _, err := d.Open().Handle(t.Context(), &oic.Request{Op: oic.Update, Href: "/oic/con", Format: oic.OCF, Body: body}); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Second)
		w.expect("~desk")

		plugged.unplug()
		pass(90 * time.Second)
		w.expect() // one lost answer is no proof
		pass(3 * time.Minute)
		w.expect("-desk")
		_, err := d.Open().Handle(t.Context(), &oic.Request{Href: "/a/light"})
		if !errors.Is(err, oic.ErrOffline) || !errors.Is(err, oic.ErrNotSent) {
			t.Errorf("the device that is gone: %v", err)
		}

		n.plug("10.0.0.2:40007", lamp) // another port, as after a restart
		pass(3 * time.Minute)
		w.expect("+desk")
		if got := read(t, d.Open(), "/oic/con?if=oic.if.rw"); got == "" {
			t.Error("the same Observer leads nowhere")
		}
		w.stop()
		if _, err := d.Open().Handle(t.Context(), &oic.Request{Href: "/a/light"}); !errors.Is(err, oic.ErrOffline) {
			t.Errorf("when nobody watches: %v", err)
		}
	})
}

// A device that is observed needs no other sign of life than its notifications;
// an observation passes through as it is.
func TestObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, simnet.Config{})
		n.plug("10.0.0.2:40002", simulated(t, "lamp", lampID, "lamp"))
		w := n.watch(lan.Config{})
		pass(5 * time.Second)
		w.expect("+lamp")
		device := w.device(lampID).Open()
		seen := make(chan string, 8)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			ended <- device.Observe(ctx, &oic.Request{Href: "/a/light"}, func(resp *oic.Response) {
				b, _ := oic.ToJSON(resp.Format, resp.Body)
				seen <- string(b)
			})
		}()
		if got := <-seen; got != `{"value":false,"dimming":100}` {
			t.Errorf("first %s", got)
		}
		body, _ := oic.FromJSON(oic.OCF, []byte(`{"value":true}`))
		if _, err := device.Handle(ctx, &oic.Request{Op: oic.Update, Href: "/a/light", Format: oic.OCF, Body: body}); err != nil {
			t.Fatal(err)
		}
		if got := <-seen; got != `{"value":true,"dimming":100}` {
			t.Errorf("then %s", got)
		}
		cancel()
		if err := <-ended; err != context.Canceled {
			t.Errorf("Observe = %v", err)
		}
	})
}

// An observation ends when the device goes or is elsewhere: otherwise who
// observes would wait for ever for a device that knows nothing of him.
func TestObserveGone(t *testing.T) {
	for _, moves := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			n := newNetwork(t, simnet.Config{})
			lamp := simulated(t, "lamp", lampID, "lamp")
			u := n.plug("10.0.0.2:40002", lamp)
			w := n.watch(lan.Config{})
			pass(5 * time.Second)
			ended := make(chan error, 1)
			go func() {
				ended <- w.device(lampID).Open().Observe(t.Context(), &oic.Request{Href: "/a/light"}, func(*oic.Response) {})
			}()
			pass(time.Second)
			u.unplug()
			if moves {
				n.plug("10.0.0.9:40009", lamp)
			}
			pass(5 * time.Minute)
			select {
			case err := <-ended:
				if !errors.Is(err, oic.ErrOffline) || errors.Is(err, oic.ErrNotSent) {
					t.Errorf("Observe = %v", err)
				}
			default:
				t.Error("Observe does not end")
			}
			w.stop()
		})
	}
}

// Links that come and go are told of.
func TestLinksChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, simnet.Config{})
		lamp := simulated(t, "lamp", lampID, "lamp")
		n.plug("10.0.0.2:40002", lamp)
		w := n.watch(lan.Config{})
		pass(5 * time.Minute)
		w.expect("+lamp")
		lamp.Remove("/a/light")
		pass(3 * time.Minute)
		w.expect("~lamp")
		if got := len(w.device(lampID).Links); got != 4 {
			t.Errorf("%d links", got)
		}
	})
}

// A device may get another address: it is moved, not gone, and what was opened
// follows.
func TestMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, simnet.Config{Delay: time.Millisecond})
		lamp := simulated(t, "lamp", lampID, "lamp")
		first := n.plug("10.0.0.2:40002", lamp)
		w := n.watch(lan.Config{})
		pass(5 * time.Second)
		w.expect("+lamp")
		device := w.device(lampID).Open()
		first.unplug()
		second := n.plug("10.0.0.9:40009", lamp)
		pass(2 * time.Minute)
		w.expect("~lamp")
		if got := w.device(lampID).Address; got != second.at {
			t.Errorf("it is at %v", got)
		}
		if got := read(t, device, "/a/light"); got != `{"value":false,"dimming":100}` {
			t.Errorf("the light is %s", got)
		}
	})
}

// Half of all datagrams get lost: devices are found all the same, and stay.
func TestLossy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, simnet.Config{Delay: time.Millisecond, Loss: 0.3, Duplicate: 0.3, Jitter: 50 * time.Millisecond, Seed: 1})
		n.plug("10.0.0.2:40002", simulated(t, "lamp", lampID, "lamp"))
		n.plug("10.0.0.3:40003", simulated(t, "door", doorID, "door"))
		w := n.watch(lan.Config{})
		pass(10 * time.Minute)
		w.expect("+lamp", "+door")
	})
}

// Nobody is polled: an idle device is heard of when it answers the group, once a
// minute, and asked who it is only every fourth.
func TestIdleTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, simnet.Config{})
		n.plug("10.0.0.2:40002", simulated(t, "lamp", lampID, "lamp"))
		w := n.watch(lan.Config{})
		pass(5 * time.Minute)
		w.expect("+lamp")
		before := n.Sent()
		pass(time.Hour)
		per := float64(n.Sent()-before) / 60
		t.Logf("%.2f datagrams a minute: question to the group, its answer, check, its answer", per)
		if per > 3.3 {
			t.Errorf("%.2f datagrams a minute", per)
		}
	})
}

// Two hundred devices are found within five seconds, two of which are the
// leisure with which they answer.
func TestTwoHundred(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, simnet.Config{Delay: 2 * time.Millisecond})
		for i := range 200 {
			n.plug(fmt.Sprintf("10.0.1.%d:40000", i), raw(idOf(i), links(idOf(i), 3)))
		}
		w := n.watch(lan.Config{})
		pass(5 * time.Second)
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.devices) != 200 {
			t.Errorf("%d devices", len(w.devices))
		}
	})
}
