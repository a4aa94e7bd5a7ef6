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
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/reach"
	"github.com/farreach/farreach/xmppd/xmppdtest"
)

// bridge is a proxy whose devices are all behind it.
type bridge struct {
	oic.Observer // its own resources

	mu      sync.Mutex // guards what follows
	there   map[string]*device.Host
	changed chan struct{}
}

const bridgeID = "0685b960-736f-46f7-bec0-9e6cbd61adcf"

// bridged runs a proxy until the test ends or leave is called.
func bridged(t *testing.T, srv *xmppdtest.Server, hosts ...*device.Host) (b *bridge, leave func()) {
	t.Helper()
	own := device.NewHost(device.Config{ID: bridgeID, Type: "oic.d.bridge", Name: "proxy", Log: quiet})
	b = &bridge{Observer: own.Remote(), there: map[string]*device.Host{}, changed: make(chan struct{})}
	b.found(hosts...)
	e, err := rae.New(rae.Config{XMPP: srv.Client("ann", ""), Device: b, Behind: b.behind, Log: quiet})
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
	<-e.Complete()
	return b, leave
}

func (b *bridge) found(hosts ...*device.Host) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, h := range hosts {
		b.there[h.ID()] = h
	}
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *bridge) lost(di string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.there, di)
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *bridge) behind(di string) oic.Handler {
	b.mu.Lock()
	defer b.mu.Unlock()
	if h := b.there[di]; h != nil {
		return h.Remote()
	}
	return nil
}

// Handle tells of /oic/d of those behind, as long as nothing else is asked for.
func (b *bridge) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	if req.Href != "/oic/res?rt=oic.wk.d" {
		return b.Observer.Handle(ctx, req)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	links := []oic.Link{{Href: "/oic/d", Anchor: "ocf://" + bridgeID, Types: []string{"oic.wk.d", "oic.d.bridge"}}}
	for di, h := range b.there {
		links = append(links, oic.Link{Href: "/oic/d", Anchor: "ocf://" + di, Types: []string{"oic.d.light", "oic.wk.d"}, Title: h.Name()})
	}
	body, err := oic.Encode(oic.OCF, links)
	return &oic.Response{Status: oic.Content, Format: oic.OCF, Body: body}, err
}

func (b *bridge) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	for ctx.Err() == nil {
		b.mu.Lock()
		changed := b.changed
		b.mu.Unlock()
		resp, err := b.Handle(ctx, req)
		if err != nil {
			return err
		}
		each(resp)
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// A device without an address of its own is found by its name and its di, read,
// changed and observed through the proxy that it is behind.
func TestBehindProxy(t *testing.T) {
	onXMPP(t, func(t *testing.T, srv *xmppdtest.Server) {
		lamp, door := simulated(t, "lamp", di, "attic"), simulated(t, "lamp", other, "hall")
		bridged(t, srv, lamp, door)
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
			want := "xmpp:ann@home.example/OIC%2F1.0%2Foic.d.bridge%2F" + bridgeID + "?oic;href=ocf:%2F%2F" + di
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
		p, leave := bridged(t, srv, lamp)
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
		p.found(hall)
		time.Sleep(time.Second)
		expect("proxy oic.d.bridge false true", "attic oic.d.light true true", "hall oic.d.light true true")
		p.lost(di)
		time.Sleep(time.Second)
		expect("proxy oic.d.bridge false true", "attic oic.d.light true false", "hall oic.d.light true true")
		leave()
		time.Sleep(time.Second)
		expect("proxy oic.d.bridge false false", "attic oic.d.light true false", "hall oic.d.light true false")
		bridged(t, srv, lamp)
		time.Sleep(time.Minute)
		expect("proxy oic.d.bridge false true", "attic oic.d.light true true", "hall oic.d.light true false")
	})
}

// An observation of a device behind a proxy goes on when the proxy comes back,
// and a device that has moved to an address of its own is observed there.
func TestObserveBehindProxy(t *testing.T) {
	onXMPP(t, func(t *testing.T, srv *xmppdtest.Server) {
		lamp := simulated(t, "lamp", di, "attic")
		_, leave := bridged(t, srv, lamp)
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
		_, leave = bridged(t, srv, lamp)
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
