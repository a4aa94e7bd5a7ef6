package xmppd

import (
	"net"
	"net/http"
	"net/netip"

	"github.com/farreach/farreach/internal/wire/websocket"
	"github.com/farreach/farreach/xmpp/stream/framing"
)

// WebSocketPath is where an HTTP server takes WebSockets for XMPP (RFC 7395).
const WebSocketPath = "/xmpp-websocket"

// WebSockets takes the WebSockets that come to an HTTP server, as its
// http.Handler at WebSocketPath, and gives them to Serve, as its net.Listener:
//
//	l := srv.WebSockets(ln.Addr())
//	http.Handle(xmppd.WebSocketPath, l)
//	srv.Serve(ctx, l)
//
// Serve closes it.
type WebSockets struct {
	srv *Server
	l   *websocket.Listener
}

// WebSockets returns a listener. addr is for its Addr alone: where the HTTP
// server listens.
func (s *Server) WebSockets(addr net.Addr) *WebSockets {
	return &WebSockets{srv: s, l: websocket.NewListener(addr, framing.Protocol())}
}

// Addr is where the HTTP server listens.
func (l *WebSockets) Addr() net.Addr { return l.l.Addr() }

// Accept returns the next WebSocket.
func (l *WebSockets) Accept() (net.Conn, error) { return l.l.Accept() }

// Close makes the listener refuse WebSockets. Those accepted stay.
func (l *WebSockets) Close() error { return l.l.Close() }

// ServeHTTP makes a WebSocket of the request and gives it to Accept. It refuses
// who does not name the subprotocol "xmpp", pages of other hosts, and, unless
// the server is insecure, who comes without TLS from another machine: there is
// no STARTTLS here (RFC 7395, section 3.9).
func (l *WebSockets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	remote, _ := netip.ParseAddrPort(r.RemoteAddr)
	if r.TLS == nil && !l.srv.cfg.Insecure && !remote.Addr().Unmap().IsLoopback() {
		http.Error(w, "XMPP over WebSocket needs TLS", http.StatusForbidden)
		return
	}
	l.l.Take(w, r, nil)
}
