package lan_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/coap/dtls"
	"github.com/farreach/farreach/internal/simnet"
	"github.com/farreach/farreach/lan"
	"github.com/farreach/farreach/oic"
)

// watched is a device that counts who observes it.
type watched struct {
	oic.Observer
	now atomic.Int32
}

func (d *watched) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	d.now.Add(1)
	defer d.now.Add(-1)
	return d.Observer.Observe(ctx, req, each)
}

// observe observes n resources of a device, as far as it knows; the views of one
// are as good as several.
func (w *watch) observe(ctx context.Context, id string, n int) {
	for i := range n {
		go w.device(id).Open().Observe(ctx, &oic.Request{Href: fmt.Sprintf("/a/light?if=oic.if.baseline&n=%d", i)}, func(*oic.Response) {})
	}
	pass(10 * time.Second)
}

// Whoever does not watch any more says so to the devices, however many of their
// resources were observed, before the sockets are closed: else they would go on
// with notifications to nobody until one of them is not acknowledged.
func TestFarewell(t *testing.T) {
	const resources = 7
	ours := withKey(t, sharedKey)
	psk := dtls.Config{Listen: true, Log: slog.New(slog.DiscardHandler), PSK: func([]byte) ([]byte, error) {
		return []byte("\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"), nil
	}}
	plain := func(n *network, d oic.Observer) lan.Known {
		n.plug("10.0.0.2:40002", d)
		return lan.Known{}
	}
	described := func(n *network, d oic.Observer) lan.Known {
		n.plug("10.0.0.2:40002", d)
		return lan.Known{Described: []lan.Described{{Address: "10.0.0.2:40002", ID: lampID, Name: "lamp", Links: []oic.Link{{Href: "/a/light"}}}}}
	}
	secured := func(n *network, d oic.Observer) lan.Known {
		n.serve(dtls.New(n.Listen("10.0.0.2:5684"), psk), d)
		return lan.Known{Credentials: ours, Described: []lan.Described{{Address: "coaps://10.0.0.2:5684", ID: lampID, Name: "lamp", Links: []oic.Link{{Href: "/a/light"}}}}}
	}
	type ending struct {
		w      *watch
		cancel context.CancelFunc
		learns chan<- lan.Known
	}
	shutdown := func(e ending) { e.w.stop() }
	unwatched := func(e ending) { // and at once nobody is there any more
		e.cancel()
		synctest.Wait()
		e.w.stop()
	}
	undescribed := func(e ending) { e.learns <- lan.Known{} }
	for _, c := range []struct {
		name   string
		device func(*network, oic.Observer) lan.Known
		net    simnet.Config
		end    func(ending)
	}{
		{"shutdown", plain, simnet.Config{Delay: 20 * time.Millisecond}, shutdown},
		{"unwatched, shutdown", plain, simnet.Config{Delay: 20 * time.Millisecond}, unwatched},
		{"lossy", plain, simnet.Config{Delay: time.Millisecond, Loss: 0.1, Seed: 5}, unwatched},
		{"described", described, simnet.Config{Delay: 20 * time.Millisecond}, unwatched},
		{"secured", secured, simnet.Config{Delay: 20 * time.Millisecond}, unwatched},
		{"not described any more", described, simnet.Config{Delay: 20 * time.Millisecond}, undescribed},
		{"not described any more, secured", secured, simnet.Config{Delay: 20 * time.Millisecond}, undescribed},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t, c.net)
				d := &watched{Observer: simulated(t, "lamp", lampID, "lamp")}
				learns := make(chan lan.Known)
				w := n.watch(lan.Config{Known: c.device(n, d), Reload: learns})
				pass(time.Minute)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				w.observe(ctx, lampID, resources)
				if now := d.now.Load(); now != resources {
					t.Fatalf("%d observations, want %d", now, resources)
				}
				begin := time.Now()
				c.end(ending{w, cancel, learns})
				took := time.Since(begin)
				pass(5 * time.Second)
				if now := d.now.Load(); now != 0 || took > 5*time.Second {
					t.Errorf("%d observations go on; it took %v", now, took)
				}
				w.stop()
			})
		})
	}
}

// A device that is gone is not waited for longer than a moment.
func TestFarewellToNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, simnet.Config{})
		u := n.plug("10.0.0.2:40002", simulated(t, "lamp", lampID, "lamp"))
		w := n.watch(lan.Config{})
		pass(5 * time.Second)
		w.observe(t.Context(), lampID, 3)
		u.unplug()
		begin := time.Now()
		w.stop()
		if took := time.Since(begin); took == 0 || took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
