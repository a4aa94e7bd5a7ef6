package xmppd

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/farreach/farreach/internal/wire"
	"github.com/farreach/farreach/xmpp/stream"
)

// XMPP over WebSocket (RFC 7395) is a stream whose items come one in a message,
// each with its namespaces, and whose header and end are elements. A conn knows
// streams over TCP. So this is a wire.Link that makes the one of the other:
//
//	WebSocket ──▶ receive ──▶ Scanner.Frame ──▶ toStream ──▶ Next ──▶ conn
//	WebSocket ◀── appendFrame ◀── Scanner.Next ◀── WriteBefore ◀── wire.Queue ◀── conn

// WebSocketPath is where an HTTP server takes WebSockets for XMPP.
const WebSocketPath = "/xmpp-websocket"

// webSocketProtocol is the subprotocol, which both sides must name (RFC 7395,
// section 3.1).
const webSocketProtocol = "xmpp"

// webSocket is one WebSocket. To a conn it is the net.Conn and the link.
type webSocket struct {
	ws            *websocket.Conn
	local, remote net.Addr
	state         *tls.ConnectionState // nil: plain

	most    atomic.Int64 // length of a message, bytes
	in      chan received
	expired chan struct{} // closed at the deadline of reading
	expire  func()
	closed  chan struct{} // closed by Close
	over    func()
	reader  sync.WaitGroup // of receive

	scan stream.Scanner // of what comes; only Next and its caller use it

	// Only WriteBefore uses these.
	sent  stream.Scanner
	out   []byte // what was to be written of an item that is not whole
	frame []byte
}

// received is one message, or why there are no more.
type received struct {
	b   *wire.Buffer
	err error
}

func newWebSocket(ws *websocket.Conn, local, remote net.Addr, state *tls.ConnectionState) *webSocket {
	ws.SetReadLimit(-1) // gather knows the limit, which changes
	w := &webSocket{ws: ws, local: local, remote: remote, state: state,
		in: make(chan received), expired: make(chan struct{}), closed: make(chan struct{})}
	w.expire = sync.OnceFunc(func() { close(w.expired) })
	w.over = sync.OnceFunc(func() { close(w.closed) })
	w.sent.Limits = ownLimits
	w.setLimits(stream.BeforeAuth())
	w.reader.Go(w.receive)
	return w
}

// ownLimits are for what we write, which was judged before.
var ownLimits = stream.Limits{Stanza: 1 << 30, Depth: 1 << 20, Elements: 1 << 30, Attributes: 1 << 20, AttributeBytes: 1 << 30, Namespaces: 1 << 20, Name: 1 << 20}

// setLimits bounds what may come from now on.
func (w *webSocket) setLimits(l stream.Limits) {
	w.scan.Limits = l
	w.most.Store(int64(l.Stanza))
}

// receive reads messages and hands them to Next, until the socket is closed. It
// has a goroutine of its own because a read that is given up breaks the socket.
func (w *webSocket) receive() {
	for {
		b, err := w.gather()
		select {
		case w.in <- received{b, err}:
		case <-w.closed:
			b.Free()
			return
		}
		if err != nil {
			return
		}
	}
}

// gather reads the next message. Memory grows with the bytes that came, up to
// the limit, whatever length the peer announced (Bad23).
func (w *webSocket) gather() (*wire.Buffer, error) {
	kind, r, err := w.ws.Reader(context.Background())
	if err != nil {
		return nil, err
	}
	if kind != websocket.MessageText {
		return nil, &stream.Error{Condition: stream.BadFormat, Text: "message is not text", Spec: "RFC 7395, section 3.2"}
	}
	late := time.AfterFunc(unfinishedTime, func() { w.ws.CloseNow() })
	defer late.Stop()
	most := int(w.most.Load())
	b := wire.Borrow()
	for {
		if len(b.B) == cap(b.B) {
			b.B = append(b.B, 0)[:len(b.B)]
		}
		n, err := r.Read(b.B[len(b.B):min(cap(b.B), most+1)])
		b.B = b.B[:len(b.B)+n]
		switch {
		case len(b.B) > most:
			b.Free()
			return nil, &stream.Error{Condition: stream.PolicyViolation, Text: "stanza is too long"}
		case err == io.EOF:
			return b, nil
		case err != nil:
			b.Free()
			return nil, err
		}
	}
}

// Next returns the next message as it would have come over TCP.
func (w *webSocket) Next() (*wire.Buffer, error) {
	select {
	case <-w.expired:
		return nil, os.ErrDeadlineExceeded
	default:
	}
	select {
	case in := <-w.in:
		if in.err != nil {
			return nil, in.err
		}
		if err := w.toStream(in.b); err != nil {
			in.b.Free()
			return nil, err
		}
		return in.b, nil
	case <-w.expired:
		return nil, os.ErrDeadlineExceeded
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

// toStream makes of a message what goes over TCP. A stanza stays as it is: it
// declares its namespace itself (RFC 7395, section 3.3.3), which is no harm.
func (w *webSocket) toStream(b *wire.Buffer) error {
	it, err := w.scan.Frame(b.B)
	switch {
	case err != nil:
		return err
	case it.Kind == stream.Opening:
		h := stream.ParseHeader(it.Raw)
		b.B = h.Append(b.B[:0]) // h is a copy
	case it.Kind == stream.Closing:
		b.B = stream.AppendClose(b.B[:0], false)
	case len(it.NS) == 0: // over TCP it would be taken for a stanza
		return &stream.Error{Condition: stream.UnsupportedStanzaType, Text: "element without a namespace", Spec: "RFC 7395, section 3.3.3"}
	}
	return nil
}

// Try writes nothing: the socket cannot write without waiting.
func (w *webSocket) Try([]byte) (int, error) { return 0, nil }

// Pending is always false.
func (w *webSocket) Pending() bool { return false }

// WriteBefore writes each item in b as one message. What is not whole yet waits
// for the rest; the deadline of the last piece is that of the whole item.
func (w *webSocket) WriteBefore(b []byte, deadline time.Time) error {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	w.out = append(w.out, b...)
	rest := w.out
	for len(rest) > 1 {
		if rest[1] == '?' { // the stream begins anew
			w.sent.Reset()
		}
		it, n, err := w.sent.Next(rest)
		if err == stream.ErrShort {
			break
		}
		if err != nil {
			return err
		}
		w.frame = appendFrame(w.frame[:0], &it)
		if err := w.ws.Write(ctx, websocket.MessageText, w.frame); err != nil {
			return err
		}
		rest = rest[n:]
	}
	w.out = w.out[:copy(w.out, rest)]
	if len(w.out) == 0 { // an idle session has no buffers
		w.out, w.frame = nil, nil
	}
	return nil
}

// streamPrefix begins features and errors, which do not declare it.
var streamPrefix = []byte("<stream:")

// appendFrame appends an item as it goes over a WebSocket.
func appendFrame(dst []byte, it *stream.Item) []byte {
	switch {
	case it.Kind == stream.Opening:
		h := stream.ParseHeader(it.Raw)
		return h.AppendOpen(dst)
	case it.Kind == stream.Closing:
		return stream.AppendClose(dst, true)
	case bytes.HasPrefix(it.Raw, streamPrefix):
		at := len(streamPrefix) + len(it.Name)
		dst = append(append(dst, it.Raw[:at]...), " xmlns:stream='"+stream.NS+"'"...)
		return append(dst, it.Raw[at:]...)
	}
	return it.AppendStamped(dst, stream.Stamp{NS: true})
}

// LocalAddr is where the HTTP server took the request.
func (w *webSocket) LocalAddr() net.Addr { return w.local }

// RemoteAddr is where the request came from.
func (w *webSocket) RemoteAddr() net.Addr { return w.remote }

// Read is not for a conn, which has Next.
func (w *webSocket) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }

// Write is not for a conn, which has WriteBefore.
func (w *webSocket) Write([]byte) (int, error) { return 0, errors.ErrUnsupported }

// SetReadDeadline makes Next fail from t on, once and for all: nobody who has
// set a deadline wants to read for longer.
func (w *webSocket) SetReadDeadline(t time.Time) error {
	if wait := time.Until(t); t.IsZero() || wait > 0 {
		if !t.IsZero() {
			time.AfterFunc(wait, w.expire)
		}
		return nil
	}
	w.expire()
	return nil
}

// SetWriteDeadline does nothing: WriteBefore is told its deadline.
func (w *webSocket) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline is SetReadDeadline.
func (w *webSocket) SetDeadline(t time.Time) error { return w.SetReadDeadline(t) }

// CloseWrite ends the WebSocket in good order (RFC 7395, section 3.6). The error
// says that nothing is to be read behind that.
func (w *webSocket) CloseWrite() error {
	late := time.AfterFunc(lingerTime, func() { w.over(); w.ws.CloseNow() })
	defer late.Stop()
	w.ws.Close(websocket.StatusNormalClosure, "")
	return io.EOF
}

// Close closes the socket without a word.
func (w *webSocket) Close() error {
	w.over()
	w.ws.CloseNow()
	w.reader.Wait()
	return nil
}

// WebSockets takes the WebSockets that come to an HTTP server, as its
// http.Handler at WebSocketPath, and gives them to Serve, as its net.Listener:
//
//	l := srv.WebSockets(ln.Addr())
//	http.Handle(xmppd.WebSocketPath, l)
//	srv.Serve(ctx, l)
//
// Serve closes it.
type WebSockets struct {
	srv    *Server
	addr   net.Addr
	accept chan net.Conn
	closed chan struct{}
	close  func()
}

// WebSockets returns a listener. addr is for its Addr alone: where the HTTP
// server listens.
func (s *Server) WebSockets(addr net.Addr) *WebSockets {
	l := &WebSockets{srv: s, addr: addr, accept: make(chan net.Conn), closed: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.closed) })
	return l
}

// Addr is where the HTTP server listens.
func (l *WebSockets) Addr() net.Addr { return l.addr }

// Accept returns the next WebSocket.
func (l *WebSockets) Accept() (net.Conn, error) {
	select {
	case nc := <-l.accept:
		return nc, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close makes the listener refuse WebSockets. Those accepted stay.
func (l *WebSockets) Close() error {
	l.close()
	return nil
}

// ServeHTTP makes a WebSocket of the request and gives it to Accept. It refuses
// who does not name the subprotocol "xmpp", pages of other hosts, and, unless
// the server is insecure, who comes without TLS from another machine: there is
// no STARTTLS here (RFC 7395, section 3.9).
func (l *WebSockets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	remote, _ := netip.ParseAddrPort(r.RemoteAddr)
	switch {
	case isClosed(l.closed):
		http.Error(w, "closed", http.StatusServiceUnavailable)
		return
	case !offersXMPP(r.Header):
		http.Error(w, "XMPP over WebSocket needs the subprotocol xmpp (RFC 7395, section 3.1)", http.StatusBadRequest)
		return
	case r.TLS == nil && !l.srv.cfg.Insecure && !remote.Addr().Unmap().IsLoopback():
		http.Error(w, "XMPP over WebSocket needs TLS", http.StatusForbidden)
		return
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols: []string{webSocketProtocol}, CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return // and the client knows why
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		local = l.addr
	}
	nc := newWebSocket(ws, local, net.TCPAddrFromAddrPort(remote), r.TLS)
	select {
	case l.accept <- nc:
	case <-l.closed:
		nc.Close()
	}
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// offersXMPP reports whether a client names the subprotocol.
func offersXMPP(h http.Header) bool {
	for _, line := range h.Values("Sec-WebSocket-Protocol") {
		for name := range strings.SplitSeq(line, ",") {
			if strings.TrimSpace(name) == webSocketProtocol {
				return true
			}
		}
	}
	return false
}
