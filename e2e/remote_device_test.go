package e2e_test

import (
	"context"
	"crypto/tls"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/coap/coaptest"
	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/internal/localca"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/xmpp"
)

// newGadget is a device for tests of what reaches it: a light, a note that can
// be torn off, and a text of any length.
func newGadget(name string) *device.Host {
	h := device.NewHost(device.Config{Name: name, Type: "oic.d.light", Log: quiet})
	for _, r := range []device.Resource{&switched{host: h}, note{}, &longText{longLines(8)}} {
		h.Add(r)
	}
	return h
}

func gadgetLink(href, kind string) oic.Link {
	return oic.Link{Href: href, Types: []string{kind}, Interfaces: []string{oic.IfActuator, oic.IfBaseline},
		Policy: oic.Policy{Mask: oic.Discoverable | oic.Observable}}
}

// switched is /a/light.
type switched struct {
	host *device.Host
	on   bool
}

func (l *switched) Link() oic.Link { return gadgetLink("/a/light", "oic.r.switch.binary") }

func (l *switched) Retrieve(context.Context, string) (any, error) {
	return map[string]any{"value": l.on}, nil
}

func (l *switched) Update(_ context.Context, _ string, rep []byte) (any, error) {
	var to struct {
		Value *bool `json:"value"`
	}
	if err := oic.Decode(oic.CBOR, rep, &to); err != nil || to.Value == nil {
		return nil, oic.Errorf(oic.BadRequest, "value is true or false")
	}
	l.on = *to.Value
	l.host.Changed("/a/light")
	return map[string]any{"value": l.on}, nil
}

// note is /a/note, which can be deleted.
type note struct{}

func (note) Link() oic.Link { return gadgetLink("/a/note", "x.note") }
func (note) Retrieve(context.Context, string) (any, error) {
	return map[string]any{"text": "milk"}, nil
}
func (note) Delete(context.Context) error { return nil }

// longText is /a/text, which holds what was put there.
type longText struct{ lines []string }

func (*longText) Link() oic.Link { return gadgetLink("/a/text", "x.text") }
func (x *longText) Retrieve(context.Context, string) (any, error) {
	return map[string]any{"lines": x.lines}, nil
}
func (x *longText) Replace(_ context.Context, _ string, rep []byte) (any, error) {
	var to struct {
		Lines []string `json:"lines"`
	}
	if err := oic.Decode(oic.CBOR, rep, &to); err != nil {
		return nil, oic.Errorf(oic.BadRequest, "%v", err)
	}
	x.lines = to.Lines
	return nil, nil
}

// playing runs f until the test ends, or until the function that it returns is
// called.
func playing(t *testing.T, f func(ctx context.Context)) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { f(ctx) })
	end = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	t.Cleanup(end)
	return end
}

// onLAN has a device answer at an address of this machine.
func onLAN(t *testing.T, h oic.Observer) (at netip.AddrPort, leave func()) {
	t.Helper()
	pc := coaptest.UDP(t)
	e := coap.NewEndpoint(pc, coap.EndpointConfig{Log: quiet, Accept: func(*coap.Peer) coap.Handler {
		asks := new(oiccoap.Server)
		return coap.HandlerFunc(func(x *coap.Exchange) { asks.Serve(x, h, oic.Identity{}) })
	}})
	return netip.MustParseAddrPort(pc.LocalAddr().String()), playing(t, func(ctx context.Context) { _ = e.Run(ctx) })
}

// inCloud has a device join the account of a server, and stay there.
func inCloud(t *testing.T, h *device.Host, c *child) (leave func()) {
	t.Helper()
	code, err := c.code(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pool, err := localca.Pool(c.CA)
	if err != nil {
		t.Fatal(err)
	}
	registered := make(chan struct{})
	once := sync.OnceFunc(func() { close(registered) })
	client, err := cloudlink.New(cloudlink.Config{
		Servers: []string{c.uri()}, TLS: &tls.Config{RootCAs: pool}, Handler: h.Remote(), Device: h.ID(), Name: h.Name, Links: h.Links,
		Code: code, State: cloudlink.FileState(filepath.Join(t.TempDir(), "state.json")), Log: quiet,
		OnChange: func(s cloudlink.Status) {
			if s.Registered {
				once()
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	leave = playing(t, func(ctx context.Context) { _ = client.Run(ctx) })
	awaitClosed(t, registered, "registered")
	return leave
}

// onXMPP has a device log in as an endpoint, and stay there.
func onXMPP(t *testing.T, h oic.Observer, account xmpp.Config) (leave func()) {
	t.Helper()
	account.Backoff = backoff.Backoff{Base: 50 * time.Millisecond, Max: 200 * time.Millisecond, Spread: 100 * time.Millisecond}
	connected := make(chan struct{})
	once := sync.OnceFunc(func() { close(connected) })
	e, err := rae.New(rae.Config{XMPP: account, Device: h, Log: quiet, OnState: func(s rae.State) {
		if s.Status == rae.Connected {
			once()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	leave = playing(t, func(ctx context.Context) { _ = e.Run(ctx) })
	awaitClosed(t, connected, "on XMPP")
	return leave
}

func awaitClosed(t *testing.T, done <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("never %s", what)
	}
}
