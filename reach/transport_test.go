package reach_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/coap/coaptest"
	"github.com/farreach/farreach/coap/dtls"
	"github.com/farreach/farreach/internal/localca"
	"github.com/farreach/farreach/oic"
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

// shelf holds what was put there.
type shelf struct {
	mu   sync.Mutex // guards what follows
	body []byte
	news chan struct{} // closed at each change
}

func newShelf() oic.Handler { return &shelf{body: []byte("\xf6"), news: make(chan struct{})} }

func (s *shelf) look() ([]byte, chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.body, s.news
}

func (s *shelf) Handle(_ context.Context, req *oic.Request) (*oic.Response, error) {
	if req.Op == oic.Retrieve {
		body, _ := s.look()
		return &oic.Response{Status: oic.Content, Format: oic.OCF, Body: body}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.body = bytes.Clone(req.Body)
	close(s.news)
	s.news = make(chan struct{})
	return &oic.Response{Status: oic.Changed}, nil
}

func (s *shelf) Observe(ctx context.Context, _ *oic.Request, each func(*oic.Response)) error {
	for {
		body, news := s.look()
		each(&oic.Response{Status: oic.Content, Format: oic.OCF, Body: body})
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Whatever leads to a device, what it is sent, what it says and what it tells
// when that changes may be 1 MiB long (RFC 7959; RFC 8323, section 6).
func TestLongBodies(t *testing.T) {
	overTransports(t, newShelf, func(t *testing.T, server oic.Observer) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		heard, ended := make(chan int, 64), make(chan error, 1)
		go func() {
			ended <- server.Observe(ctx, &oic.Request{Href: "/a"}, func(resp *oic.Response) { heard <- len(resp.Body) })
		}()
		<-heard
		for _, n := range []int{100, 1025, 20_000, 300_000, coap.MaxBlockBody} {
			body := bytes.Repeat([]byte("farreach"), n/8+1)[:n]
			if _, err := server.Handle(ctx, &oic.Request{Op: oic.Replace, Href: "/a", Format: oic.OCF, Body: body}); err != nil {
				t.Fatalf("PUT of %d bytes: %v", n, err)
			}
			resp, err := server.Handle(ctx, &oic.Request{Href: "/a"})
			if err != nil || !bytes.Equal(resp.Body, body) {
				t.Fatalf("GET of %d bytes: %v, %v", n, resp, err)
			}
			select {
			case got := <-heard:
				if got != n {
					t.Errorf("heard of %d bytes, want %d", got, n)
				}
			case err := <-ended:
				t.Fatal(err)
			}
		}
		cancel()
		<-ended
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
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, err = s.Observer().Handle(ctx, &oic.Request{Href: "/a/light"})
			if reach.KindOf(err) != c.kind || (err == nil) != (c.kind == 0) {
				t.Errorf("%v (kind %d, hint %q), want kind %d", err, reach.KindOf(err), reach.HintOf(err), c.kind)
			}
		})
	}
}
