package coap_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/vector"
)

// everyWire are the kinds of connection between two ends of ours.
var everyWire = append([]string{"ws", "wss"}, wires...)

// webSocketServer is an HTTP server that gives its WebSockets to the listener.
func webSocketServer(t testing.TB, secure bool) (*coap.WebSocketListener, coap.URI) {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	l := coap.NewWebSocketListener(s.Listener.Addr())
	s.Config.Handler = l
	scheme := "coap+ws://"
	if secure {
		s.TLS = serverTLS()
		s.StartTLS()
		scheme = "coaps+ws://"
	} else {
		s.Start()
	}
	t.Cleanup(func() {
		l.Close()
		s.Close()
	})
	u, err := coap.ParseURI(scheme + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return l, u
}

// webSockets returns the two ends of a WebSocket over loopback.
func webSockets(t testing.TB, wire string) (client, server net.Conn) {
	t.Helper()
	l, u := webSocketServer(t, wire == "wss")
	var cfg *tls.Config
	if u.Secure {
		cfg = clientTLS()
	}
	client, err := coap.DialWebSocket(t.Context(), u, cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// rawPeer is a server with cfg, run by Serve, and a WebSocket to it that can
// send anything.
func rawPeer(t *testing.T, cfg coap.Config) (ws *websocket.Conn, conn *coap.Conn) {
	t.Helper()
	l, u := webSocketServer(t, false)
	ctx, cancel := context.WithCancel(context.Background())
	served, conns := make(chan error, 1), make(chan *coap.Conn, 1)
	go func() {
		served <- coap.Serve(ctx, l, func(nc net.Conn) *coap.Conn {
			c := coap.Server(nc, cfg)
			conns <- c
			return c
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-served
	})
	ws, _, err := websocket.Dial(t.Context(), "ws://"+u.Addr()+coap.WebSocketPath,
		&websocket.DialOptions{Subprotocols: []string{"coap"}, CompressionMode: websocket.CompressionContextTakeover,
			HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.CloseNow() })
	ws.SetReadLimit(1 << 20)
	return ws, <-conns
}

func rawNext(t *testing.T, ws *websocket.Conn) *coap.Message {
	t.Helper()
	kind, b, err := ws.Read(t.Context())
	if err != nil || kind != websocket.MessageBinary {
		t.Fatalf("Read = %v, %v", kind, err)
	}
	var m coap.Message
	if _, err := m.Parse(coap.WebSocket, b, 1<<20); err != nil {
		t.Fatalf("%x: %v", b, err)
	}
	return m.Clone()
}

func rawSend(t *testing.T, ws *websocket.Conn, b []byte) {
	t.Helper()
	if err := ws.Write(t.Context(), websocket.MessageBinary, b); err != nil {
		t.Fatal(err)
	}
}

// The WebSocket form on the wire: the vectors W1 and W2, sent as they are, mean
// what they mean, and each message of ours is one frame (CI-008; RFC 8323,
// sections 4.1 to 4.3).
func TestWebSocketVectors(t *testing.T) {
	heard := make(chan *coap.Message, 1)
	ws, conn := rawPeer(t, coap.Config{Handler: coap.HandlerFunc(func(x *coap.Exchange) {
		heard <- x.Request().Clone()
		x.Reply(&coap.Message{Code: coap.Changed})
	})})
	if m := rawNext(t, ws); m.Code != coap.CSM {
		t.Fatalf("first message is %v", m)
	}
	sent := 0
	for _, v := range vector.All() {
		if v.Transport != "ws" {
			continue
		}
		sent++
		rawSend(t, ws, v.Wire)
		want := fromVector(v.Message)
		if !want.Code.IsRequest() {
			continue
		}
		if got := <-heard; !same(got, want) {
			t.Errorf("%s arrived as %v", v.Name, got)
		}
		if m := rawNext(t, ws); m.Code != coap.Changed || m.Token != want.Token {
			t.Errorf("%s answered with %v", v.Name, m)
		}
	}
	if sent < 2 {
		t.Errorf("%d vectors", sent)
	}
	for _, n := range []int{0, 1, 12, 13, 268, 269, 65804, 65805, 200_000} { // each length form of the stream
		m := put("/x", letters(n))
		m.Token = coap.TokenFrom(uint64(n))
		b, err := m.Append(coap.WebSocket, nil)
		if err != nil {
			t.Fatal(err)
		}
		rawSend(t, ws, b)
		if got := <-heard; !same(got, m) {
			t.Errorf("%d bytes arrived as %v", n, got)
		}
		rawNext(t, ws)
	}
	if p := conn.Peer(); !p.SentCSM {
		t.Errorf("settings %+v after W2", p)
	}
	if err := ws.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Errorf("Close: %v", err)
	}
	<-conn.Done()
}

// TestBad23WebSocket: too long, not CoAP, or not binary gets an Abort, and no
// memory for what was only announced. Row 22: nobody compresses.
func TestBad23WebSocket(t *testing.T) {
	long := make([]byte, 20_000)
	copy(long, []byte{0x01, 0x02, 0x07, 0xff})
	for _, v := range []struct {
		name string
		kind websocket.MessageType
		b    []byte
		why  string
	}{
		{"longer than announced", websocket.MessageBinary, long, "more than"},
		{"text", websocket.MessageText, []byte("hello"), "text"},
		{"empty", websocket.MessageBinary, nil, "shorter"},
		{"one byte", websocket.MessageBinary, []byte{0}, "shorter"},
		{"length nibble", websocket.MessageBinary, unhex("20e1ff80"), "not 0"},
		{"token too long", websocket.MessageBinary, unhex("09e1000000000000000000"), "token length 9"},
		{"token cut", websocket.MessageBinary, unhex("08e100"), "token"},
		{"option cut", websocket.MessageBinary, unhex("0001bd"), "option"},
	} {
		t.Run(v.name, func(t *testing.T) {
			ws, conn := rawPeer(t, coap.Config{MaxMessage: 16384})
			rawNext(t, ws)
			if err := ws.Write(t.Context(), v.kind, v.b); err != nil {
				t.Fatal(err)
			}
			if m := rawNext(t, ws); m.Code != coap.Abort || !strings.Contains(string(m.Payload), v.why) {
				t.Errorf("got %v %q, want an Abort: %s", m, m.Payload, v.why)
			}
			ws.CloseRead(t.Context())
			<-conn.Done()
			if bad, ok := errors.AsType[*coap.FormatError](conn.Err()); !ok {
				t.Errorf("ended because of %v", bad)
			}
		})
	}
}

// A frame that announces 2^62 or 2^64-1 bytes costs nothing but itself.
func TestBad23WebSocketAnnouncedLength(t *testing.T) {
	for _, length := range []uint64{1 << 62, 1<<64 - 1} {
		l, u := webSocketServer(t, false)
		nc, err := net.Dial("tcp", u.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		nc.Write([]byte("GET /.well-known/coap HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: coap\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"))
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c := run(t, coap.Server(server, coap.Config{MaxMessage: 4096}))
		<-c.Ready()
		frame := binary.BigEndian.AppendUint64([]byte{0x82, 0xff}, length)
		frame = append(frame, 0, 0, 0, 0)
		frame = append(frame, bytes.Repeat([]byte{0}, 5000)...)
		nc.Write(frame)
		<-c.Done()
	}
}

// Who does not speak CoAP, comes from another page or to another path is
// refused before there is a WebSocket.
func TestWebSocketRefuses(t *testing.T) {
	_, u := webSocketServer(t, false)
	for _, v := range []struct {
		name, path, protocol, origin string
		status                       int
	}{
		{"no subprotocol", coap.WebSocketPath, "", "", http.StatusBadRequest},
		{"another subprotocol", coap.WebSocketPath, "mqtt, coap2", "", http.StatusBadRequest},
		{"another path", "/coap", "coap", "", http.StatusNotFound},
		{"a foreign page", coap.WebSocketPath, "coap", "http://evil.example", http.StatusForbidden},
	} {
		h := http.Header{}
		if v.origin != "" {
			h.Set("Origin", v.origin)
		}
		o := &websocket.DialOptions{HTTPHeader: h, HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
		if v.protocol != "" {
			o.Subprotocols = strings.Split(v.protocol, ", ")
		}
		_, resp, err := websocket.Dial(t.Context(), "ws://"+u.Addr()+v.path, o)
		if err == nil || resp == nil || resp.StatusCode != v.status {
			t.Errorf("%s: %v, %v, want %d", v.name, resp, err, v.status)
		}
	}
}

// A server that answers otherwise is not taken for one.
func TestDialWebSocketRefuses(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"no WebSocket": func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("hello")) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		},
		"no subprotocol": func(w http.ResponseWriter, r *http.Request) {
			ws, err := websocket.Accept(w, r, nil)
			if err == nil {
				ws.CloseRead(context.Background())
			}
		},
	} {
		s := httptest.NewServer(h)
		u, err := coap.ParseURI("coap+ws://" + s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if nc, err := coap.DialWebSocket(t.Context(), u, nil, nil); err == nil {
			nc.Close()
			t.Errorf("%s: no error", name)
		}
		s.CloseClientConnections()
		s.Close()
	}
	if _, err := coap.DialWebSocket(t.Context(), coap.URI{Transport: coap.TCP}, nil, nil); err == nil {
		t.Error("a URI of another transport was taken")
	}
}

// Liveness is CoAP's: a peer that answers no Ping is given up, though its
// WebSocket may live (section 4.4).
func TestWebSocketLiveness(t *testing.T) {
	ws, conn := rawPeer(t, coap.Config{KeepAlive: 30 * time.Millisecond, Patience: 30 * time.Millisecond})
	rawNext(t, ws)
	if m := rawNext(t, ws); m.Code != coap.Ping {
		t.Errorf("got %v, want a Ping", m)
	}
	ws.CloseRead(t.Context())
	<-conn.Done()
	if err := conn.Err(); err != coap.ErrSilent {
		t.Errorf("ended because of %v", err)
	}
}

// An orderly end: a Release, then the closing handshake.
func TestWebSocketRelease(t *testing.T) {
	a, b := webSockets(t, "ws")
	client, server := run(t, coap.Client(a, coap.Config{})), run(t, coap.Server(b, coap.Config{}))
	<-client.Ready()
	<-server.Ready()
	if err := server.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	<-client.Done()
	if _, ok := errors.AsType[*coap.ReleaseError](client.Err()); !ok {
		t.Errorf("client ended because of %v", client.Err())
	}
}
