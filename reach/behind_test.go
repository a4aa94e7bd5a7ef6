package reach_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/reach"
	"github.com/farreach/farreach/xcproxy"
	"github.com/farreach/farreach/xmppd/xmppdtest"
)

// bridged runs a proxy all of whose devices are behind it, until the test ends or
// leave is called.
func bridged(t *testing.T, srv *xmppdtest.Server, state xcproxy.StateStore, hosts ...*device.Host) (p *xcproxy.Proxy, leave func()) {
	t.Helper()
	p, err := xcproxy.New(xcproxy.Config{Policy: xcproxy.Everything(), XMPP: srv.Client("ann", ""), Streams: -1,
		State: state, Retry: backoff.Backoff{Base: time.Second}, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hosts {
		p.Found(foundOf(h))
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	leave = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	t.Cleanup(leave)
	time.Sleep(time.Second)
	synctest.Wait()
	return p, leave
}

func foundOf(h *device.Host) xcproxy.Found {
	return xcproxy.Found{ID: h.ID(), Name: h.Name(), Types: []string{"oic.d.light"}, Links: h.Links(), Device: h}
}

// A device without an address of its own is found by its name and its di, read,
// changed and observed through the proxy that it is behind.
func TestBehindProxy(t *testing.T) {
	onXMPP(t, func(t *testing.T, srv *xmppdtest.Server) {
		lamp, door := simulated(t, "lamp", di, "attic"), simulated(t, "lamp", other, "hall")
		p, _ := bridged(t, srv, nil, lamp, door)
		w := phone(t, srv)
		for _, target := range []string{"attic", "ATTIC", di, "ocf://" + di} {
			parsed, err := reach.ParseTarget(target + "/a/light")
			if err != nil {
				t.Fatal(err)
			}
			d, err := w.Device(t.Context(), parsed)
			if err != nil {
				t.Errorf("%s: %v, %s", target, err, reach.HintOf(err))
				continue
			}
			if got := read(d, parsed.Href); !strings.Contains(got, `"value":false`) {
				t.Errorf("%s is %s", target, got)
			}
			want := "xmpp:ann@home.example/OIC%2F1.0%2Foic.d.bridge%2F" + p.ID() + "?oic;href=ocf:%2F%2F" + di
			if d.ID() != di || d.Name() != "attic" || d.Via() != want {
				t.Errorf("%s is %s %q, via %s; want via %s", target, d.ID(), d.Name(), d.Via(), want)
			}
		}
		d := called(t, w, "attic")
		again, err := reach.ParseTarget(d.Via())
		if err != nil {
			t.Fatal(err)
		}
		straight, err := w.Device(t.Context(), again)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(straight, "/oic/d"); !strings.Contains(got, `"n":"attic"`) || straight.ID() != di {
			t.Errorf("%s is %s: %s", d.Via(), straight.ID(), got)
		}
		if _, err := w.Device(t.Context(), reach.Target{Device: "atic"}); reach.HintOf(err) != "did you mean attic?" {
			t.Errorf("a slip: %v, %q", err, reach.HintOf(err))
		}
	})
}

func called(t *testing.T, w *reach.Ways, name string) *reach.Device {
	t.Helper()
	d, err := w.Device(t.Context(), reach.Target{Device: name})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Who is behind a proxy is listed with it, and followed: who comes, who goes, and
// what becomes of all of them when the proxy goes.
func TestListedBehindProxy(t *testing.T) {
	onXMPP(t, func(t *testing.T, srv *xmppdtest.Server) {
		lamp, hall := simulated(t, "lamp", di, "attic"), simulated(t, "lamp", other, "hall")
		state := xcproxy.FileState(t.TempDir() + "/proxy.json")
		p, leave := bridged(t, srv, state, lamp)
		w := phone(t, srv)
		expect := func(want ...string) {
			t.Helper()
			synctest.Wait()
			all, err := w.OnXMPP(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range all {
				got = append(got, fmt.Sprint(d.Name, " ", d.Type, " ", d.Behind, " ", d.Here))
			}
			if strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("there are %q, want %q", got, want)
			}
		}
		expect("proxy oic.d.bridge false true", "attic oic.d.light true true")
		p.Found(foundOf(hall))
		time.Sleep(time.Second)
		expect("proxy oic.d.bridge false true", "attic oic.d.light true true", "hall oic.d.light true true")
		p.Lost(di)
		time.Sleep(time.Second)
		expect("proxy oic.d.bridge false true", "attic oic.d.light true false", "hall oic.d.light true true")
		leave()
		time.Sleep(time.Second)
		expect("proxy oic.d.bridge false false", "attic oic.d.light true false", "hall oic.d.light true false")
		bridged(t, srv, state, lamp)
		time.Sleep(time.Minute)
		expect("proxy oic.d.bridge false true", "attic oic.d.light true true", "hall oic.d.light true false")
	})
}

// An observation of a device behind a proxy goes on when the proxy comes back,
// and a device that has moved to an address of its own is observed there.
func TestObserveBehindProxy(t *testing.T) {
	onXMPP(t, func(t *testing.T, srv *xmppdtest.Server) {
		lamp := simulated(t, "lamp", di, "attic")
		state := xcproxy.FileState(t.TempDir() + "/proxy.json")
		_, leave := bridged(t, srv, state, lamp)
		w := phone(t, srv)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var mu sync.Mutex
		var told []string
		ended := make(chan error, 1)
		d := called(t, w, "attic")
		go func() {
			ended <- d.Observe(ctx, &oic.Request{Href: "/a/light"}, func(resp *oic.Response) {
				text, _ := oic.ToJSON(resp.Format, resp.Body)
				mu.Lock()
				told = append(told, string(text))
				mu.Unlock()
			})
		}()
		expect := func(n int) {
			t.Helper()
			time.Sleep(time.Minute)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if len(told) != n {
				t.Errorf("told %q, want %d", told, n)
			}
		}
		dim := func(to int) {
			t.Helper()
			body, _ := oic.Encode(oic.OCF, map[string]any{"dimming": to})
			if _, err := lamp.Handle(t.Context(), &oic.Request{Op: oic.Update, Href: "/a/light", Format: oic.OCF, Body: body}); err != nil {
				t.Fatal(err)
			}
		}
		expect(1)
		dim(7)
		expect(2)
		leave()
		expect(2)
		dim(8)
		_, leave = bridged(t, srv, state, lamp)
		expect(3)
		leave()
		dim(9)
		attend(t, srv, lamp.Remote())
		expect(4)
		cancel()
		if err := <-ended; err != context.Canceled {
			t.Error(err)
		}
	})
}
