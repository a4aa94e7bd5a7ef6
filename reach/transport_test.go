package reach_test

import (
	"context"
	"crypto/tls"
	"errors"
	"testing"
	"time"

	"github.com/farreach/farreach/coap/coaptest"
	"github.com/farreach/farreach/coap/dtls"
	"github.com/farreach/farreach/internal/localca"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oictest"
	"github.com/farreach/farreach/reach"
)

// certificate is what a server on this machine shows, and what its clients need.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	ca, err := localca.Open(localca.Config{Dir: t.TempDir(), Hosts: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	roots, err := localca.Pool(ca.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.ServerConfig().GetCertificate(&tls.ClientHelloInfo{})
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{*cert}}, &tls.Config{RootCAs: roots}
}

// overTransports runs f with h behind each kind of URI that leads straight to a
// server.
func overTransports(t *testing.T, h func() oic.Handler, f func(t *testing.T, server oic.Observer)) {
	secure, trust := certificate(t)
	for scheme, serving := range map[string]func(t *testing.T) (addr string){
		"coap": func(t *testing.T) string { return hosted(t, h()).String() },
		"coaps": func(t *testing.T) string {
			pc, at := udp(t)
			hostedOn(t, dtls.New(pc, dtls.Config{TLS: secure, Listen: true, Log: quiet}), h())
			return at.String()
		},
		"coap+tcp":  func(t *testing.T) string { return serve(t, h(), nil) },
		"coaps+tcp": func(t *testing.T) string { return serve(t, h(), secure) },
		"coap+ws": func(t *testing.T) string {
			ln := coaptest.Web(t, nil)
			serveOn(t, ln, h(), nil)
			return ln.Addr().String()
		},
		"coaps+ws": func(t *testing.T) string {
			ln := coaptest.Web(t, secure)
			serveOn(t, ln, h(), nil)
			return ln.Addr().String()
		},
	} {
		t.Run(scheme, func(t *testing.T) {
			s, err := reach.Direct(t.Context(), reach.Target{URI: scheme + "://" + serving(t)}, reach.Config{TLS: trust, Log: quiet})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			f(t, s.Observer())
		})
	}
}

// Whatever leads to a device, what it is sent, what it says and what it tells
// when that changes may be 1 MiB long (RFC 7959; RFC 8323, section 6).
func TestLongBodies(t *testing.T) {
	overTransports(t, func() oic.Handler { return oictest.NewShelf([]byte("\xf6")) }, func(t *testing.T, server oic.Observer) {
		oictest.LongBodies(t, server, "/a")
	})
}

// A device that shares a key with us, as many without certificates do. A wrong
// key is met by silence, as RFC 6347, section 4.1.2.7 wants it.
func TestDirectSharedKey(t *testing.T) {
	pc, at := udp(t)
	hostedOn(t, dtls.New(pc, dtls.Config{Listen: true, Log: quiet, PSKIdentity: []byte("lamp"),
		PSK: func(who []byte) ([]byte, error) {
			if string(who) != "phone" {
				return nil, errors.New("unknown")
			}
			return []byte("0123456789abcdef"), nil
		}}), simulated(t, "lamp", di, "lamp"))
	for name, c := range map[string]struct {
		key  reach.SharedKey
		kind reach.Kind
	}{
		"right":        {reach.SharedKey{Identity: []byte("phone"), Key: "0123456789abcdef"}, 0},
		"wrong key":    {reach.SharedKey{Identity: []byte("phone"), Key: "0123456789abcdeF"}, reach.Timeout},
		"unknown name": {reach.SharedKey{Identity: []byte("tv"), Key: "0123456789abcdef"}, reach.NotAllowed},
		"certificates": {reach.SharedKey{}, reach.NotAllowed},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := reach.Direct(t.Context(), reach.Target{URI: "coaps://" + at.String()}, reach.Config{Shared: c.key, Log: quiet})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			wait := time.Minute
			if c.kind == reach.Timeout {
				wait = time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			defer cancel()
			_, err = s.Observer().Handle(ctx, &oic.Request{Href: "/a/light"})
			if reach.KindOf(err) != c.kind || (err == nil) != (c.kind == 0) {
				t.Errorf("%v (kind %d, hint %q), want kind %d", err, reach.KindOf(err), reach.HintOf(err), c.kind)
			}
		})
	}
}
