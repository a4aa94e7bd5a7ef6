package xmppd_test

import (
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmppd"
)

const ibb = "<data xmlns='http://jabber.org/protocol/ibb' sid='s' seq='0'>AAAA</data>"

// What goes to a full address arrives there as it was sent, with from put
// right, or comes back; it is never rerouted or stored (RFC 6121, section
// 8.5.3; measured on others, which do both).
func TestFullAddress(t *testing.T) {
	w := newWorld(t, xmppd.Config{})
	lamp, phone := w.login("ann", "lamp"), w.appear("ann", "phone")
	lamp.say("<presence><priority>-80</priority></presence>")
	lamp.sync()
	phone.sync()

	phone.say("<message to='ann@home.example/lamp' id='1' xml:lang='de'>" + ibb + "</message>")
	if e := lamp.expect("message", "id", "1", "from", "ann@home.example/phone", "to", "ann@home.example/lamp", "type", ""); len(e.Children) != 1 {
		t.Errorf("arrived: %+v", e)
	}
	phone.say("<iq to='ANN@Home.example/lamp' type='get' id='2'><x xmlns='y'/></iq>")
	lamp.expect("iq", "id", "2", "from", "ann@home.example/phone")
	lamp.say("<iq to='ann@home.example/phone' type='result' id='2'/>")
	phone.expect("iq", "id", "2", "from", "ann@home.example/lamp", "type", "result")

	for _, text := range []string{
		"<message to='ann@home.example/gone' id='x'>" + ibb + "</message>",
		"<message to='ann@home.example/gone' id='x' type='chat'><body>hi</body></message>",
		"<message to='ann@home.example/gone' id='x' type='headline'/>",
		"<iq to='ann@home.example/gone' id='x' type='get'><x xmlns='y'/></iq>",
	} {
		phone.say(text)
		name, _, _ := strings.Cut(text[1:], " ")
		e := phone.expect(name, "type", "error", "id", "x", "from", "ann@home.example/gone", "to", "ann@home.example/phone")
		if got := condition(e); got != stanza.ServiceUnavailable {
			t.Errorf("%s: %s", text, got)
		}
	}
	for _, text := range []string{ // nobody is told that these did not arrive
		"<message to='ann@home.example/gone' type='error'/>",
		"<iq to='ann@home.example/gone' id='x' type='result'/>",
		"<iq to='ann@home.example/gone' id='x' type='error'><error/></iq>",
		"<presence to='ann@home.example/gone'/>",
	} {
		phone.say(text)
		if got := phone.sync(); len(got) > 0 {
			t.Errorf("%s: %+v", text, got)
		}
	}
	w.appear("ann", "gone")
	if got := phone.sync(); len(got) != 1 || got[0].Name != "presence" {
		t.Errorf("before and after: %+v", got)
	}
}

// What goes to an account arrives at whom it most likely wants (RFC 6121,
// section 8.5.2).
func TestBareAddress(t *testing.T) {
	w := newWorld(t, xmppd.Config{})
	a, b, c := w.appear("ann", "a"), w.appear("ann", "b"), w.appear("ann", "c")
	for p, prio := range map[*peer]string{a: "1", b: "5", c: "-1"} {
		p.say("<presence><priority>" + prio + "</priority></presence>")
		p.sync()
	}
	all := func() { // twice: what one says the others hear later
		for range 2 {
			a.sync()
			b.sync()
			c.sync()
		}
	}
	all()
	a.say("<message id='1' type='chat' to='ann@home.example'><body>x</body></message>")
	b.expect("message", "id", "1", "to", "ann@home.example")
	a.say("<message id='2' type='headline'><body>x</body></message>")
	a.expect("message", "id", "2")
	b.expect("message", "id", "2")
	a.say("<message id='3' type='groupchat' to='ann@home.example'><body>x</body></message>")
	if e := a.expect("message", "id", "3", "type", "error"); condition(e) != stanza.ServiceUnavailable {
		t.Errorf("groupchat: %+v", e)
	}
	a.say("<presence><priority>-1</priority></presence>")
	b.say("<presence type='unavailable'/>")
	all()
	c.say("<message id='4' to='ann@home.example'><body>x</body></message>")
	if e := c.expect("message", "id", "4", "type", "error"); condition(e) != stanza.ServiceUnavailable {
		t.Errorf("nobody wants it: %+v", e)
	}
	for _, p := range []*peer{a, b, c} {
		if got := p.sync(); len(got) > 0 {
			t.Errorf("arrived: %+v", got)
		}
	}
}

// Siblings see each other come and go, with the time since when; what a session
// is told before it is available is nothing (RFC 6121, section 4).
func TestSiblings(t *testing.T) {
	w := newWorld(t, xmppd.Config{})
	a := w.appear("ann", "a")
	a.say("<presence id='new'><priority>-80</priority><c xmlns='http://jabber.org/protocol/caps' node='n' ver='v' hash='sha-1'/></presence>")
	a.sync()
	b := w.login("ann", "b")
	if got := b.sync(); len(got) > 0 {
		t.Errorf("told too early: %+v", got)
	}
	b.say("<presence/>")
	b.expect("presence", "from", "ann@home.example/b", "to", "ann@home.example/b")
	e := b.expect("presence", "from", "ann@home.example/a", "to", "ann@home.example/b", "id", "new")
	delay := e.Child("urn:xmpp:delay", "delay")
	if delay == nil || e.Child("http://jabber.org/protocol/caps", "c") == nil || e.Child("jabber:client", "priority").Text != "-80" {
		t.Fatalf("told %+v", e)
	}
	if at, err := time.Parse(time.RFC3339, delay.Attr("stamp")); err != nil || time.Since(at) > time.Minute {
		t.Errorf("since %s", delay.Attr("stamp"))
	}
	a.expect("presence", "from", "ann@home.example/b", "to", "ann@home.example/a")
	b.nc.Close() // at once, without a word
	a.expect("presence", "from", "ann@home.example/b", "type", "unavailable")
	b = w.appear("ann", "b")
	a.expect("presence", "from", "ann@home.example/b")
	b.say("<presence type='unavailable'><status>off</status></presence>")
	if e := a.expect("presence", "from", "ann@home.example/b", "type", "unavailable"); e.Child("jabber:client", "status") == nil {
		t.Errorf("told %+v", e)
	}
	b.sync()
	b.say("</stream:stream>")
	b.closed()
	if got := a.sync(); len(got) > 0 {
		t.Errorf("told twice: %+v", got)
	}
}

// A presence that holds nothing is told late with its end tag.
func TestEmptyPresenceIsDelayed(t *testing.T) {
	for _, text := range []string{"<presence/>", "<presence />", "<presence></presence>", "<presence ></presence >", "<presence\n/>"} {
		w := newWorld(t, xmppd.Config{})
		a := w.login("ann", "a")
		a.say(text)
		a.sync()
		b := w.appear("ann", "b")
		if e := b.expect("presence", "from", "ann@home.example/a"); e.Child("urn:xmpp:delay", "delay") == nil {
			t.Errorf("%s became %+v", text, e)
		}
		w.stop()
	}
}

// A second log-in with the same resource ends the first (RFC 6120, section
// 7.7.2.2): siblings see it go before they see it come.
func TestConflict(t *testing.T) {
	w := newWorld(t, xmppd.Config{})
	a, old := w.appear("ann", "a"), w.appear("ann", "x")
	a.sync()
	fresh := w.login("ann", "x")
	a.expect("presence", "from", "ann@home.example/x", "type", "unavailable")
	old.ends("conflict")
	a.say("<message to='ann@home.example/x' id='1'/>")
	fresh.expect("message", "id", "1")
	fresh.say("<presence/>")
	a.expect("presence", "from", "ann@home.example/x", "type", "")
}

// Other accounts are not there until both have agreed to see each other, and
// whoever does not exist looks the same (threats section 6).
func TestOtherAccounts(t *testing.T) {
	w := newWorld(t, xmppd.Config{})
	a, b := w.appear("ann", "a"), w.appear("bob", "b")
	refused := func(when string) {
		t.Helper()
		for _, to := range []string{"bob@home.example/b", "bob@home.example", "nobody@home.example/b", "nobody@home.example"} {
			for _, text := range []string{
				"<message to='" + to + "'><body>x</body></message>",
				"<iq id='1' type='get' to='" + to + "'><ping xmlns='urn:xmpp:ping'/></iq>",
				"<presence to='" + to + "'/>",
			} {
				a.say(text)
				if e := a.expect(text[1:strings.IndexByte(text, ' ')], "type", "error", "from", to); condition(e) != stanza.ServiceUnavailable {
					t.Errorf("%s, %s: %+v", when, text, e)
				}
			}
		}
		if got := b.sync(); len(got) > 0 {
			t.Fatalf("%s: bob gets %+v", when, got)
		}
	}
	refused("strangers")
	roster := func(p *peer) {
		p.say("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
		p.expect("iq", "id", "r")
	}
	roster(a)
	roster(b)

	a.say("<presence type='subscribe' to='bob@home.example'/>")
	push(t, a, "bob@home.example", "none", "subscribe")
	b.expect("presence", "type", "subscribe", "from", "ann@home.example")
	refused2 := func() {
		a.say("<presence type='subscribe' to='nobody@home.example'/>")
		push(t, a, "nobody@home.example", "none", "subscribe")
	}
	refused2()
	late := w.login("bob", "late") // is told when it comes
	late.say("<presence/>")
	late.expect("presence", "from", "bob@home.example/late")
	late.expect("presence", "type", "subscribe", "from", "ann@home.example")
	late.expect("presence", "from", "bob@home.example/b")
	b.expect("presence", "from", "bob@home.example/late")
	refused("asked")
	late.sync()

	b.say("<presence type='subscribed' to='ann@home.example'/>")
	push(t, b, "ann@home.example", "from", "")
	push(t, a, "bob@home.example", "to", "")
	a.expect("presence", "type", "subscribed", "from", "bob@home.example")
	a.expect("presence", "from", "bob@home.example/b", "type", "")
	a.expect("presence", "from", "bob@home.example/late", "type", "")
	b.say("<presence type='subscribe' to='ann@home.example'/>")
	push(t, b, "ann@home.example", "from", "subscribe")
	a.expect("presence", "type", "subscribe", "from", "bob@home.example")
	a.say("<presence type='subscribed' to='bob@home.example'/>")
	push(t, a, "bob@home.example", "both", "")
	push(t, b, "ann@home.example", "both", "")
	b.expect("presence", "type", "subscribed")
	b.expect("presence", "from", "ann@home.example/a")

	a.say("<message to='bob@home.example/b' id='2'/>")
	b.expect("message", "id", "2", "from", "ann@home.example/a")
	a.say("<presence><show>away</show></presence>")
	a.expect("presence", "from", "ann@home.example/a")
	b.expect("presence", "from", "ann@home.example/a")
	b.say("<presence type='unavailable'/>")
	b.expect("presence", "from", "bob@home.example/b", "type", "unavailable")
	a.expect("presence", "from", "bob@home.example/b", "type", "unavailable")
	b.say("<presence/>")
	b.expect("presence", "from", "bob@home.example/b")
	b.expect("presence", "from", "bob@home.example/late")
	b.expect("presence", "from", "ann@home.example/a")
	a.expect("presence", "from", "bob@home.example/b")

	b.say("<iq type='set' id='rm'><query xmlns='jabber:iq:roster'><item jid='ann@home.example' subscription='remove'/></query></iq>")
	push(t, b, "ann@home.example", "from", "")
	push(t, a, "bob@home.example", "to", "")
	a.expect("presence", "type", "unsubscribe", "from", "bob@home.example")
	b.expect("presence", "type", "unavailable", "from", "ann@home.example/a")
	push(t, b, "ann@home.example", "none", "")
	push(t, a, "bob@home.example", "none", "")
	a.expect("presence", "type", "unsubscribed", "from", "bob@home.example")
	a.expect("presence", "type", "unavailable", "from", "bob@home.example/b")
	a.expect("presence", "type", "unavailable", "from", "bob@home.example/late")
	push(t, b, "ann@home.example", "remove", "")
	b.expect("iq", "id", "rm", "type", "result")
	refused("strangers again")
}

// push expects a roster push.
func push(t *testing.T, p *peer, jid, subscription, ask string) {
	t.Helper()
	e := p.expect("iq", "type", "set")
	item := e.Children[0].Children[0]
	if item.Attr("jid") != jid || item.Attr("subscription") != subscription || item.Attr("ask") != ask {
		t.Fatalf("push of %+v, want %s %s %s", item, jid, subscription, ask)
	}
}
