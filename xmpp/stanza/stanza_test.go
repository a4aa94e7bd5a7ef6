package stanza_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
)

const open = `<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>`

// scan checks that a strict peer accepts raw as one stanza.
func scan(t *testing.T, raw []byte) {
	t.Helper()
	s := stream.Scanner{Limits: stream.Limits{Stanza: 1 << 22, Attributes: 1000, Namespaces: 1000, AttributeBytes: 1 << 20}}
	s.Next([]byte(open))
	if _, n, err := s.Next(raw); err != nil || n != len(raw) {
		t.Errorf("the scanner refuses %s: %v", raw, err)
	}
}

func parsed(t *testing.T, s string) jid.JID {
	t.Helper()
	j, err := jid.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// TestMessage: all that a message may hold, there and back.
func TestMessage(t *testing.T) {
	const raw = `<message id='d8' from='ann@home.example/OIC/1.0/Client/3d2c' to='bob@home.example' type='error' xml:lang='de'>` +
		`<data xmlns='http://jabber.org/protocol/ibb' sid='ra7f3c1da0' seq='8'/><body>a &lt; b<![CDATA[ & c]]></body>` +
		`<error type='cancel' by='home.example'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>` +
		`<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>gone</text><x xmlns='urn:x'/></error></message>`
	m, err := stanza.ParseMessage([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case m.From != parsed(t, "ann@home.example/OIC/1.0/Client/3d2c"), m.To != parsed(t, "bob@home.example"), m.ID != "d8",
		m.Type != "error", m.Lang != "de", m.Body != "a < b & c", len(m.Children) != 1:
		t.Errorf("%+v", m)
	case m.Children[0].Attr("sid") != "ra7f3c1da0", m.Children[0].NS != "http://jabber.org/protocol/ibb":
		t.Errorf("%+v", m.Children[0])
	case m.Err.Type != "cancel", m.Err.Condition != stanza.ItemNotFound, m.Err.Text != "gone", m.Err.By != "home.example", m.Err.App.NS != "urn:x":
		t.Errorf("%+v", m.Err)
	}
	const want = `<message type='error' id='d8' from='ann@home.example/OIC/1.0/Client/3d2c' to='bob@home.example' xml:lang='de'>` +
		`<body>a &lt; b &amp; c</body><data xmlns='http://jabber.org/protocol/ibb' sid='ra7f3c1da0' seq='8'/>` +
		`<error type='cancel' by='home.example'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>` +
		`<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>gone</text><x xmlns='urn:x'/></error></message>`
	if got := string(m.Append(nil)); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestPresence(t *testing.T) {
	const raw = `<presence from='a@b/c'><show>away</show><status>it's</status><priority> -80 </priority><c xmlns='http://jabber.org/protocol/caps'/></presence>`
	p, err := stanza.ParsePresence([]byte(raw))
	if err != nil || p.Show != "away" || p.Status != "it's" || p.Priority != -80 || len(p.Children) != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	const want = `<presence from='a@b/c'><show>away</show><status>it's</status><priority>-80</priority><c xmlns='http://jabber.org/protocol/caps'/></presence>`
	if got := string(p.Append(nil)); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if got := string((&stanza.Presence{}).Append(nil)); got != `<presence/>` {
		t.Error(got)
	}
	for _, priority := range []string{"128", "-129", "x", "", "1.0"} {
		if _, err := stanza.ParsePresence([]byte("<presence><priority>" + priority + "</priority></presence>")); !isBadRequest(err) {
			t.Errorf("priority %q: %v", priority, err)
		}
	}
}

func isBadRequest(err error) bool {
	bad, ok := errors.AsType[*stanza.Error](err)
	return ok && bad.Condition == stanza.BadRequest && bad.Type == "modify"
}

// TestIQ: the rules of RFC 6120, section 8.2.3, and both answers.
func TestIQ(t *testing.T) {
	iq, err := stanza.ParseIQ([]byte(`<iq type='get' id='s9' from='home.example' to='a@b/c'><ping xmlns='urn:xmpp:ping'/></iq>`))
	if err != nil || !iq.IsRequest() || iq.Payload.Name != "ping" {
		t.Fatalf("%+v, %v", iq, err)
	}
	result := iq.Result(nil)
	if got := string(result.Append(nil)); got != `<iq type='result' id='s9' from='a@b/c' to='home.example'/>` {
		t.Error(got)
	}
	refusal := iq.Refuse(stanza.NewError(stanza.ServiceUnavailable, ""))
	if got := string(refusal.Append(nil)); got != `<iq type='error' id='s9' from='a@b/c' to='home.example'><error type='cancel'>`+
		`<service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>` {
		t.Error(got)
	}
	if refusal.IsRequest() || result.IsRequest() {
		t.Error("an answer asks to be answered")
	}
	failed, err := stanza.ParseIQ([]byte(`<iq type='error' id='1'><query xmlns='q'/><error type='wait'><resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`))
	if err != nil || failed.Payload.Name != "query" || failed.Err.Condition != stanza.ResourceConstraint {
		t.Errorf("%+v, %v", failed, err)
	}
	for _, bad := range []string{
		`<iq/>`, `<iq type='get'><a/></iq>`, `<iq id='1'><a/></iq>`, `<iq id='1' type='GET'><a/></iq>`, `<iq id='1' type='get'/>`,
		`<iq id='1' type='set'><a/><b/></iq>`, `<iq id='1' type='result'><a/><b/></iq>`, `<iq id='1' type='error'/>`,
		`<iq id='` + strings.Repeat("x", 257) + `' type='get'><a/></iq>`,
		`<iq xmlns='jabber:server' id='1' type='result'/>`, `<message id='1' type='result'/>`, `<iq id='1'`, ``, `<iq/><iq/>`,
	} {
		if _, err := stanza.ParseIQ([]byte(bad)); !isBadRequest(err) {
			t.Errorf("%.100s: %v", bad, err)
		}
	}
}

// TestBad26From: what is wrong with an address is told, and the rest is there,
// so that there is somebody to answer.
func TestBad26From(t *testing.T) {
	iq, err := stanza.ParseIQ([]byte(`<iq type='get' id='1' from='a@b/c' to='a@b@c'><x xmlns='y'/></iq>`))
	if _, ok := errors.AsType[*jid.Error](err); !ok || iq.ID != "1" || iq.From.IsZero() || !iq.To.IsZero() || iq.Payload == nil {
		t.Errorf("%+v, %v", iq, err)
	}
}

// TestConditions: each condition of RFC 6120, section 8.3.3, with its type,
// there and back.
func TestConditions(t *testing.T) {
	for condition, typ := range map[string]string{
		"bad-request": "modify", "conflict": "cancel", "feature-not-implemented": "cancel", "forbidden": "auth", "gone": "cancel",
		"internal-server-error": "cancel", "item-not-found": "cancel", "jid-malformed": "modify", "not-acceptable": "modify",
		"not-allowed": "cancel", "not-authorized": "auth", "policy-violation": "modify", "recipient-unavailable": "wait",
		"redirect": "modify", "registration-required": "auth", "remote-server-not-found": "cancel", "remote-server-timeout": "wait",
		"resource-constraint": "wait", "service-unavailable": "cancel", "subscription-required": "auth",
		"undefined-condition": "cancel", "unexpected-request": "wait",
	} {
		want := stanza.NewError(condition, "why: <it's>")
		if condition == stanza.Gone {
			want.URI = "xmpp:b@c"
		}
		raw := (&stanza.Message{Type: "error", Err: want}).Append(nil)
		scan(t, raw)
		m, err := stanza.ParseMessage(raw)
		if err != nil || m.Err == nil || *m.Err != *want || m.Err.Type != typ {
			t.Errorf("%s: %+v, %v", raw, m.Err, err)
		}
	}
	for _, tt := range []struct{ raw, typ, condition string }{
		{`<error/>`, "cancel", "undefined-condition"},
		{`<error type='wait'><unheard xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>`, "wait", "undefined-condition"},
		{`<error><conflict/></error>`, "cancel", "undefined-condition"}, // in the wrong namespace
		{`<error><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>`, "auth", "forbidden"},
	} {
		m, err := stanza.ParseMessage([]byte("<message type='error'>" + tt.raw + "</message>"))
		if err != nil || m.Err == nil || m.Err.Type != tt.typ || m.Err.Condition != tt.condition {
			t.Errorf("%s: %+v, %v", tt.raw, m.Err, err)
		}
	}
}

func TestElement(t *testing.T) {
	const raw = `<a xmlns='u:a' xmlns:p='u:p' b='1' p:b='2' xml:lang='en'>t<p:c/>e<d xmlns=''><e/></d>xt<p:c f='g'/></a>`
	e, err := stanza.Parse([]byte(raw), "jabber:client")
	if err != nil {
		t.Fatal(err)
	}
	if e.Attr("b") != "1" || e.AttrNS("u:p", "b") != "2" || e.Attr("none") != "" || e.Text != "text" {
		t.Errorf("%+v", e)
	}
	if c := e.Child("u:p", "c"); c == nil || c.Attr("f") != "" || e.Child("u:a", "c") != nil || e.Child("", "d").Child("", "e") == nil {
		t.Errorf("%+v", e.Children)
	}
	const want = `<a xmlns='u:a' b='1' xmlns:a1='u:p' a1:b='2' xml:lang='en'>text<c xmlns='u:p'/><d xmlns=''><e/></d><c xmlns='u:p' f='g'/></a>`
	if got := string(e.Append(nil, "jabber:client")); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	deep := strings.Repeat("<a>", 200_000)
	for _, bad := range []string{"", "text", "<a>", "<a></b>", "<a/>x", "x<a/>", "</a>", "<a", "<>", "<a></a", deep, "<?xml?><a/>"} {
		if e, err := stanza.Parse([]byte(bad), ""); err == nil {
			t.Errorf("%.50s: %+v", bad, e)
		}
	}
}

// TestNotShared: two stanzas made of one tree do not write into each other.
func TestNotShared(t *testing.T) {
	raw := []byte(`<message><x xmlns='1'/><body>b</body><y xmlns='2'/></message>`)
	m, _ := stanza.ParseMessage(raw)
	n, _ := stanza.ParseMessage(raw)
	if m.Children = append(m.Children[:1], stanza.Element{Name: "z"}); n.Children[1].Name != "y" {
		t.Errorf("%+v", n.Children)
	}
}
