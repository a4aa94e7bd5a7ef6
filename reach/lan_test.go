package reach_test

import (
	"context"
	"crypto/tls"
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
	"github.com/farreach/farreach/lan"
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

const other = "0685b960-736f-46f7-bec0-9e6cbd61adc2"

// A network that nobody can be asked on is an error of this package.
func TestLANErrors(t *testing.T) {
	_, err := reach.LAN(t.Context(), lan.FindConfig{Addresses: []string{"coaps://127.0.0.1"}, Log: quiet})
	if reach.KindOf(err) != reach.NoConnect || err == nil {
		t.Errorf("coaps: %v", err)
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
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
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
