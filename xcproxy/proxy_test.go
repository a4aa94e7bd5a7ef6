package xcproxy

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/xmppd/xmppdtest"
)

const (
	phoneID  = "3d2c5a10-52a7-4e0f-9c1b-6b2f0a9e7b55"
	secondID = "11111111-2222-4333-8444-555555555555"
	thirdID  = "99999999-2222-4333-8444-555555555555"
)

// running is a proxy, until stop or the end of the test.
type running struct {
	*Proxy
	stop func()
}

func run(t *testing.T, cfg Config) running {
	t.Helper()
	cfg.Log, cfg.Retry = quiet, backoff.Backoff{Base: 100 * time.Millisecond, Max: 100 * time.Millisecond}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := p.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	}()
	stop := sync.OnceFunc(func() { cancel(); <-ended })
	t.Cleanup(stop)
	return running{p, stop}
}

// phone is a client of the same account, far away.
func phone(t *testing.T, srv *xmppdtest.Server) *rae.Endpoint {
	t.Helper()
	e, err := rae.New(rae.Config{XMPP: srv.Client("ann", ""), ID: phoneID, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); e.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return e
}

// sees is which devices are there by presence, by type and the first figures of
// their di's; those that were there have "-" in front.
func sees(e *rae.Endpoint, proxy string) string {
	var list []string
	for _, d := range e.Devices() {
		if d.Name.IsClient() {
			continue
		}
		s := strings.TrimPrefix(d.Name.Type, "oic.d.") + " "
		if d.Name.ID == proxy {
			s += "proxy"
		} else {
			s += d.Name.ID[:4]
		}
		if !d.Available {
			s = "-" + s
		}
		list = append(list, s)
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// Devices that know nothing of XMPP are there under their own names as far as
// there are streams, and behind the proxy beyond that (RA-008, RA-024, RA-025,
// A-06); their presence is that on the local network.
func TestStreams(t *testing.T) {
	srv := xmppdtest.Run(t, xmppdtest.Config{})
	file := FileState(filepath.Join(t.TempDir(), "proxy.json"))
	cfg := Config{Policy: Everything(), XMPP: srv.Client("ann", ""), Streams: 2, State: file}
	p := run(t, cfg)
	far := phone(t, srv)
	lamps := map[string]*lamp{}
	for _, id := range []string{lampID, thirdID, secondID} { // in the order of their coming
		lamps[id] = newLamp(t, id)
		p.Found(lamps[id].found(t))
		if id != secondID {
			until(t, id+" is there", func() bool { return strings.Contains(sees(far, p.ID()), id[:4]) })
		}
	}
	awaits := func(want string) {
		t.Helper()
		until(t, want, func() bool { return sees(far, p.ID()) == want })
	}
	all := "bridge proxy, light 0685, light 9999"
	awaits(all)

	own := func(id string) *rae.Remote { return far.Open(jidOf(t, far, id)) }
	if got := ask(t, own(lampID), oic.Update, "/a/light", number{7}); !strings.HasPrefix(got, "2.04") {
		t.Error(got)
	}
	if got := lamps[lampID].light.value.Load(); got != 7 {
		t.Errorf("the lamp is at %d", got)
	}
	bridge := own(p.ID())
	if got := ask(t, bridge.Behind(secondID), oic.Update, "/a/light", number{8}); !strings.HasPrefix(got, "2.04") {
		t.Error(got)
	}
	if got := ask(t, bridge, oic.Retrieve, "/oic/res?rt=oic.r.switch.binary", nil); !strings.Contains(got, "ocf://"+secondID) || strings.Contains(got, lampID) || strings.Contains(got, "127.0.0.1") {
		t.Error(got)
	}
	absent := ask(t, bridge.Behind("00000000-2222-4333-8444-555555555555"), oic.Retrieve, "/a/light", nil)
	if !strings.HasPrefix(absent, "4.04") {
		t.Error(absent)
	}

	p.Lost(lampID)
	awaits("-light 0685, bridge proxy, light 9999")
	p.Found(lamps[lampID].found(t))
	awaits(all)

	if err := p.SetPolicy(Policy{{Device: lampID}}); err != nil {
		t.Fatal(err)
	}
	awaits("-light 9999, bridge proxy, light 0685")
	if got := ask(t, bridge.Behind(secondID), oic.Retrieve, "/a/light", nil); got != absent {
		t.Errorf("outside the policy: %s\nabsent: %s", got, absent)
	}
	if err := p.SetPolicy(Everything()); err != nil {
		t.Fatal(err)
	}
	awaits(all)

	p.stop()
	awaits("-bridge proxy, -light 0685, -light 9999")
	p = run(t, cfg)
	for _, id := range []string{secondID, thirdID, lampID} { // another order, the same addresses
		p.Found(lamps[id].found(t))
	}
	awaits(all)
}

// A remote observer follows a lamp through its stream; a lamp that comes back is
// followed on (RA-025; section 6 of the wire profile, 5).
func TestObserveFromAfar(t *testing.T) {
	srv := xmppdtest.Run(t, xmppdtest.Config{})
	p := run(t, Config{Policy: Everything(), XMPP: srv.Client("ann", "")})
	far := phone(t, srv)
	l := newLamp(t, lampID)
	p.Found(l.found(t))
	until(t, "both are there", func() bool { return sees(far, p.ID()) == "bridge proxy, light 0685" })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	heard := map[int]string{}
	var watching sync.WaitGroup
	for i := range 5 {
		to := far.Open(jidOf(t, far, lampID))
		if i == 4 {
			to = far.Open(jidOf(t, far, p.ID())).Behind(lampID)
		}
		watching.Go(func() {
			to.Observe(ctx, &oic.Request{Href: "/a/light"}, func(resp *oic.Response) {
				text, _ := oic.ToJSON(resp.Format, resp.Body)
				mu.Lock()
				defer mu.Unlock()
				heard[i] = string(text)
			})
		})
	}
	all := func(want string) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			for i := range 5 {
				if heard[i] != want {
					return false
				}
			}
			return true
		}
	}
	until(t, "all hear", all(`{"value":0}`))
	l.set(1)
	until(t, "all hear a change", all(`{"value":1}`))
	if n := l.watched.Load(); n != 1 {
		t.Errorf("the lamp has %d observations", n)
	}
	cancel()
	watching.Wait()
	until(t, "the lamp is not observed", func() bool { return l.ended.Load() == 1 })
}

// What comes from the local network cannot fill the proxy, nor take its name.
func TestStrangers(t *testing.T) {
	p, err := New(Config{Policy: Everything(), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxDevices + 10 {
		p.Found(Found{ID: fmt.Sprintf("%08x-2222-4333-8444-555555555555", i), Device: &faulty{}})
	}
	for _, id := range []string{"", "lamp", p.ID(), "{0685b960-736f-46f7-bec0-9e6cbd61adc1}"} {
		p.Found(Found{ID: id, Device: &faulty{}})
	}
	p.Lost("nobody")
	if n := len(p.mirrors); n != maxDevices || p.mirrors[p.ID()] != nil {
		t.Errorf("%d devices are kept", n)
	}
	if err := p.Run(t.Context()); err != errNowhere {
		t.Errorf("Run = %v", err)
	}
	many := make([]oic.Link, 2000)
	for i := range many {
		many[i] = oic.Link{Href: fmt.Sprintf("/%d", i)}
	}
	m := newMirror(lampID, quiet)
	m.found(Found{ID: lampID, Links: many, Device: &faulty{}}, Everything())
	if n := len(m.links()); n > maxLinks {
		t.Errorf("%d links are shown", n)
	}
}
