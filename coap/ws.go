package coap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/farreach/farreach/internal/wire"
)

// CoAP over WebSocket (RFC 8323, section 4) is a Conn over a socket whose bytes
// come in messages. The engine knows streams; a WebSocket message differs from
// a stream's frame in its length alone, which stands in front of the frame and
// around the message. So this is a net.Conn for Client and Server that puts the
// length in front of what it reads, and takes it away from what it writes:
//
//	WebSocket ──▶ gather ──▶ toStream ──▶ read ──▶ Conn
//	WebSocket ◀── toMessage ◀── frames ◀── write ◀── Conn

// WebSocketPath is where a server takes WebSockets (RFC 8323, section 4.1).
const WebSocketPath = "/.well-known/coap"

// DialFunc opens a connection, as net.Dialer.DialContext does.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// webSocketProtocol is the subprotocol, which both sides must name.
const webSocketProtocol = "coap"

// webSocketClose is how long the peer may take to confirm the end.
const webSocketClose = 500 * time.Millisecond

// DialWebSocket opens a WebSocket to the server of a coap+ws or coaps+ws URI,
// for Client. cfg is for TLS; nil means the system's roots. dial opens the TCP
// connection below; nil: a net.Dialer does. Path and query of u are not used. A
// redirect is not followed, and a proxy not asked.
//
// Config.TLS of the Conn stays nil: what TLS there is lies below the WebSocket,
// and Conn.TLS tells of it.
func DialWebSocket(ctx context.Context, u URI, cfg *tls.Config, dial DialFunc) (net.Conn, error) {
	scheme := "ws"
	if u.Secure {
		scheme = "wss"
	}
	if u.Transport != WebSocket {
		return nil, fmt.Errorf("coap: %v is not a WebSocket's URI", u.Transport)
	}
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	var nc net.Conn
	below := func(ctx context.Context, network, addr string) (_ net.Conn, err error) {
		nc, err = dial(ctx, network, addr)
		return nc, err
	}
	client := &http.Client{
		Transport: &http.Transport{DialContext: below, TLSClientConfig: cfg, TLSHandshakeTimeout: handshakeTimeout,
			ResponseHeaderTimeout: handshakeTimeout, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	addr := strings.Replace(u.Addr(), "%", "%25", 1) // RFC 6874
	ws, resp, err := websocket.Dial(ctx, scheme+"://"+addr+WebSocketPath,
		&websocket.DialOptions{HTTPClient: client, Subprotocols: []string{webSocketProtocol}})
	switch {
	case err != nil && resp != nil && resp.StatusCode != http.StatusSwitchingProtocols:
		return nil, fmt.Errorf("coap: WebSocket: the server answers %s", resp.Status)
	case err != nil:
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // it repeats the address, which the caller knows
		}
		return nil, fmt.Errorf("coap: WebSocket: %w", err)
	}
	if ws.Subprotocol() != webSocketProtocol {
		ws.CloseNow()
		return nil, errors.New("coap: WebSocket: the server does not speak CoAP")
	}
	return newWebSocket(ws, nc.LocalAddr(), nc.RemoteAddr(), resp.TLS), nil
}

// webSocket is one WebSocket. It is a net.Conn whose Read and Write see a
// stream, and the link of a Conn over it.
type webSocket struct {
	ws            *websocket.Conn
	local, remote net.Addr
	state         *tls.ConnectionState // nil: plain

	in     chan webSocketRead
	closed chan struct{}  // closed by Close
	reader sync.WaitGroup // of receive

	rest []byte // of the message that Read has not given away

	mu       sync.Mutex // guards what follows
	started  bool       // receive
	isClosed bool
	limit    int         // of a message, bytes
	expired  event       // when the deadline is moved or passes
	deadline time.Time   // of read; zero: none
	timer    *time.Timer // at deadline; nil: never was one
}

type webSocketRead struct {
	b   *wire.Buffer
	err error
}

func newWebSocket(ws *websocket.Conn, local, remote net.Addr, state *tls.ConnectionState) *webSocket {
	ws.SetReadLimit(-1) // gather knows the limit, which may change
	return &webSocket{ws: ws, local: local, remote: remote, state: state,
		in: make(chan webSocketRead), closed: make(chan struct{}), limit: DefaultMaxMessage}
}

func (w *webSocket) LocalAddr() net.Addr  { return w.local }
func (w *webSocket) RemoteAddr() net.Addr { return w.remote }

// setLimit changes how long options and payload of a message may be, bytes.
func (w *webSocket) setLimit(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.limit = n
}

// receive reads messages and hands them to read, until the socket is closed. It
// has a goroutine of its own because a read that is given up breaks the socket,
// and because pings must be answered also while nobody reads.
func (w *webSocket) receive() {
	for {
		b, err := w.gather()
		select {
		case w.in <- webSocketRead{b, err}:
		case <-w.closed:
			b.Free()
			return
		}
		if err != nil {
			return
		}
	}
}

// gather reads the next message, in stream framing. Memory grows with the bytes
// that came, up to the limit, whatever length the peer announced.
func (w *webSocket) gather() (*wire.Buffer, error) {
	kind, r, err := w.ws.Reader(context.Background())
	if err != nil {
		return nil, webSocketError(err)
	}
	if kind != websocket.MessageBinary {
		return nil, &FormatError{Why: "text message", Spec: specWebSocket}
	}
	late := time.AfterFunc(unfinishedTimeout, func() { w.ws.CloseNow() })
	defer late.Stop()
	w.mu.Lock()
	most := 2 + MaxToken + w.limit
	w.mu.Unlock()
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
			return nil, &FormatError{Spec: specLimit, Why: fmt.Sprintf("message of more than %d bytes", most)}
		case err == io.EOF:
			return toStream(b)
		case err != nil:
			b.Free()
			return nil, webSocketError(err)
		}
	}
}

// webSocketError is err in the words of the engine: the peer closed, or it is
// something else.
func webSocketError(err error) error {
	switch websocket.CloseStatus(err) {
	case websocket.StatusNormalClosure, websocket.StatusGoingAway, websocket.StatusNoStatusRcvd:
		return io.EOF
	}
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	return fmt.Errorf("coap: WebSocket: %w", err)
}

// toStream gives the message in b the header of a stream. What is wrong in it
// beyond its length, the engine will find.
func toStream(b *wire.Buffer) (*wire.Buffer, error) {
	var m Message
	n := len(b.B)
	tkl := 0
	if n >= 2 {
		tkl = min(int(b.B[0]&15), MaxToken) // longer ones are refused by the header
	}
	if n < 2+tkl || b.B[0]>>4 != 0 {
		_, err := m.Parse(WebSocket, b.B, n)
		b.Free()
		return nil, err
	}
	var header [maxHeader]byte
	h := appendStreamLength(header[:0], int64(n-2-tkl), b.B[0]&15)
	b.B = append(b.B, h[1:]...) // room
	copy(b.B[len(h):], b.B[1:n])
	copy(b.B, h)
	return b, nil
}

// Next returns the next message, as a wire.Link does.
func (w *webSocket) Next() (*wire.Buffer, error) {
	for {
		w.mu.Lock()
		if !w.started && !w.isClosed {
			w.started = true
			w.reader.Go(w.receive)
		}
		moved := w.expired.wait()
		late := !w.deadline.IsZero() && !time.Now().Before(w.deadline)
		w.mu.Unlock()
		if late {
			return nil, os.ErrDeadlineExceeded
		}
		select {
		case in := <-w.in:
			return in.b, in.err
		case <-moved:
		case <-w.closed:
			return nil, net.ErrClosed
		}
	}
}

// Try writes nothing: the socket cannot write without waiting.
func (w *webSocket) Try([]byte) (int, error) { return 0, nil }

func (w *webSocket) Pending() bool { return false }

// WriteBefore writes whole frames, each as one message.
func (w *webSocket) WriteBefore(b []byte, deadline time.Time) error {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	for len(b) > 0 {
		m, rest, err := toMessage(b)
		if err != nil {
			return err
		}
		if err := w.ws.Write(ctx, websocket.MessageBinary, m); err != nil {
			return err
		}
		b = rest
	}
	return nil
}

// toMessage takes the length away from the first frame, whose header it
// overwrites.
func toMessage(frames []byte) (m, rest []byte, err error) {
	header, body, ok := streamLength(frames)
	tkl := frames[0] & 15
	if n := int64(header) + 1 + int64(tkl) + body; ok && n <= int64(len(frames)) {
		m, rest = frames[header-1:n], frames[n:]
		m[0] = tkl
		return m, rest, nil
	}
	return nil, nil, errors.New("coap: WebSocket: a frame is not whole")
}

// Read reads from the stream. A Conn uses read instead.
func (w *webSocket) Read(p []byte) (int, error) {
	if len(w.rest) == 0 {
		b, err := w.Next()
		if err != nil {
			return 0, err
		}
		w.rest = append(w.rest[:0], b.B...)
		b.Free()
	}
	n := copy(p, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

// Write writes whole frames.
func (w *webSocket) Write(p []byte) (int, error) {
	err := w.WriteBefore(append([]byte(nil), p...), time.Now().Add(writeTimeout))
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// SetReadDeadline makes a read that is under way, and later ones, fail after t.
func (w *webSocket) SetReadDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = t
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		w.timer = time.AfterFunc(wait, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.expired.broadcast()
		})
	}
	w.expired.broadcast()
	return nil
}

// SetWriteDeadline does nothing: write is told its deadline.
func (w *webSocket) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline is SetReadDeadline.
func (w *webSocket) SetDeadline(t time.Time) error { return w.SetReadDeadline(t) }

// CloseWrite says that no more will come, and waits for the peer to confirm it.
// The error says that nothing is to be read behind that.
func (w *webSocket) CloseWrite() error {
	late := time.AfterFunc(webSocketClose, func() { w.nowClosed(); w.ws.CloseNow() })
	defer late.Stop()
	w.ws.Close(websocket.StatusNormalClosure, "")
	return io.EOF
}

// Close closes the socket without a word.
func (w *webSocket) Close() error {
	w.nowClosed()
	w.SetReadDeadline(time.Time{})
	w.ws.CloseNow()
	w.reader.Wait()
	return nil
}

func (w *webSocket) nowClosed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.isClosed {
		w.isClosed = true
		close(w.closed)
	}
}

// WebSocketListener takes the WebSockets that come to an HTTP server, as its
// http.Handler at WebSocketPath, and gives them to Serve, as its net.Listener:
//
//	l := coap.NewWebSocketListener(ln.Addr())
//	http.Handle(coap.WebSocketPath, l)
//	coap.Serve(ctx, l, func(nc net.Conn) *coap.Conn { return coap.Server(nc, cfg) })
//
// Close it before the server is shut down, or have Serve do that.
type WebSocketListener struct {
	// Origins are the patterns of hosts (path.Match) whose web pages may
	// connect, beside the server's own.
	Origins []string

	addr   net.Addr
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// NewWebSocketListener returns a listener. addr is for Addr alone: where the
// HTTP server listens.
func NewWebSocketListener(addr net.Addr) *WebSocketListener {
	return &WebSocketListener{addr: addr, accept: make(chan net.Conn), closed: make(chan struct{})}
}

// Addr is where the HTTP server listens.
func (l *WebSocketListener) Addr() net.Addr { return l.addr }

// Accept returns the next WebSocket.
func (l *WebSocketListener) Accept() (net.Conn, error) {
	select {
	case nc := <-l.accept:
		return nc, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close makes the listener refuse WebSockets. Those accepted stay.
func (l *WebSocketListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// ServeHTTP makes a WebSocket of the request and gives it to Accept. It refuses
// who does not name the subprotocol "coap" and pages of other hosts.
func (l *WebSocketListener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case <-l.closed:
		http.Error(w, "closed", http.StatusServiceUnavailable)
		return
	default:
	}
	if r.URL.Path != WebSocketPath {
		http.NotFound(w, r)
		return
	}
	if !offersCoAP(r.Header) {
		http.Error(w, "CoAP over WebSocket needs the subprotocol coap (RFC 8323, section 4.1)", http.StatusBadRequest)
		return
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols: []string{webSocketProtocol}, OriginPatterns: l.Origins, CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return // and the client knows why
	}
	nc := newWebSocket(ws, l.addr, remoteAddr(r), r.TLS)
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		nc.local = local
	}
	select {
	case l.accept <- nc:
	case <-l.closed:
		nc.Close()
	}
}

// offersCoAP reports whether a client names the subprotocol.
func offersCoAP(h http.Header) bool {
	for _, line := range h.Values("Sec-WebSocket-Protocol") {
		for name := range strings.SplitSeq(line, ",") {
			if strings.TrimSpace(name) == webSocketProtocol {
				return true
			}
		}
	}
	return false
}

// remoteAddr is where a request came from.
func remoteAddr(r *http.Request) net.Addr {
	if a, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		return net.TCPAddrFromAddrPort(a)
	}
	return &net.TCPAddr{}
}
