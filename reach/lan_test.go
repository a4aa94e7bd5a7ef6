package reach_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/coap/coaptest"
	"github.com/farreach/farreach/coap/dtls"
	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/device/sim"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
	"github.com/farreach/farreach/reach"
)

func udp(t *testing.T) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	pc := coaptest.UDP(t)
	return pc, pc.LocalAddr().(*net.UDPAddr).AddrPort()
}

// hosted serves a device by datagrams until the test ends.
func hosted(t *testing.T, h oic.Handler, groups ...*coap.GroupConn) netip.AddrPort {
	t.Helper()
	pc, at := udp(t)
	hostedOn(t, pc, h, groups...)
	return at
}

func hostedOn(t *testing.T, pc coap.PacketConn, h oic.Handler, groups ...*coap.GroupConn) {
	coaptest.Endpoint(t, pc, coap.EndpointConfig{Leisure: -1, Closed: true, Groups: groups,
		Accept: func(*coap.Peer) coap.Handler { return answers(h) }})
}

// answers answers one peer with h. Who has asked anything is no stranger.
func answers(h oic.Handler) coap.Handler {
	asks := new(oiccoap.Server)
	return coap.HandlerFunc(func(x *coap.Exchange) {
		if x.Conn() != nil {
			x.Conn().Vouch()
		}
		asks.Serve(x, h, oic.Identity{})
	})
}

func simulated(t *testing.T, kind, id, name string) *device.Host {
	t.Helper()
	s, err := sim.New(kind, device.Config{ID: id, Name: name, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return s.Host()
}

func lanText(found []reach.LANDevice) string {
	var all []string
	for _, d := range found {
		var hrefs, eps []string
		for _, l := range d.Links {
			hrefs = append(hrefs, l.Href)
		}
		for _, e := range d.Endpoints {
			eps = append(eps, e.URI)
		}
		all = append(all, fmt.Sprint(d.ID, " ", d.Name, " ", d.Types, " ", d.Release, " ", hrefs, " ", eps))
	}
	return strings.Join(all, "\n")
}

const other = "0685b960-736f-46f7-bec0-9e6cbd61adc2"

// Those who are asked one by one, and those who hear the question to all.
func TestLAN(t *testing.T) {
	lamp, door := simulated(t, "lamp", di, "lamp"), simulated(t, "door", other, "door")
	group, groupAt := udp(t)
	lampAt, doorAt := hosted(t, lamp, coap.NewGroupConn(group)), hosted(t, door)
	lampIs := di + " lamp [oic.d.light] ocf.2.2.5 [/oic/res /oic/d /oic/p /oic/con /a/light] [coap://" + lampAt.String() + "]"
	for _, c := range []struct {
		name string
		cfg  reach.LANConfig
		want string
	}{
		{"addresses", reach.LANConfig{Addresses: []string{lampAt.String(), "coap://localhost:" + fmt.Sprint(doorAt.Port()), "127.0.0.1:9"}, Wait: 500 * time.Millisecond},
			other + " door [oic.d.door] ocf.2.2.5 [/oic/res /oic/d /oic/p /oic/con /a/door] [coap://" + doorAt.String() + "]\n" + lampIs},
		{"type", reach.LANConfig{Addresses: []string{lampAt.String(), doorAt.String()}, Type: "oic.r.switch.binary"},
			di + " lamp [oic.d.light] ocf.2.2.5 [/a/light] [coap://" + lampAt.String() + "]"},
		{"group", reach.LANConfig{Groups: []netip.AddrPort{groupAt}, Wait: 500 * time.Millisecond}, lampIs},
		{"nobody", reach.LANConfig{Groups: []netip.AddrPort{groupAt}, Type: "x", Wait: 200 * time.Millisecond}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Log = quiet
			found, err := reach.LAN(t.Context(), c.cfg)
			if got := lanText(found); err != nil || got != c.want {
				t.Errorf("found %v\n%s\nwant\n%s", err, got, c.want)
			}
		})
	}
	_, err := reach.LAN(t.Context(), reach.LANConfig{Addresses: []string{"coaps://127.0.0.1"}})
	if reach.KindOf(err) != reach.NoConnect || err == nil {
		t.Errorf("coaps: %v", err)
	}
}

// Devices of any generation, liars and noise on one network.
func TestLANGenerations(t *testing.T) {
	old := oic.HandlerFunc(func(_ context.Context, req *oic.Request) (*oic.Response, error) {
		body := `[{"di":"` + strings.ToUpper(di) + `","links":[{"href":"/l","rt":"core.light","if":"oic.if.a","p":{"bm":3}}]}]`
		if strings.HasPrefix(req.Href, "/oic/d") {
			body = `{"di":"` + di + `","n":"old lamp","icv":"core.1.0.0","rt":["oic.wk.d"]}`
		}
		b, err := oic.FromJSON(oic.CBOR, []byte(body))
		return &oic.Response{Status: oic.Content, Format: oic.CBOR, Body: b}, err
	})
	liar := oic.HandlerFunc(func(_ context.Context, req *oic.Request) (*oic.Response, error) {
		body := `[{"anchor":"ocf://` + other + `","href":"/l","eps":[{"ep":"coap://10.9.9.9:1"},{"ep":"coap://224.0.1.187"}]}]`
		if strings.HasPrefix(req.Href, "/oic/d") {
			body = `{"di":"` + di + `","n":"somebody else"}`
		}
		b, err := oic.FromJSON(oic.OCF, []byte(body))
		return &oic.Response{Status: oic.Content, Format: oic.OCF, Body: b}, err
	})
	noise := oic.HandlerFunc(func(context.Context, *oic.Request) (*oic.Response, error) {
		return &oic.Response{Status: oic.Content, Format: oic.OCF, Body: []byte{0x9f}}, nil
	})
	oldAt, liarAt, noiseAt := hosted(t, old), hosted(t, liar), hosted(t, noise)
	found, err := reach.LAN(t.Context(), reach.LANConfig{Addresses: []string{oldAt.String(), liarAt.String(), noiseAt.String()}, Log: quiet})
	want := other + "  []  [/l] [coap://10.9.9.9:1]\n" + di + " old lamp [] core.1.0.0 [/l] [coap://" + oldAt.String() + "]"
	if got := lanText(found); err != nil || got != want {
		t.Errorf("found %v\n%s\nwant\n%s", err, got, want)
	}
}

// A device by datagrams: read, commanded and observed.
func TestDirectDatagram(t *testing.T) {
	at := hosted(t, simulated(t, "lamp", di, "lamp"))
	target, err := reach.ParseTarget("coap://" + at.String() + "/a/light")
	if err != nil {
		t.Fatal(err)
	}
	s, err := reach.Direct(t.Context(), target, reach.Config{Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := s.Ping(ctx); err != nil {
		t.Error(err)
	}
	seen := make(chan string, 8)
	ended := make(chan error, 1)
	watching, stop := context.WithCancel(ctx)
	go func() {
		ended <- s.Observer().Observe(watching, &oic.Request{Href: target.Href}, func(resp *oic.Response) {
			b, _ := oic.ToJSON(resp.Format, resp.Body)
			seen <- string(b)
		})
	}()
	expect := func(want string) {
		t.Helper()
		select {
		case got := <-seen:
			if got != want {
				t.Errorf("saw %s, want %s", got, want)
			}
		case err := <-ended:
			t.Fatal(err)
		}
	}
	expect(`{"value":false,"dimming":100}`)
	body, _ := oic.FromJSON(oic.OCF, []byte(`{"value":true}`))
	if _, err := s.Observer().Handle(ctx, &oic.Request{Op: oic.Update, Href: target.Href, Format: oic.OCF, Body: body}); err != nil {
		t.Fatal(err)
	}
	expect(`{"value":true,"dimming":100}`)
	stop()
	<-ended
	if _, err := s.Observer().Handle(ctx, &oic.Request{Href: "/none"}); reach.KindOf(err) != reach.Refused {
		t.Errorf("no such resource: %v", err)
	}
}

// Over DTLS the server proves who it is, or nothing is asked.
func TestDirectDTLS(t *testing.T) {
	secure, trust := certificate(t)
	pc, at := udp(t)
	hostedOn(t, dtls.New(pc, dtls.Config{TLS: secure, Listen: true, Log: quiet}), simulated(t, "lamp", di, "lamp"))
	for name, c := range map[string]struct {
		tls  *tls.Config
		kind reach.Kind
	}{
		"trusted":   {trust, 0},
		"untrusted": {nil, reach.NotAllowed},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := reach.Direct(t.Context(), reach.Target{URI: "coaps://" + at.String(), Href: "/a"}, reach.Config{TLS: c.tls, Log: quiet})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			resp, err := s.Observer().Handle(t.Context(), &oic.Request{Href: "/oic/res?rt=oic.r.light.dimming"})
			if c.kind != 0 {
				if reach.KindOf(err) != c.kind {
					t.Errorf("%v is of kind %d", err, reach.KindOf(err))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if links, _ := oic.ToJSON(resp.Format, resp.Body); !strings.Contains(string(links), `"coaps://`+at.String()+`"`) {
				t.Errorf("links are %s", links)
			}
		})
	}
}

// Nobody there is told by silence.
func TestDirectDatagramSilence(t *testing.T) {
	pc, at := udp(t) // reads nothing
	defer pc.Close()
	for _, scheme := range []string{"coap", "coaps"} {
		s, err := reach.Direct(t.Context(), reach.Target{URI: scheme + "://" + at.String(), Href: "/a"}, reach.Config{Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err = s.Observer().Handle(ctx, &oic.Request{Href: "/a"})
		cancel()
		if reach.KindOf(err) != reach.Timeout {
			t.Errorf("%s: %v (kind %d)", scheme, err, reach.KindOf(err))
		}
		s.Close()
		<-s.Done()
	}
	if _, err := reach.Direct(t.Context(), reach.Target{URI: "coap://host.invalid"}, reach.Config{Log: quiet}); reach.KindOf(err) != reach.NoConnect {
		t.Errorf("no such host: %v", err)
	}
}

// The groups of OCF, on whatever interfaces this machine has.
func TestLANMulticast(t *testing.T) {
	groups, err := coap.ListenGroups(coap.AllCoAPNodes()...)
	if err != nil {
		t.Skip(err)
	}
	at := hosted(t, simulated(t, "lamp", di, "lamp"), groups...)
	found, err := reach.LAN(t.Context(), reach.LANConfig{Type: "oic.r.light.dimming", Wait: 1500 * time.Millisecond, Log: quiet})
	if err != nil {
		t.Skip(err) // a machine without a network
	}
	for _, d := range found {
		if d.ID == di && d.Address.Port() == at.Port() {
			return
		}
	}
	t.Errorf("the lamp is not among %s", lanText(found))
}
