package xmpp_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/stream"
)

// web is a script that speaks over a WebSocket, message by message.
type web struct {
	t  *testing.T
	ws *websocket.Conn
}

// overWebSocket has the connections of cfg be served by run, with TLS if secure
// is not nil, and returns the addresses that are dialled.
func overWebSocket(t *testing.T, cfg *xmpp.Config, secure *tls.Config, run func(*web)) (dialled *[]string) {
	h := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"xmpp"}, CompressionMode: websocket.CompressionContextTakeover})
		if err != nil || ws.Subprotocol() != "xmpp" || r.URL.Path != "/x" || w.Header().Get("Sec-WebSocket-Extensions") != "" { // Bad22
			t.Errorf("%s: %v", r.URL, err)
			return
		}
		defer ws.CloseNow()
		run(&web{t, ws})
	}))
	cfg.Addr = "ws://server:1/x"
	if h.TLS = secure; secure != nil {
		h.StartTLS()
		cfg.Addr, cfg.Insecure = "wss://server:1/x", false
	} else {
		h.Start()
	}
	t.Cleanup(h.Close)
	dialled = new([]string)
	cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		*dialled = append(*dialled, addr)
		return new(net.Dialer).DialContext(ctx, network, h.Listener.Addr().String())
	}
	return dialled
}

// expect takes the next message, which must begin with text.
func (w *web) expect(text string) {
	kind, b, err := w.ws.Read(w.t.Context())
	if err != nil || kind != websocket.MessageText || !strings.HasPrefix(string(b), text) {
		w.t.Errorf("the client says %q, %v, want %q", b, err, text)
	}
}

func (w *web) say(messages ...string) {
	for _, m := range messages {
		w.ws.Write(w.t.Context(), websocket.MessageText, []byte(m))
	}
}

// over waits for the closing handshake, which the client has begun.
func (w *web) over() {
	if _, b, err := w.ws.Read(w.t.Context()); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		w.t.Errorf("at the end: %q, %v", b, err)
	}
}

const (
	clientOpen = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='home.example' version='1.0' xml:lang='en'/>"
	serverOpen = `<open xmlns="urn:ietf:params:xml:ns:xmpp-framing" from="home.example" id="++TR84Sm6A3hnt3Q065SnAbbk3Y=" xml:lang="en" version="1.0" />`
	webStream  = "<stream:features xmlns:stream='http://etherx.jabber.org/streams'>"
	webClose   = "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'"
)

// TestWebSocketClient: what RFC 7395 has a client say: one element in a message,
// no STARTTLS though it is offered (section 3.9), an end that is confirmed
// (section 3.6).
func TestWebSocketClient(t *testing.T) {
	cfg := scripted(t)
	over := make(chan struct{})
	overWebSocket(t, &cfg, nil, func(w *web) {
		defer close(over)
		w.expect(clientOpen)
		w.say(serverOpen, webStream+withTLS+withSASL+"</stream:features>")
		w.expect("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>")
		w.say("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>")
		w.over()
	})
	_, err := xmpp.Dial(t.Context(), cfg)
	if e, ok := errors.AsType[*xmpp.AuthError](err); !ok || e.Condition != "not-authorized" {
		t.Errorf("Dial = %v", err)
	}
	<-over
}

// TestCloseInsteadOfOpen: a server may answer <open/> with <close/> (RFC 7395,
// section 3.4).
func TestCloseInsteadOfOpen(t *testing.T) {
	cfg := scripted(t)
	overWebSocket(t, &cfg, nil, func(w *web) {
		w.expect(clientOpen)
		w.say(webClose + "/>")
		w.over()
	})
	if err := refusedDial(t, cfg); !errors.Is(err, xmpp.ErrEnded) {
		t.Errorf("Dial = %v", err)
	}
}

// TestBad23WebSocketClient: what a server must not send over a WebSocket ends
// the stream with the named error, and too much of it costs no memory.
func TestBad23WebSocketClient(t *testing.T) {
	for _, tt := range []struct{ say, condition string }{
		{webStream, stream.NotWellFormed},
		{serverOpen + serverOpen, stream.NotWellFormed},
		{" " + serverOpen, stream.NotWellFormed},
		{"<?xml version='1.0'?>" + serverOpen, stream.RestrictedXML},
		{"<presence/>", stream.UnsupportedStanzaType},
		{header, stream.RestrictedXML},
		{"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' id='" + strings.Repeat("x", 100_000) + "'/>", stream.PolicyViolation},
	} {
		cfg := scripted(t)
		overWebSocket(t, &cfg, nil, func(w *web) {
			w.expect(clientOpen)
			w.say(tt.say)
			w.expect("<stream:error xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'><" + tt.condition)
			w.expect(webClose)
		})
		if e, ok := errors.AsType[*stream.Error](refusedDial(t, cfg)); !ok || e.Condition != tt.condition {
			t.Errorf("%.100s: %v, want %s", tt.say, e, tt.condition)
		}
	}
}

// TestBad29RedirectOfWebSocket: a server cannot send the client where its owner
// did not allow it to go, nor to where there is no TLS (RFC 7395, section 3.6.1).
func TestBad29RedirectOfWebSocket(t *testing.T) {
	roots, good := authority(t, "home.example")
	for _, c := range []struct {
		uri, allow string
		secure     *tls.Config
		want       string // dialled besides; "": nothing
	}{
		{"wss://other.example/x", "", good, ""},
		{"wss://other.example/x", "other.example", good, "other.example:443"},
		{"wss://other.example:99/x", "Other.Example", good, "other.example:99"},
		{"wss://other.example.evil.example/x", "other.example", good, ""},
		{"ws://other.example/x", "other.example", good, ""},
		{"https://other.example/x", "other.example", good, ""},
		{"other.example:5222", "other.example", good, ""},
		{"wss://[", "[", good, ""},
		{"ws://other.example:99/x", "other.example", nil, "other.example:99"},
	} {
		cfg := scripted(t)
		cfg.TLS, cfg.AllowRedirect = roots, []string{c.allow}
		dialled := overWebSocket(t, &cfg, c.secure, func(w *web) {
			w.expect("<open ")
			w.say(webClose + " see-other-uri='" + c.uri + "'/>")
			w.over()
		})
		if e, ok := errors.AsType[*stream.Error](refusedDial(t, cfg)); !ok || e.Condition != stream.SeeOtherHost {
			t.Errorf("%s: %v", c.uri, e)
		}
		want := []string{"server:1"}
		if c.want != "" {
			want = append(want, c.want)
		}
		if fmt.Sprint(*dialled) != fmt.Sprint(want) {
			t.Errorf("%s: dialled %v, want %v", c.uri, *dialled, want)
		}
	}
}

// TestBad30WebSocket: the certificate is for the domain of the address, not for
// the host of the URI.
func TestBad30WebSocket(t *testing.T) {
	roots, server := authority(t, "server")
	cfg := scripted(t)
	cfg.TLS = roots
	overWebSocket(t, &cfg, server, func(w *web) { t.Error("a WebSocket was opened") })
	if _, ok := errors.AsType[*tls.CertificateVerificationError](refusedDial(t, cfg)); !ok {
		t.Error("no complaint about the certificate")
	}
}

// TestWebSocketAddresses: wss:// goes with TLS, ws:// with Insecure, neither with
// Direct.
func TestWebSocketAddresses(t *testing.T) {
	for _, c := range []struct {
		addr             string
		insecure, direct bool
		ok               bool
	}{
		{"wss://server/xmpp-websocket", false, false, true},
		{"ws://[::1]:5280/x?y", true, false, true},
		{"ws://server/x", false, false, false},
		{"wss://server/x", true, false, false},
		{"wss://server/x", false, true, false},
		{"wss:///x", false, false, false},
		{"wss://user:secret@server/x", false, false, false},
		{"wss://server/#x", false, false, false},
		{"wss://server:x/", false, false, false},
	} {
		_, err := xmpp.New(xmpp.Config{JID: ann, Password: password, Addr: c.addr, Insecure: c.insecure, Direct: c.direct})
		if (err == nil) != c.ok || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
