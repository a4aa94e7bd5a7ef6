package xmppd_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmppd"
)

// A client begins in clear, goes on with TLS, logs in bound to the channel,
// binds, and sends to itself (RFC 6120, sections 5 to 7; XEP-0440).
func TestStream(t *testing.T) {
	w := newWorld(t, xmppd.Config{TLS: serverTLS()})
	p := w.connect()
	features := p.header()
	tlsFeature := features.Child("urn:ietf:params:xml:ns:xmpp-tls", "starttls")
	if tlsFeature == nil || len(tlsFeature.Children) != 1 || len(features.Children) != 1 {
		t.Errorf("features in clear: %+v", features)
	}
	p.say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
	p.expect("proceed")
	p.handshake()
	use(t, p)
}

// The same for a connection that begins with TLS (XEP-0368).
func TestDirectTLS(t *testing.T) {
	w := newWorld(t, xmppd.Config{TLS: serverTLS()})
	p := w.connect()
	p.nc = w.direct()
	p.handshake(xmppd.ALPN)
	if got := p.tls.NegotiatedProtocol; got != xmppd.ALPN {
		t.Errorf("ALPN is %q", got)
	}
	use(t, p)
}

// use logs in on a connection with TLS.
func use(t *testing.T, p *peer) {
	t.Helper()
	features := p.header()
	var offered []string
	for _, m := range features.Child(nsSASL, "mechanisms").Children {
		offered = append(offered, m.Text)
	}
	if !slices.Equal(offered, []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1"}) {
		t.Errorf("offered are %q", offered)
	}
	if condition := p.exchange(features, "ann", password); condition != "" {
		t.Fatalf("log-in failed: %s", condition)
	}
	features = p.header()
	if features.Child("urn:xmpp:sm:3", "sm") == nil || features.Child("urn:ietf:params:xml:ns:xmpp-bind", "bind") == nil {
		t.Errorf("features: %+v", features)
	}
	if l := features.Child("urn:xmpp:stream-limits:0", "limits"); l == nil || l.Children[0].Text != "262144" {
		t.Errorf("limits: %+v", l)
	}
	if got := p.bind("OIC/1.0/oic.d.light/x y"); got != "ann@home.example/OIC/1.0/oic.d.light/x y" {
		t.Errorf("bound to %q", got)
	}
	p.say("<message to='ann@home.example/OIC/1.0/oic.d.light/x y' id='1'><body>&lt;hi&gt;</body></message>")
	e := p.expect("message", "id", "1", "from", "ann@home.example/OIC/1.0/oic.d.light/x y")
	if e.Child("jabber:client", "body").Text != "<hi>" {
		t.Errorf("got %+v", e)
	}
	p.say("</stream:stream>")
	p.closed()
}

// What the server answers itself (XEP-0030, 0092, 0199; RFC 6121).
func TestService(t *testing.T) {
	w := newWorld(t, xmppd.Config{Version: "7", Relays: []xmppd.Relay{{Type: "turn", Host: "turn.example", Secret: "s"}, {Type: "stun", Host: "stun.example"}}})
	p := w.login("ann", "a")
	for _, tt := range []struct {
		typ, to, payload string
		want             string // the name of the payload, or the condition
		children         int
	}{
		{"get", "", "<ping xmlns='urn:xmpp:ping'/>", "", 0},
		{"get", "home.example", "<ping xmlns='urn:xmpp:ping'/>", "", 0},
		{"get", "ann@home.example", "<ping xmlns='urn:xmpp:ping'/>", "", 0},
		{"get", "home.example", "<query xmlns='http://jabber.org/protocol/disco#info'/>", "query", 7},
		{"get", "ann@home.example", "<query xmlns='http://jabber.org/protocol/disco#info'/>", "query", 4},
		{"get", "home.example", "<query xmlns='http://jabber.org/protocol/disco#info' node='x'/>", "item-not-found", 0},
		{"get", "home.example", "<query xmlns='http://jabber.org/protocol/disco#items'/>", "query", 0},
		{"get", "home.example", "<query xmlns='jabber:iq:version'/>", "query", 2},
		{"get", "home.example", "<services xmlns='urn:xmpp:extdisco:2'/>", "services", 2},
		{"get", "home.example", "<services xmlns='urn:xmpp:extdisco:2' type='turn'/>", "services", 1},
		{"get", "", "<query xmlns='jabber:iq:roster'/>", "query", 0},
		{"set", "", "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>", "", 0},
		{"set", "", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>", "not-allowed", 0},
		{"get", "home.example", "<query xmlns='jabber:iq:private'/>", "service-unavailable", 0},
		{"get", "home.example/x", "<ping xmlns='urn:xmpp:ping'/>", "service-unavailable", 0},
		{"get", "other.example", "<ping xmlns='urn:xmpp:ping'/>", "remote-server-not-found", 0},
		{"get", "a@b@c", "<ping xmlns='urn:xmpp:ping'/>", "jid-malformed", 0},
		{"get", "", "", "bad-request", 0},
		{"put", "", "<ping xmlns='urn:xmpp:ping'/>", "bad-request", 0},
	} {
		to := ""
		if tt.to != "" {
			to = " to='" + tt.to + "'"
		}
		p.say("<iq id='q' type='" + tt.typ + "'" + to + ">" + tt.payload + "</iq>")
		e := p.expect("iq", "id", "q")
		if e.Attr("type") == "error" {
			if got := condition(e); got != tt.want {
				t.Errorf("%s %s to %q: %s, want %s", tt.typ, tt.payload, tt.to, got, tt.want)
			}
			continue
		}
		var got stanza.Element
		if len(e.Children) > 0 {
			got = e.Children[0]
		}
		if got.Name != tt.want || len(got.Children) != tt.children {
			t.Errorf("%s %s to %q: %+v", tt.typ, tt.payload, tt.to, e)
		}
	}
}

// RA-023: accounts are made beforehand, by who runs the server: nobody makes, or
// changes, one over a stream (XEP-0077), before the log-in or behind it.
func TestNoRegistration(t *testing.T) {
	const query = "<iq id='r' type='%s'><query xmlns='jabber:iq:register'>%s</query></iq>"
	const form = "<username>mallory</username><password>venus and mars</password>"
	for _, ask := range []string{fmt.Sprintf(query, "get", ""), fmt.Sprintf(query, "set", form)} {
		w := newWorld(t, xmppd.Config{TLS: serverTLS()})
		p := w.connect()
		p.startTLS()
		if f := p.header(); f.Child("http://jabber.org/features/iq-register", "register") != nil {
			t.Errorf("offered: %+v", f)
		}
		p.say(ask)
		p.ends("not-authorized")
		p = newWorld(t, xmppd.Config{}).login("ann", "a")
		p.say(ask)
		if e := p.expect("iq", "id", "r", "type", "error"); condition(e) != "service-unavailable" {
			t.Errorf("%s: %+v", ask, e)
		}
	}
}
