// Package coaptest runs the ends of CoAP on the loopback interface, each until
// its test ends:
//
//	UDP ──────────▶ Endpoint     datagrams; over DTLS with dtls.New between them
//	Listen, Web ──▶ Serve        connections that are accepted, over TCP or WebSockets
//	              ▶ Run          one connection, of either side
package coaptest

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http/httptest"
	"testing"

	"github.com/farreach/farreach/coap"
)

// Quiet is a log that nobody reads.
var Quiet = slog.New(slog.DiscardHandler)

// until runs f until the test ends: until then its context does not.
func until(t testing.TB, f func(ctx context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
}

// UDP is a socket for Endpoint, which closes it.
func UDP(t testing.TB) *net.UDPConn {
	t.Helper()
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return pc
}

// Endpoint runs an endpoint on pc. Without a Log it is quiet.
func Endpoint(t testing.TB, pc coap.PacketConn, cfg coap.EndpointConfig) *coap.Endpoint {
	if cfg.Log == nil {
		cfg.Log = Quiet
	}
	e := coap.NewEndpoint(pc, cfg)
	until(t, func(ctx context.Context) { _ = e.Run(ctx) })
	return e
}

// Run runs a connection and returns it.
func Run(t testing.TB, c *coap.Conn) *coap.Conn {
	until(t, func(ctx context.Context) { _ = c.Run(ctx) })
	return c
}

// Listen is a listener for Serve, which closes it.
func Listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// Web is a listener for Serve that takes the WebSockets of an HTTP server, over
// TLS if secure is not nil.
func Web(t testing.TB, secure *tls.Config) *coap.WebSocketListener {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	l := coap.NewWebSocketListener(s.Listener.Addr())
	s.Config.Handler = l
	if secure != nil {
		s.TLS = secure.Clone()
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return l
}

// Serve accepts connections and runs them, as coap.Serve does.
func Serve(t testing.TB, ln net.Listener, accept func(nc net.Conn) *coap.Conn) {
	until(t, func(ctx context.Context) { _ = coap.Serve(ctx, ln, accept) })
}
