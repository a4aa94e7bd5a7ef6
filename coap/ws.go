package coap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/farreach/farreach/internal/wire/websocket"
)

// CoAP over WebSocket (RFC 8323, section 4) is a Conn over a socket whose bytes
// come in messages. The engine knows streams; a WebSocket message differs from
// a stream's frame in its length alone, which stands in front of the frame and
// around the message:
//
//	WebSocket ──▶ toStream ──▶ websocket.Conn ──▶ Conn
//	WebSocket ◀── toMessage ◀── websocket.Conn ◀── frames ◀── Conn

// WebSocketPath is where a server takes WebSockets (RFC 8323, section 4.1).
const WebSocketPath = "/.well-known/coap"

// DialFunc opens a connection, as net.Dialer.DialContext does.
type DialFunc = websocket.DialFunc

// overWebSocket is what goes over a WebSocket.
func overWebSocket() websocket.Protocol {
	return websocket.Protocol{Name: "coap", Spec: "RFC 8323, section 4.1", Limit: webSocketLimit(DefaultMaxMessage),
		Unfinished: unfinishedTimeout, New: func() websocket.Framing { return lengths{} }}
}

// webSocketLimit is how long a message may be whose options and payload may be n
// bytes.
func webSocketLimit(n int) int { return 2 + MaxToken + n }

// DialWebSocket opens a WebSocket to the server of a coap+ws or coaps+ws URI,
// for Client. cfg is for TLS; nil means the system's roots. dial opens the TCP
// connection below; nil: a net.Dialer does. Path and query of u are not used. A
// redirect is not followed, and a proxy not asked.
//
// Config.TLS of the Conn stays nil: what TLS there is lies below the WebSocket,
// and Conn.TLS tells of it.
func DialWebSocket(ctx context.Context, u URI, cfg *tls.Config, dial DialFunc) (net.Conn, error) {
	if u.Transport != WebSocket {
		return nil, fmt.Errorf("coap: %v is not a WebSocket's URI", u.Transport)
	}
	scheme := "ws"
	if u.Secure {
		scheme = "wss"
	}
	addr := strings.Replace(u.Addr(), "%", "%25", 1) // RFC 6874
	nc, err := websocket.Dial(ctx, scheme+"://"+addr+WebSocketPath, overWebSocket(), cfg, dial)
	if err != nil {
		return nil, fmt.Errorf("coap: %w", err)
	}
	return nc, nil
}

// lengths is the framing: it gives messages the length that they have on a
// stream, and takes it away.
type lengths struct{}

// Unframe gives a message the header of a stream. What is wrong in it beyond its
// length, the engine will find.
func (lengths) Unframe(in websocket.Message) error {
	switch {
	case !in.Text && in.Long:
		return &FormatError{Spec: specLimit, Why: fmt.Sprintf("message of more than %d bytes", len(in.B)-1)}
	case in.Text:
		return &FormatError{Why: "text message", Spec: specWebSocket}
	}
	var m Message
	n := len(in.B)
	tkl := 0
	if n >= 2 {
		tkl = min(int(in.B[0]&15), MaxToken) // longer ones are refused by the header
	}
	if n < 2+tkl || in.B[0]>>4 != 0 {
		_, err := m.Parse(WebSocket, in.B, n)
		return err
	}
	var header [maxHeader]byte
	h := appendStreamLength(header[:0], int64(n-2-tkl), in.B[0]&15)
	in.B = append(in.B, h[1:]...) // room
	copy(in.B[len(h):], in.B[1:n])
	copy(in.B, h)
	return nil
}

// Frame takes the length away from the first frame, whose header it overwrites.
func (lengths) Frame(_, b []byte) (message []byte, n int, err error) {
	header, body, ok := streamLength(b)
	tkl := b[0] & 15
	if n := int64(header) + 1 + int64(tkl) + body; ok && n <= int64(len(b)) {
		message = b[header-1 : n]
		message[0] = tkl
		return message, int(n), nil
	}
	return nil, 0, errors.New("coap: WebSocket: a frame is not whole")
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

	l *websocket.Listener
}

// NewWebSocketListener returns a listener. addr is for Addr alone: where the
// HTTP server listens.
func NewWebSocketListener(addr net.Addr) *WebSocketListener {
	return &WebSocketListener{l: websocket.NewListener(addr, overWebSocket())}
}

// Addr is where the HTTP server listens.
func (l *WebSocketListener) Addr() net.Addr { return l.l.Addr() }

// Accept returns the next WebSocket.
func (l *WebSocketListener) Accept() (net.Conn, error) { return l.l.Accept() }

// Close makes the listener refuse WebSockets. Those accepted stay.
func (l *WebSocketListener) Close() error { return l.l.Close() }

// ServeHTTP makes a WebSocket of the request and gives it to Accept. It refuses
// who does not name the subprotocol "coap" and pages of other hosts.
func (l *WebSocketListener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != WebSocketPath {
		http.NotFound(w, r)
		return
	}
	l.l.Take(w, r, l.Origins)
}
