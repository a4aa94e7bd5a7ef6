package websocket

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"

	"github.com/coder/websocket"
)

// Listener takes the WebSockets that come to an HTTP server, as its
// http.Handler, and gives them to an engine, as its net.Listener.
type Listener struct {
	protocol Protocol
	addr     net.Addr
	accept   chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

// NewListener returns a listener. addr is for Addr alone: where the HTTP server
// listens.
func NewListener(addr net.Addr, p Protocol) *Listener {
	return &Listener{protocol: p, addr: addr, accept: make(chan net.Conn), closed: make(chan struct{})}
}

// Addr is where the HTTP server listens.
func (l *Listener) Addr() net.Addr { return l.addr }

// Accept returns the next WebSocket, a *Conn.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case nc := <-l.accept:
		return nc, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close makes the listener refuse WebSockets. Those accepted stay.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Take makes a WebSocket of a request and gives it to Accept. It refuses who
// does not name the subprotocol, and pages of hosts that are neither the
// server's own nor match one of origins (path.Match).
func (l *Listener) Take(w http.ResponseWriter, r *http.Request, origins []string) {
	p := &l.protocol
	if isClosed(l.closed) {
		http.Error(w, "closed", http.StatusServiceUnavailable)
		return
	}
	if !offers(r.Header, p.Name) {
		http.Error(w, "this WebSocket needs the subprotocol "+p.Name+" ("+p.Spec+")", http.StatusBadRequest)
		return
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols: []string{p.Name}, OriginPatterns: origins, CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return // and the client knows why
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		local = l.addr
	}
	remote, _ := netip.ParseAddrPort(r.RemoteAddr)
	nc := newConn(ws, p, local, net.TCPAddrFromAddrPort(remote), r.TLS)
	select {
	case l.accept <- nc:
	case <-l.closed:
		nc.Close()
	}
}

// offers reports whether a client names a subprotocol.
func offers(h http.Header, name string) bool {
	for _, line := range h.Values("Sec-WebSocket-Protocol") {
		for offered := range strings.SplitSeq(line, ",") {
			if strings.TrimSpace(offered) == name {
				return true
			}
		}
	}
	return false
}
