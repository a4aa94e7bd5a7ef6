package reach_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/coap/coaptest"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/reach"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = coaptest.Quiet

// serve is a CoAP server that is no cloud: it answers with h.
func serve(t *testing.T, h oic.Handler, config *tls.Config) (addr string) {
	t.Helper()
	ln := coaptest.Listen(t)
	serveOn(t, ln, h, config)
	return ln.Addr().String()
}

func serveOn(t *testing.T, ln net.Listener, h oic.Handler, config *tls.Config) {
	coaptest.Serve(t, ln, func(nc net.Conn) *coap.Conn {
		return coap.Server(nc, coap.Config{TLS: config, BlockWise: true, Log: quiet, Handler: answers(h)})
	})
}

func hello(_ context.Context, req *oic.Request) (*oic.Response, error) {
	switch req.Href {
	case "/a":
		return &oic.Response{Status: oic.Content, Format: oic.OCF, Body: []byte("\x63you")}, nil
	case "/busy":
		return nil, oic.Errorf(oic.Unavailable, "busy")
	case "/gone":
		return nil, oic.ErrOffline
	case "/slow":
		return nil, context.DeadlineExceeded
	case "/mine":
		return nil, oic.Errorf(oic.Forbidden, "not yours")
	}
	return nil, oic.Errorf(oic.NotFound, "no %s", req.Href)
}

// A server without a cloud is reached straight; what it answers has a kind.
func TestDirect(t *testing.T) {
	target, err := reach.ParseTarget("coap+tcp://" + serve(t, oic.HandlerFunc(hello), nil) + "/a")
	if err != nil {
		t.Fatal(err)
	}
	// A cloud elsewhere does not matter, nor does a token for it.
	s, err := reach.Direct(t.Context(), target, reach.Config{Cloud: "coaps+tcp://elsewhere", Token: "fut_1", Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	resp, err := s.Observer().Handle(t.Context(), &oic.Request{Href: target.Href})
	if err != nil || string(resp.Body) != "\x63you" {
		t.Errorf("answer %v, %v", resp, err)
	}
	for href, want := range map[string]reach.Kind{
		"/b": reach.Refused, "/busy": reach.PeerFailed, "/gone": reach.Offline, "/slow": reach.Timeout, "/mine": reach.NotAllowed,
	} {
		_, err := s.Observer().Handle(t.Context(), &oic.Request{Href: href})
		if got := reach.KindOf(err); got != want {
			t.Errorf("%s: %v is of kind %d, want %d", href, err, got, want)
		}
	}
}

func TestCannotConnect(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := ln.Addr().String()
	ln.Close()
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS() // for its certificate, which nobody trusts
	config := &tls.Config{Certificates: web.TLS.Certificates}
	web.Close()
	untrusted := serve(t, oic.HandlerFunc(hello), config)
	for uri, want := range map[string]reach.Kind{
		"coap+tcp://" + free:       reach.NoConnect,
		"coaps+tcp://" + untrusted: reach.NotAllowed,
	} {
		_, err := reach.Open(t.Context(), reach.Config{Cloud: uri, Account: "home", Token: "fut_1", Log: quiet})
		if got := reach.KindOf(err); got != want || reach.HintOf(err) == "" {
			t.Errorf("%s: %v (kind %d, hint %q), want kind %d", uri, err, got, reach.HintOf(err), want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := reach.Open(ctx, reach.Config{Cloud: "coap+tcp://" + free, Log: quiet}); !errors.Is(err, context.Canceled) {
		t.Errorf("after Ctrl-C: %v", err)
	}
}

func TestKindOf(t *testing.T) {
	for _, test := range []struct {
		err  error
		want reach.Kind
	}{
		{nil, reach.Failed},
		{errors.New("x"), reach.Failed},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), reach.Timeout},
		{fmt.Errorf("%w: x", oic.ErrOffline), reach.Offline},
		{errors.Join(oic.ErrOffline, oic.Errorf(oic.Unavailable, "x")), reach.Offline},
		{oic.Errorf(oic.Unauthorized, ""), reach.NotAllowed},
		{oic.Errorf(oic.BadRequest, ""), reach.Refused},
		{oic.Errorf(oic.GatewayTimeout, ""), reach.Timeout},
		{oic.Errorf(oic.Internal, ""), reach.PeerFailed},
		{fmt.Errorf("get: %w", &reach.Error{Kind: reach.Ambiguous, Err: errors.New("x")}), reach.Ambiguous},
	} {
		if got := reach.KindOf(test.err); got != test.want {
			t.Errorf("%v is of kind %d, want %d", test.err, got, test.want)
		}
	}
}

// Only the cloud's own addresses get the token, and not in plain text if it is
// for TLS.
func TestTokenIsForTheCloudOnly(t *testing.T) {
	var asked atomic.Int32
	addr := serve(t, oic.HandlerFunc(func(_ context.Context, req *oic.Request) (*oic.Response, error) {
		if strings.HasPrefix(req.Href, "/oic/sec/session") {
			asked.Add(1)
			return nil, oic.Errorf(oic.Unauthorized, "no")
		}
		return &oic.Response{Status: oic.Content}, nil
	}), nil)
	_, port, _ := net.SplitHostPort(addr)
	for cloud, want := range map[string]int32{
		"coap+tcp://" + addr:             1,
		"coap+tcp://localhost:" + port:   1,
		"coaps+tcp://" + addr:            0,
		"coap+tcp://127.0.0.1:1":         0,
		"coap+tcp://192.0.2.7:" + port:   0,
		"coap+tcp://example.org:" + port: 0,
		"":                               0,
	} {
		for _, cfg := range []reach.Config{{Cloud: cloud}, {Cloud: "coaps+tcp://example.org", Also: []string{cloud}}} {
			asked.Store(0)
			cfg.Token, cfg.Log = "fut_1", quiet
			s, err := reach.Direct(t.Context(), reach.Target{URI: "coap+tcp://" + addr, Href: "/"}, cfg)
			if err == nil {
				s.Close()
			}
			if asked.Load() != want || (err == nil) == (want == 1) {
				t.Errorf("cloud %q: signed in %d times, want %d; error %v", cloud, asked.Load(), want, err)
			}
		}
	}
}
