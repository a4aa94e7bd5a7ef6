package xmppd_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/farreach/farreach/xmpp/stream"
	"github.com/farreach/farreach/xmppd"
)

// webSockets makes the server take WebSockets, until the test ends or stop is
// called. secure: the HTTP server has TLS.
func (w *world) webSockets(secure bool) (h *httptest.Server, stop func()) {
	h = httptest.NewUnstartedServer(nil)
	l := w.srv.WebSockets(h.Listener.Addr())
	h.Config.Handler = l
	if secure {
		h.TLS = w.web
		h.StartTLS()
	} else {
		h.Start()
	}
	ctx, cancel := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	tasks.Go(func() {
		if err := w.srv.Serve(ctx, l); err != context.Canceled {
			w.t.Errorf("Serve = %v", err)
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		tasks.Wait()
		h.Close()
	})
	w.t.Cleanup(stop)
	return h, stop
}

// connectWebSocket is connect by WebSocket.
func (w *world) connectWebSocket(h *httptest.Server) *peer {
	w.t.Helper()
	ws, resp, err := websocket.Dial(w.t.Context(), h.URL+xmppd.WebSocketPath,
		&websocket.DialOptions{HTTPClient: h.Client(), Subprotocols: []string{"xmpp"}, CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		w.t.Fatal(err)
	}
	if got := ws.Subprotocol() + resp.Header.Get("Sec-WebSocket-Extensions"); got != "xmpp" { // Bad22
		w.t.Fatalf("agreed on %q", got)
	}
	ws.SetReadLimit(1 << 20)
	w.t.Cleanup(func() { ws.CloseNow() })
	return &peer{t: w.t, ws: ws, tls: resp.TLS}
}

// nextMessage is next on a WebSocket, where each message is one item.
func (p *peer) nextMessage() (stream.Item, error) {
	wait := p.wait
	if wait == 0 {
		wait = time.Minute
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), wait)
	defer cancel()
	kind, b, err := p.ws.Read(ctx)
	if err != nil {
		return stream.Item{}, err
	}
	if kind != websocket.MessageText {
		p.t.Errorf("%v: %q", kind, b)
	}
	return p.scan.Frame(b)
}

// TestWebSocket: a session over a WebSocket and one over TCP, of one account,
// see each other and talk (RFC 7395, sections 3.3 to 3.6).
func TestWebSocket(t *testing.T) {
	for _, secure := range []bool{false, true} {
		w := newWorld(t, xmppd.Config{TLS: serverTLS(), Insecure: true})
		h, _ := w.webSockets(secure)
		tcp := w.appear("ann", "tcp")
		p := w.connectWebSocket(h)
		features := p.header()
		if features.Child("urn:ietf:params:xml:ns:xmpp-tls", "starttls") != nil {
			t.Error("STARTTLS is offered (RFC 7395, section 3.9)")
		}
		if bound := features.Child("urn:xmpp:sasl-cb:0", "sasl-channel-binding"); secure != (bound != nil) {
			t.Errorf("TLS %v, binding offered: %v", secure, bound)
		}
		if failed := p.exchange(features, "ann", password); failed != "" {
			t.Fatal(failed)
		}
		p.header()
		p.bind("ws")
		p.say("<presence xmlns='jabber:client'/>")
		tcp.expect("presence", "from", "ann@"+domain+"/ws")
		seen := map[string]bool{}
		for range 2 {
			e := p.expect("presence")
			seen[e.NS+" "+e.Attr("from")] = true
		}
		if !seen["jabber:client ann@"+domain+"/ws"] || !seen["jabber:client ann@"+domain+"/tcp"] {
			t.Errorf("presence of %v", seen)
		}
		p.say("<message xmlns='jabber:client' to='ann@" + domain + "/tcp' id='1'><body>a &lt; b</body></message>")
		e := tcp.expect("message", "from", "ann@"+domain+"/ws", "id", "1")
		if body := e.Child(stream.NSClient, "body"); body == nil || body.Text != "a < b" {
			t.Errorf("TCP got %+v", e)
		}
		long := strings.Repeat("ü", 60_000) // several pieces of writing
		for range 3 {
			tcp.say("<message to='ann@" + domain + "/ws' id='2'><body>" + long + "</body></message>")
		}
		for range 3 {
			e = p.expect("message", "from", "ann@"+domain+"/tcp", "id", "2")
			if body := e.Child(stream.NSClient, "body"); e.NS != stream.NSClient || body == nil || body.Text != long {
				t.Errorf("WebSocket got %.200v", e)
			}
		}
		p.sync()
		p.say("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>")
		if it := p.item(); it.Kind != stream.Closing {
			t.Errorf("after close: %s", it.Raw)
		}
		if _, err := p.next(); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
			t.Errorf("after close: %v", err)
		}
		tcp.expect("presence", "from", "ann@"+domain+"/ws", "type", "unavailable")
		w.stop()
	}
}

// TestWebSocketExamples says what the client says in the examples of RFC 7395,
// section 3.4 and 3.6, byte for byte but for the domain.
func TestWebSocketExamples(t *testing.T) {
	w := newWorld(t, xmppd.Config{})
	h, _ := w.webSockets(false)
	p := w.connectWebSocket(h)
	p.say(`<open xmlns="urn:ietf:params:xml:ns:xmpp-framing" to="home.example" version="1.0" />`)
	if it := p.item(); it.Kind != stream.Opening || !strings.HasPrefix(string(it.Raw), "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' from='home.example' id='") {
		t.Errorf("answer to open: %s", it.Raw)
	}
	p.expect("features")
	p.say(`<close xmlns="urn:ietf:params:xml:ns:xmpp-framing" />`)
	if it := p.item(); string(it.Raw) != "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>" {
		t.Errorf("answer to close: %s", it.Raw)
	}
	p.closed()

	p = w.connectWebSocket(h)
	p.say(`<open xmlns="urn:ietf:params:xml:ns:xmpp-framing" to="elsewhere.example" version="1.0" />`)
	p.ends(stream.HostUnknown)
}

// TestBad23XMPPWebSocket: messages that are none, and those that are too long,
// before and after the log-in.
func TestBad23XMPPWebSocket(t *testing.T) {
	w := newWorld(t, xmppd.Config{})
	h, _ := w.webSockets(false)
	for _, tt := range []struct{ name, say, condition string }{
		{"long", "<message xmlns='jabber:client'>" + strings.Repeat("x", 10_000) + "</message>", stream.PolicyViolation},
		{"two", "<presence xmlns='jabber:client'/><presence xmlns='jabber:client'/>", stream.NotWellFormed},
		{"half", "<presence xmlns='jabber:client'>", stream.NotWellFormed},
		{"space", " ", stream.NotWellFormed},
		{"no namespace", "<presence/>", stream.UnsupportedStanzaType},
		{"stream header", "<stream:stream xmlns='jabber:client' xmlns:stream='" + stream.NS + "' to='" + domain + "' version='1.0'>", stream.BadFormat},
		{"DTD", "<!DOCTYPE a><a/>", stream.RestrictedXML},
		{"UTF-8", "<a xmlns='b'>\xff</a>", stream.UnsupportedEncoding},
		{"before the log-in", "<presence xmlns='jabber:client'/>", stream.NotAuthorized},
		{"STARTTLS", "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := w.connectWebSocket(h)
			p.t = t
			p.header()
			p.say(tt.say)
			if tt.condition == "" {
				p.expect("failure")
				p.closed()
				return
			}
			p.ends(tt.condition)
		})
	}
	p := w.connectWebSocket(h)
	p.header()
	if err := p.ws.Write(t.Context(), websocket.MessageBinary, []byte("<a/>")); err != nil {
		t.Fatal(err)
	}
	p.ends(stream.BadFormat)

	p = w.connectWebSocket(h)
	p.authenticate("ann", password)
	p.bind("r")
	p.say("<message xmlns='jabber:client' to='ann@" + domain + "/r' id='l'>" + strings.Repeat("x", 100_000) + "</message>")
	p.expect("message", "id", "l")
	p.say("<message xmlns='jabber:client'>" + strings.Repeat("x", 262_144) + "</message>")
	p.ends(stream.PolicyViolation)
}

// TestWebSocketResume: a session that began over a WebSocket goes on over
// another, and over TCP (XEP-0198).
func TestWebSocketResume(t *testing.T) {
	w := newWorld(t, xmppd.Config{})
	h, _ := w.webSockets(false)
	p := w.connectWebSocket(h)
	p.authenticate("ann", password)
	p.bind("r")
	p.say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
	enabled := p.expect("enabled")
	id := enabled.Attr("id")
	p.ws.CloseNow()
	other := w.login("ann", "other")
	other.say("<message to='ann@" + domain + "/r' id='m'/>")
	other.sync()
	for _, p := range []*peer{w.connectWebSocket(h), w.connect()} {
		p.authenticate("ann", password)
		p.say("<resume xmlns='urn:xmpp:sm:3' h='0' previd='" + id + "'/>")
		p.expect("resumed", "previd", id)
		if e := p.expect("message", "id", "m"); e.NS != stream.NSClient {
			t.Errorf("message %+v", e)
		}
	}
}

// TestWebSocketShutdown: clients are told, and nothing is left.
func TestWebSocketShutdown(t *testing.T) {
	w := newWorld(t, xmppd.Config{})
	h, stop := w.webSockets(false)
	p := w.connectWebSocket(h)
	p.authenticate("ann", password)
	p.bind("r")
	var tasks sync.WaitGroup
	tasks.Go(stop)
	p.ends(stream.SystemShutdown)
	tasks.Wait()
}

// TestWebSocketRefuses: who asks for another subprotocol, comes from a page of
// another host (Bad47), or from another machine without TLS.
func TestWebSocketRefuses(t *testing.T) {
	w := prepare(t, xmppd.Config{TLS: serverTLS()})
	defer w.srv.Close()
	l := w.srv.WebSockets(nil)
	defer l.Close()
	for _, tt := range []struct {
		protocol, origin, from string
		status                 int
	}{
		{"", "", "127.0.0.1:1", http.StatusBadRequest},
		{"coap", "", "127.0.0.1:1", http.StatusBadRequest},
		{"xmpp", "https://elsewhere.example", "127.0.0.1:1", http.StatusForbidden},
		{"xmpp", "", "192.0.2.1:1", http.StatusForbidden},
		{"xmpp", "", "[2001:db8::1]:1", http.StatusForbidden},
	} {
		r := httptest.NewRequest("GET", "http://home.example"+xmppd.WebSocketPath, nil)
		r.RemoteAddr = tt.from
		for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
			"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": tt.protocol, "Origin": tt.origin} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		answer := httptest.NewRecorder()
		l.ServeHTTP(answer, r)
		if answer.Code != tt.status {
			t.Errorf("%+v: %d %s", tt, answer.Code, answer.Body)
		}
	}
}
