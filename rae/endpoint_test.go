package rae

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/xmppd/xmppdtest"
)

const phoneID = "3d2c5a10-52a7-4e0f-9c1b-6b2f0a9e7b55"

// bulb is a light that is on or off.
type bulb struct {
	mu sync.Mutex
	on bool
}

func (b *bulb) Link() oic.Link {
	return oic.Link{Href: "/a/light", Types: []string{"oic.r.switch.binary"}, Interfaces: []string{oic.IfActuator, oic.IfBaseline},
		Policy: oic.Policy{Mask: oic.Discoverable | oic.Observable}}
}

type bulbRep struct {
	Value bool `json:"value"`
}

func (b *bulb) Retrieve(context.Context, string) (any, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bulbRep{b.on}, nil
}

func (b *bulb) Update(_ context.Context, _ string, rep []byte) (any, error) {
	var want bulbRep
	if err := oic.Decode(oic.OCF, rep, &want); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.on = want.Value
	return nil, nil
}

// newLamp is a lamp with one bulb at /a/light.
func newLamp() *device.Host {
	h := device.NewHost(device.Config{ID: lampID, Type: "oic.d.light", Name: "lamp", Reset: func(context.Context) error { return nil }})
	h.Add(&bulb{})
	return h
}

// states notes what an endpoint says of itself.
type states struct {
	mu  sync.Mutex
	all []State
}

func (s *states) add(st State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, st)
}

func (s *states) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var text []string
	for _, st := range s.all {
		text = append(text, strings.TrimSuffix(string(st.Status)+" "+st.Reason, " "))
	}
	return strings.Join(text, "\n")
}

// started is an endpoint that runs.
type started struct {
	*Endpoint
	states states
	stop   func() error // ends it, and returns what Run returned
}

// start runs an endpoint until the test ends, and returns when it is there.
func start(t *testing.T, cfg Config) *started {
	t.Helper()
	s := begin(t, cfg)
	s.await(t, func() bool { return s.session() != nil })
	return s
}

// begin runs an endpoint until the test ends.
func begin(t *testing.T, cfg Config) *started {
	t.Helper()
	s := new(started)
	inner := cfg.OnState
	cfg.OnState = func(st State) {
		s.states.add(st)
		if inner != nil {
			inner(st)
		}
	}
	cfg.Log = quiet
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Endpoint = e
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- e.Run(ctx) }()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-over
	})
	t.Cleanup(func() { s.stop() })
	return s
}

// await waits until is holds.
func (s *started) await(t *testing.T, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited for nothing:\n%s", &s.states)
		}
	}
}

func newCall(op oic.Op, href string) *Call {
	return &Call{Request: oic.Request{Op: op, Href: href, Accept: oic.OCF}}
}

// asks has one endpoint ask another, and returns the answer as text.
func (s *started) asks(t *testing.T, other *started, c *Call) string {
	t.Helper()
	to, err := other.Name().JID(other.own)
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.x.ask(t.Context(), s.session(), to, c)
	if err != nil {
		return err.Error()
	}
	return textOf(a)
}

func textOf(a *Answer) string {
	if a.Refusal != nil {
		return strings.TrimSpace(fmt.Sprintf("%v %s", a.Refusal, a.Word))
	}
	body, err := oic.ToJSON(a.Response.Format, a.Response.Body)
	if err != nil {
		return err.Error()
	}
	text := fmt.Sprintf("%v %s", a.Response.Status, body)
	if a.Observed {
		text += " observed at " + a.ContentLocation
	}
	return strings.TrimSpace(text)
}

// TestGet: E-06 over our server, in fake time and over TLS.
func TestGet(t *testing.T) {
	body := func(t *testing.T, srv *xmppdtest.Server) {
		lamp := start(t, Config{XMPP: srv.Client("ann", ""), Device: newLamp().Remote()})
		phone := start(t, Config{XMPP: srv.Client("ann", ""), ID: phoneID})
		for _, c := range []struct {
			call *Call
			want string
		}{
			{newCall(oic.Retrieve, "/a/light"), `2.05 Content {"value":false}`},
			{&Call{Request: oic.Request{Op: oic.Update, Href: "/a/light", Format: oic.OCF, Body: []byte("\xa1\x65value\xf5")}}, "2.04 Changed"},
			{newCall(oic.Retrieve, "/a/light"), `2.05 Content {"value":true}`},
			{newCall(oic.Retrieve, "/a/lihgt"), `4.04 Not Found: no resource /a/lihgt`},
			{&Call{Request: oic.Request{Href: "/a/light"}, Device: strings.ToUpper(lampID)}, `2.05 Content {"value":true}`},
			{&Call{Request: oic.Request{Href: "/a/light"}, Device: doorID}, `4.04 Not Found: no such device here unknown-device`},
			{newCall(oic.Retrieve, "/oic/mnt"), "4.03 Forbidden: not by remote access, whoever asks acl"},
			{&Call{Request: oic.Request{Op: oic.Update, Href: "/a/light"}, IfMatch: []string{"\x01"}}, "4.02 Bad Option: requests with conditions are not taken"},
		} {
			if got := phone.asks(t, lamp, c.call); got != c.want {
				t.Errorf("%v %s: %s\nwant %s", c.call.Op, c.call.Href, got, c.want)
			}
		}
		if got, want := lamp.asks(t, phone, newCall(oic.Retrieve, "/a/light")), "4.04 Not Found: a client has no resources"; got != want {
			t.Errorf("a client answers %s, want %s", got, want)
		}
		if err := lamp.stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
		if got, want := lamp.states.String(), "Connected\nNotInitialized"; got != want {
			t.Errorf("the lamp was %s, want %s", got, want)
		}
		phone.stop()
	}
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { body(t, xmppdtest.Run(t, xmppdtest.Config{Memory: true})) })
	})
	t.Run("loopback", func(t *testing.T) { body(t, xmppdtest.Run(t, xmppdtest.Config{})) })
}

var quiet = slog.New(slog.DiscardHandler)
