package xmpptest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/disco"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/ping"
	"github.com/farreach/farreach/xmpp/roster"
	"github.com/farreach/farreach/xmpp/stanza"
)

// testSiblings: the resources of an account see each other come and go (RA-020,
// D15), with what they say of themselves; a connection that breaks is gone, too.
func testSiblings(t *T) {
	lamp := t.online("lamp", -80)
	phone := t.online("phone", -16)
	if p := phone.see(lamp.JID(), ""); p.Priority != -80 {
		t.Errorf("the newcomer sees priority %d", p.Priority)
	}
	if p := lamp.see(phone.JID(), ""); p.Priority != -16 {
		t.Errorf("the other sees priority %d", p.Priority)
	}
	t.send(lamp.Session, &stanza.Presence{Priority: -80, Show: "away", Status: `<&>"'`, Children: []stanza.Element{{NS: "urn:x", Name: "y", Text: "z"}}})
	p := phone.see(lamp.JID(), "")
	if p.Show != "away" || p.Status != `<&>"'` || !slices.ContainsFunc(p.Children, func(e stanza.Element) bool { return e.NS == "urn:x" && e.Text == "z" }) {
		t.Errorf("presence came as %+v", p)
	}
	if got := phone.Present(); !slices.Contains(got, lamp.JID()) {
		t.Errorf("Present = %v", got)
	}
	lamp.Close()
	phone.see(lamp.JID(), "unavailable")
	if got := phone.Present(); slices.Contains(got, lamp.JID()) {
		t.Errorf("Present = %v after it went", got)
	}

	cfg := t.config("broken")
	t.cuttable(&cfg)
	cfg.NoResume = true // else the server waits for it
	broken := t.dial(cfg)
	t.send(broken, &stanza.Presence{Priority: -80})
	phone.see(broken.JID(), "")
	t.cut()
	phone.see(broken.JID(), "unavailable")

	phone.Close() // and for who loses the session, everybody is gone
	phone.see(phone.JID(), "unavailable")
}

// testOrder: messages between full addresses arrive once, in order, as they
// were (RA-021).
func testOrder(t *T) {
	a, b := t.online("a", -1), t.online("b", -1)
	const n = 1000
	pad := strings.Repeat("x", 500)
	sent := make(chan error, 1)
	go func() {
		for i := range n {
			m := stanza.Message{To: b.JID(), ID: fmt.Sprint(i), Children: []stanza.Element{{NS: "urn:x", Name: "data",
				Attrs: []stanza.Attr{{Name: "seq", Value: fmt.Sprint(i)}}, Text: pad + "&lt; <é> \t\n"}, noStore}}
			if err := a.Send(t.Context(), &m); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for i := range n {
		m := b.hear()
		data := m.Children[0]
		if m.From != a.JID() || m.To != b.JID() || m.ID != fmt.Sprint(i) || data.Attr("seq") != fmt.Sprint(i) || data.Text != pad+"&lt; <é> \t\n" {
			t.Fatalf("message %d came as %+v", i, m)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// noStore says that nothing is kept for who is not there (XEP-0334).
var noStore = stanza.Element{NS: "urn:xmpp:hints", Name: "no-store"}

// testPing: both ways (XEP-0199), and what nobody knows is refused.
func testPing(t *T) {
	cfg := t.config("ponger")
	ping.Handle(cfg.Handlers)
	b := t.dial(cfg)
	t.send(b, &stanza.Presence{Priority: -1})
	a := t.online("pinger", -1)
	a.see(b.JID(), "")
	for _, to := range []jid.JID{{}, b.JID()} {
		if d, err := ping.Send(t.Context(), a.Session, to); err != nil || d <= 0 || d > patience {
			t.Errorf("ping %s: %v, %v", to, d, err)
		}
	}
	_, err := b.Ask(t.Context(), stanza.IQ{To: a.JID(), Type: "get", Payload: &stanza.Element{NS: "urn:x-unknown", Name: "query"}})
	if e, ok := errors.AsType[*stanza.Error](err); !ok || e.Condition != stanza.ServiceUnavailable {
		t.Errorf("unknown request: %v", err)
	}
	absent := t.jid(t.Ann, "nobody")
	if _, err := ping.Send(t.Context(), a.Session, absent); !isRefusal(err) {
		t.Errorf("ping of nobody: %v", err)
	}
}

func isRefusal(err error) bool {
	_, ok := errors.AsType[*stanza.Error](err)
	return ok
}

// testRoster: get, set with a push to all resources, remove; a push of a
// stranger changes nothing (Bad19).
func testRoster(t *T) {
	pushed := make(chan roster.Item, 10)
	cfg := t.config("one")
	roster.Handle(cfg.Handlers, func(_ *xmpp.Session, it roster.Item) { pushed <- it })
	one := t.dial(cfg)
	if _, err := roster.Get(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	t.send(one, &stanza.Presence{Priority: -1})
	two := t.online("two", -1)
	two.see(one.JID(), "")
	friend := roster.Item{JID: t.jid("friend", ""), Name: "A <Friend>", Groups: []string{"Home & Garden"}}
	if err := roster.Set(t.Context(), two.Session, friend); err != nil {
		t.Fatal(err)
	}
	next := func() roster.Item {
		select {
		case it := <-pushed:
			return it
		case <-time.After(patience):
			t.Fatal("no push came")
			return roster.Item{}
		}
	}
	if it := next(); it.JID != friend.JID || it.Name != friend.Name || !slices.Equal(it.Groups, friend.Groups) || it.Subscription != roster.None {
		t.Errorf("pushed %+v", it)
	}
	items, err := roster.Get(t.Context(), one)
	if i := slices.IndexFunc(items, func(it roster.Item) bool { return it.JID == friend.JID }); err != nil || i < 0 || items[i].Name != friend.Name {
		t.Errorf("Get = %+v, %v", items, err)
	}
	_, err = two.Ask(t.Context(), stanza.IQ{To: one.JID(), Type: "set", Payload: &stanza.Element{NS: roster.NS, Name: "query",
		Children: []stanza.Element{{NS: roster.NS, Name: "item", Attrs: []stanza.Attr{{Name: "jid", Value: "evil@" + t.Domain}}}}}})
	if !isRefusal(err) {
		t.Errorf("a push from a sibling: %v", err)
	}
	if err := roster.Remove(t.Context(), two.Session, friend.JID); err != nil {
		t.Fatal(err)
	}
	if it := next(); it.JID != friend.JID || it.Subscription != roster.Removed {
		t.Errorf("pushed %+v, want the removal", it)
	}
}

// testDisco: the server's features, and a sibling's by its caps (XEP-0115).
func testDisco(t *T) {
	info := &disco.Info{
		Identities: []disco.Identity{{Category: "automation", Type: "oic-server", Name: "Lamp"}},
		Features:   []string{disco.NSInfo, ping.NS, "rest.oic.org"},
	}
	const node = "https://farreach.example/"
	cfg := t.config("lamp")
	disco.Handle(cfg.Handlers, node, info)
	lamp := t.dial(cfg)
	a := t.online("asker", -1)
	server, err := disco.Query(t.Context(), a.Session, jid.JID{}, "")
	if err != nil || !server.Has(disco.NSInfo) || len(server.Identities) == 0 {
		t.Errorf("server: %+v, %v", server, err)
	}
	if _, err := disco.Items(t.Context(), a.Session, jid.JID{}, ""); err != nil {
		t.Errorf("items of the server: %v", err)
	}
	t.send(lamp, &stanza.Presence{Priority: -1, Children: []stanza.Element{info.Caps(node)}})
	p := a.see(lamp.JID(), "")
	var cache disco.Cache
	for range 2 {
		got, err := cache.Info(t.Context(), a.Session, p)
		if err != nil || got.Ver() != info.Ver() || !got.Has("rest.oic.org") {
			t.Errorf("lamp: %+v, %v", got, err)
		}
	}
	lamp.Close()
	if got, err := cache.Info(t.Context(), a.Session, p); err != nil || !got.Has("rest.oic.org") {
		t.Errorf("from memory: %+v, %v", got, err)
	}
}

// testAbsent: who speaks to a resource that is not there is told so, and nothing
// is kept for it.
func testAbsent(t *T) {
	a := t.online("here", -1)
	gone := t.jid(t.Ann, "gone")
	t.send(a.Session, &stanza.Message{To: gone, ID: "m1", Children: []stanza.Element{{NS: "urn:x", Name: "data"}, noStore}})
	m := a.hear()
	if m.From != gone || m.ID != "m1" || m.Err == nil || m.Err.Condition != stanza.ServiceUnavailable {
		t.Errorf("came back as %+v (%v)", m, m.Err)
	}
	late := t.online("gone", -1)
	t.send(a.Session, &stanza.Message{To: late.JID(), ID: "m2"})
	if m := late.hear(); m.ID != "m2" {
		t.Errorf("the newcomer got %+v", m)
	}
}

// testLarge: what a server says that it takes, it takes; an IBB block of 65,535
// bytes needs 87,380 characters and their frame.
func testLarge(t *T) {
	a, b := t.online("a", -1), t.online("b", -1)
	for _, size := range []int{10_000, 90_000, 120_000} {
		t.send(a.Session, &stanza.Message{To: b.JID(), Children: []stanza.Element{{NS: "urn:x", Name: "data", Text: strings.Repeat("x", size)}, noStore}})
		if m := b.hear(); len(m.Children) == 0 || len(m.Children[0].Text) != size {
			t.Fatalf("%d bytes came as %.300v", size, m)
		}
	}
	limit := a.Terms().Limits.Stanza
	if limit == 0 {
		return
	}
	err := a.Send(t.Context(), &stanza.Message{To: b.JID(), Body: strings.Repeat("x", limit)})
	if !errors.Is(err, xmpp.ErrTooLarge) {
		t.Errorf("more than %d bytes: %v", limit, err)
	}
}
