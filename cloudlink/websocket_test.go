package cloudlink_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic/oictest"
)

// overSchemes runs f with a server for each scheme. serve runs it for the life
// of the test and returns its URI; trust is what a client needs.
func overSchemes(t *testing.T, f func(t *testing.T, serve func(cloudlink.ServerConfig) string, trust *tls.Config)) {
	ca := newAuthority(t)
	trust := &tls.Config{RootCAs: ca.pool}
	secure := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "cloud")}}
	t.Run("coap+tcp", func(t *testing.T) {
		f(t, func(cfg cloudlink.ServerConfig) string { return "coap+tcp://" + serve(t, cfg, nil) }, nil)
	})
	t.Run("coaps+tcp", func(t *testing.T) {
		f(t, func(cfg cloudlink.ServerConfig) string { return "coaps+tcp://" + serve(t, cfg, secure) }, trust)
	})
	t.Run("coap+ws", func(t *testing.T) {
		f(t, func(cfg cloudlink.ServerConfig) string { return "coap+ws://" + serveWeb(t, cfg, nil, "") }, nil)
	})
	t.Run("coaps+ws", func(t *testing.T) {
		f(t, func(cfg cloudlink.ServerConfig) string { return "coaps+ws://" + serveWeb(t, cfg, secure, "") }, trust)
	})
}

// serveWeb runs a server for WebSockets for the life of the test, and returns
// its address. All peers seem to come from remote, unless that is empty.
func serveWeb(t testing.TB, cfg cloudlink.ServerConfig, secure *tls.Config, remote string) string {
	t.Helper()
	web := httptest.NewUnstartedServer(nil)
	ws := coap.NewWebSocketListener(web.Listener.Addr())
	web.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if remote != "" {
			r.RemoteAddr = remote
		}
		ws.ServeHTTP(w, r)
	})
	if web.TLS = secure; secure != nil {
		web.StartTLS()
	} else {
		web.Start()
	}
	t.Cleanup(web.Close)
	t.Cleanup(serveOn(t, ws, cfg, nil))
	return ws.Addr().String()
}

// A WebSocket knows whether it is secure: without TLS nobody signs in from
// another machine, unless that is allowed, as over TCP.
func TestPlainWebSocket(t *testing.T) {
	ca := newAuthority(t)
	secure := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "cloud")}}
	for _, test := range []struct {
		name, scheme, remote string
		secure               *tls.Config
		allow                bool
		want                 coap.Code
	}{
		{"plain, this machine", "coap+ws", "127.0.0.1:7", nil, false, coap.Changed},
		{"plain, another machine", "coap+ws", "192.0.2.7:7", nil, false, coap.Forbidden},
		{"plain, another machine, allowed", "coap+ws", "192.0.2.7:7", nil, true, coap.Changed},
		{"plain, an address that says nothing", "coap+ws", "@", nil, false, coap.Forbidden},
		{"TLS, another machine", "coaps+ws", "192.0.2.7:7", secure, false, coap.Changed},
	} {
		t.Run(test.name, func(t *testing.T) {
			addr := serveWeb(t, cloudlink.ServerConfig{Backend: newCloud(), AllowPlain: test.allow}, test.secure, test.remote)
			u, err := coap.ParseURI(test.scheme + "://" + addr)
			if err != nil {
				t.Fatal(err)
			}
			nc, err := coap.DialWebSocket(t.Context(), u, &tls.Config{RootCAs: ca.pool}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := rawOn(t, nc).ask("O1"); got.Code != test.want {
				t.Errorf("sign-up: %v %s, want %v", got.Code, got.Payload, test.want)
			}
		})
	}
}

// When the server ends, it says so to the devices on WebSockets, too, and
// takes no more.
func TestWebSocketGoodbye(t *testing.T) {
	web := httptest.NewUnstartedServer(nil)
	ws := coap.NewWebSocketListener(web.Listener.Addr())
	web.Config.Handler = ws
	web.Start()
	defer web.Close()
	c := newCloud()
	stop := serveOn(t, ws, cloudlink.ServerConfig{Backend: c}, nil)
	uri := "coap+ws://" + ws.Addr().String()
	l, err := cloudlink.Connect(t.Context(), cloudlink.ServerInfo{URI: uri, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, _, err := l.Register(t.Context(), cloudlink.Registration{Device: device1, Code: "code-1", Links: lampLinks()}); err != nil {
		t.Fatal(err)
	}
	stop()
	<-l.Done()
	if _, ok := l.Err().(*coap.ReleaseError); !ok {
		t.Errorf("the link ended because of %v, want a Release", l.Err())
	}
	if _, err := cloudlink.Connect(context.Background(), cloudlink.ServerInfo{URI: uri, Log: quiet}); err == nil {
		t.Error("a server that has ended took another WebSocket")
	}
}

// TestBad23StrangerOnWebSocket: who has not signed in has no room for a long
// message; after that he has, and for no longer one.
func TestBad23StrangerOnWebSocket(t *testing.T) {
	c := newCloud()
	u, err := coap.ParseURI("coap+ws://" + serveWeb(t, cloudlink.ServerConfig{Backend: c}, nil, ""))
	if err != nil {
		t.Fatal(err)
	}
	peer := func() *raw {
		nc, err := coap.DialWebSocket(t.Context(), u, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return rawOn(t, nc)
	}
	long := func(n int) *coap.Message {
		m := request(t, coap.POST, "/"+device1+"/a/light", "")
		m.Payload = oictest.Body(n)
		return m
	}
	r := peer()
	r.send(long(17_000))
	r.closed()
	r = peer()
	r.ask("O1")
	r.ask("O3")
	if got := r.do(long(200_000)); got.Code != coap.NotFound { // of a resource that is not published
		t.Errorf("200,000 bytes: %v %s", got, got.Payload)
	}
	r.send(long(300_000))
	r.closed()
}
