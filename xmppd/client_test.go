package xmppd_test

import (
	"net"
	"testing"

	"github.com/farreach/farreach/xmpp/sasl"
	"github.com/farreach/farreach/xmpp/xmpptest"
	"github.com/farreach/farreach/xmppd"
)

// TestOurClientOverWebSocket is TestOurClient over HTTPS (RFC 7395).
func TestOurClientOverWebSocket(t *testing.T) {
	w := newWorld(t, xmppd.Config{TLS: serverTLS()})
	w.web = serverTLS()
	h, _ := w.webSockets(true)
	xmpptest.Run(t, xmpptest.Server{
		Domain: domain, Addr: "wss://" + h.Listener.Addr().String() + xmppd.WebSocketPath, Roots: clientTLS().RootCAs,
		Ann: "ann", Bob: "bob", Password: password, Mechanism: sasl.ScramSHA256Plus,
	})
}

// TestOurClient runs the tests that Prosody and ejabberd go through.
func TestOurClient(t *testing.T) {
	w := prepare(t, xmppd.Config{TLS: serverTLS()})
	var listeners [2]net.Listener
	for i := range listeners {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners[i] = ln
	}
	w.serve(listeners[0], listeners[1])
	xmpptest.Run(t, xmpptest.Server{
		Domain: domain, Addr: listeners[0].Addr().String(), TLS: listeners[1].Addr().String(), Roots: clientTLS().RootCAs,
		Ann: "ann", Bob: "bob", Password: password, Mechanism: sasl.ScramSHA256Plus,
	})
}
