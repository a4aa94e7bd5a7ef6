package rae

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
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmppd/xmppdtest"
)

// pair is a lamp and a phone of one account, in fake time.
type pair struct {
	*testing.T
	srv         *xmppdtest.Server
	host        *device.Host
	lamp, phone *started
}

// inPair runs a test with a lamp that change has been at.
func inPair(t *testing.T, change func(p *pair, cfg *Config), body func(p *pair)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &pair{T: t, srv: xmppdtest.Run(t, xmppdtest.Config{Memory: true}), host: newLamp()}
		cfg := Config{XMPP: p.srv.Client("ann", ""), Device: p.host.Remote()}
		if change != nil {
			change(p, &cfg)
		}
		p.lamp = start(t, cfg)
		p.phone = start(t, Config{XMPP: p.srv.Client("ann", ""), ID: phoneID})
		body(p)
		p.phone.stop()
		p.lamp.stop()
		if l := &p.lamp.server.limits; l.all != 0 || len(l.watched) != 0 {
			t.Errorf("%d observations are left: %v", l.all, l.watched)
		}
	})
}

func (p *pair) lampJID() jid.JID {
	j, err := p.lamp.Name().JID(p.lamp.own)
	if err != nil {
		p.Fatal(err)
	}
	return j
}

// turn turns the bulb on or off, at the lamp.
func (p *pair) turn(on bool) {
	body, err := oic.Encode(oic.OCF, bulbRep{on})
	if err != nil {
		p.Fatal(err)
	}
	if _, err := p.host.Handle(p.Context(), &oic.Request{Op: oic.Update, Href: "/a/light", Format: oic.OCF, Body: body}); err != nil {
		p.Fatal(err)
	}
	synctest.Wait()
}

// heard is what came of an observation.
type heard struct {
	mu    sync.Mutex
	lines []string
	stop  context.CancelFunc
	over  chan error
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.lines, "\n")
}

// observe has the phone observe something of the lamp.
func (p *pair) observe(href string) *heard {
	ctx, cancel := context.WithCancel(p.Context())
	h := &heard{stop: cancel, over: make(chan error, 1)}
	go func() {
		h.over <- p.phone.x.observe(ctx, p.phone.session(), p.lampJID(), newCall(oic.Retrieve, href), nil, func(a *Answer) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.lines = append(h.lines, textOf(a))
		})
	}()
	synctest.Wait()
	return h
}

func (p *pair) expect(h *heard, want ...string) {
	p.Helper()
	if got := h.String(); got != strings.Join(want, "\n") {
		p.Errorf("heard\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

// TestServeObserve: E-08, RA-079: now and after each change, until it is cancelled.
func TestServeObserve(t *testing.T) {
	inPair(t, nil, func(p *pair) {
		h := p.observe("/a/light?if=oic.if.a")
		p.turn(true)
		time.Sleep(time.Hour) // longer than a session lasts without one
		p.turn(false)
		h.stop()
		if err := <-h.over; !errors.Is(err, context.Canceled) {
			p.Errorf("observe = %v", err)
		}
		synctest.Wait()
		if n := p.lamp.server.limits.all; n != 0 {
			p.Errorf("%d observations after it was cancelled", n)
		}
		p.turn(true)
		p.expect(h, `2.05 Content {"value":false} observed at /a/light`, `2.05 Content {"value":true} observed at /a/light`, `2.05 Content {"value":false} observed at /a/light`)
	})
}

// TestServeObserveEnds: 4.8: what cannot be observed is answered once; an observation
// that ends tells why, without Observe.
func TestServeObserveEnds(t *testing.T) {
	inPair(t, nil, func(p *pair) {
		once, none, denied := p.observe("/oic/d"), p.observe("/nothing"), p.observe("/oic/sec/doxm")
		for _, h := range []*heard{once, none, denied} {
			if err := <-h.over; err != nil {
				p.Errorf("observe = %v", err)
			}
		}
		if got := once.String(); !strings.HasPrefix(got, `2.05 Content {"rt"`) && !strings.HasPrefix(got, `2.05 Content {"di"`) || strings.Contains(got, "observed") {
			p.Errorf("/oic/d cannot be observed, heard %s", got)
		}
		p.expect(none, "4.04 Not Found: no resource /nothing")
		p.expect(denied, "4.03 Forbidden: not by remote access, whoever asks acl")

		h := p.observe("/a/light")
		p.host.Remove("/a/light")
		if err := <-h.over; err != nil {
			p.Errorf("observe = %v", err)
		}
		p.expect(h, `2.05 Content {"value":false} observed at /a/light`, "4.04 Not Found: /a/light was deleted")
	})
}

// TestLostRight: threats rule 2: who may not any more hears one last refusal, at
// the next change at the latest.
func TestLostRight(t *testing.T) {
	var may bool
	rule := func(p *pair, cfg *Config) {
		may = true
		cfg.Allow = func(Peer, *Call) error {
			if !may {
				return oic.Errorf(oic.Forbidden, "not any more")
			}
			return nil
		}
	}
	inPair(t, rule, func(p *pair) {
		const first, last = `2.05 Content {"value":false} observed at /a/light`, "4.03 Forbidden: not any more"
		h := p.observe("/a/light")
		may = false
		p.turn(true)
		<-h.over
		p.expect(h, first, last)

		may = true
		p.turn(false)
		h, other := p.observe("/a/light"), p.observe("/oic/d")
		<-other.over
		p.lamp.Recheck()
		synctest.Wait()
		p.expect(h, first)
		may = false
		p.lamp.Recheck()
		<-h.over
		p.expect(h, first, last)
	})
}

// TestObservationsOfOnePeer: 4.8: 64 of one peer; those beyond are answered, and
// not observed; one that ends makes room.
func TestObservationsOfOnePeer(t *testing.T) {
	inPair(t, nil, func(p *pair) {
		var all []*heard
		for range maxObserved {
			all = append(all, p.observe("/a/light"))
			time.Sleep(time.Second) // the rate is another limit
		}
		one := p.observe("/a/light")
		<-one.over
		p.expect(one, `2.05 Content {"value":false}`)
		all[0].stop()
		<-all[0].over
		synctest.Wait()
		time.Sleep(time.Second)
		another := p.observe("/a/light")
		p.turn(true)
		p.expect(another, `2.05 Content {"value":false} observed at /a/light`, `2.05 Content {"value":true} observed at /a/light`)
		p.expect(all[1], `2.05 Content {"value":false} observed at /a/light`, `2.05 Content {"value":true} observed at /a/light`)
	})
}

// TestObservationsOfAll: 4.8: 1,024 of everybody, and what has ended is counted
// no more.
func TestObservationsOfAll(t *testing.T) {
	l := limits{perSecond: perSecond}
	var leave []func()
	for i := range 20 {
		j := mustJID(t, fmt.Sprintf("ann@home.example/%d", i))
		for range maxObserved {
			if f, ok := l.enter(j); ok {
				leave = append(leave, f)
			}
		}
	}
	if len(leave) != maxAllWatched {
		t.Fatalf("%d observations", len(leave))
	}
	for _, f := range leave {
		f()
	}
	if _, ok := l.enter(mustJID(t, "ann@home.example/x")); !ok || l.all != 1 || len(l.watched) != 1 {
		t.Errorf("%d of %d peers are counted", l.all, len(l.watched))
	}
}

// TestObserverGone: RA-066, IBB rule 7: nothing is kept for who is not there, and
// nothing is sent to him.
func TestObserverGone(t *testing.T) {
	inPair(t, nil, func(p *pair) {
		p.observe("/a/light")
		p.phone.stop()
		synctest.Wait()
		if n := p.lamp.server.limits.all; n != 0 {
			p.Errorf("%d observations of a peer that has gone", n)
		}
		routed := p.srv.Counters.Routed.Load()
		p.turn(true)
		if n := p.srv.Counters.Routed.Load() - routed; n != 0 {
			p.Errorf("%d stanzas for who has gone", n)
		}
	})
}

// TestRate: section 7: 50 requests in a second, 100 at once, and then 4.29 that
// says when to come again.
func TestRate(t *testing.T) {
	inPair(t, nil, func(p *pair) {
		ask := func(n int) (ok int) {
			for range n {
				a, err := p.phone.x.ask(p.Context(), p.phone.session(), p.lampJID(), newCall(oic.Retrieve, "/a/light"))
				switch {
				case err != nil:
					p.Fatal(err)
				case a.Response != nil:
					ok++
				case a.Refusal.Status != oic.TooMany || a.Refusal.Retry != time.Second:
					p.Errorf("refused with %v, again in %v", a.Refusal, a.Refusal.Retry)
				}
			}
			return ok
		}
		got := []int{ask(150)}
		time.Sleep(time.Second)
		got = append(got, ask(150))
		time.Sleep(time.Minute)
		got = append(got, ask(150))
		if want := []int{100, 50, 100}; !slices.Equal(got, want) {
			p.Errorf("answered %v, want %v", got, want)
		}
	})
}

// TestRatesAreBounded: who invents names gets no further than one who has one.
func TestRatesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limits{perSecond: perSecond}
		ok := 0
		for i := range 5000 {
			j := mustJID(t, fmt.Sprintf("ann@home.example/%d", i))
			if l.take(j) {
				ok++
			}
		}
		if len(l.rates) != maxRates || ok != maxRates+2*perSecond {
			t.Errorf("%d peers counted, %d requests taken", len(l.rates), ok)
		}
		time.Sleep(time.Second)
		if l.take(mustJID(t, "ann@home.example/new")); len(l.rates) != 1 {
			t.Errorf("%d peers counted a second later", len(l.rates))
		}
	})
}

// unruly is a device that does not answer as it should.
type unruly struct{ oic.Handler }

func (u unruly) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	switch req.Href {
	case "/slow":
		<-ctx.Done()
		return nil, ctx.Err()
	case "/bug":
		panic("a bug")
	case "/away":
		return nil, oic.ErrOffline
	}
	return u.Handler.Handle(ctx, req)
}

func (u unruly) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	_, err := u.Handle(ctx, req)
	return err
}

// TestUnruly: a device that does not answer, or whose handler panics, costs one
// answer (threats rule 23).
func TestUnruly(t *testing.T) {
	rule := func(p *pair, cfg *Config) { cfg.Device, cfg.Timeout = unruly{cfg.Device}, 20*time.Second }
	inPair(t, rule, func(p *pair) {
		for href, want := range map[string]string{
			"/slow": "5.04 Gateway Timeout: the device does not answer in time",
			"/bug":  "5.00 Internal Server Error: internal error",
			"/away": "5.03 Service Unavailable: device offline",
		} {
			if got := p.phone.asks(p.T, p.lamp, newCall(oic.Retrieve, href)); got != want {
				p.Errorf("%s: %s, want %s", href, got, want)
			}
			h := p.observe(href)
			<-h.over
			p.expect(h, want)
		}
	})
}
