package xmppd_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/store"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmppd"
)

// A roster is changed, pushed to those who have asked for it, kept over a
// restart, and not told again to whom has it (RFC 6121, section 2).
func TestRoster(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	open := func() (*world, func()) {
		s, err := store.Open(t.Context(), store.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(t, xmppd.Config{Store: s})
		return w, func() { w.stop(); s.Close() }
	}
	w, shut := open()
	a, other := w.login("ann", "a"), w.login("ann", "other")
	other.say("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
	other.expect("iq", "id", "r")
	set := func(item, want string) {
		t.Helper()
		a.say("<iq type='set' id='s'><query xmlns='jabber:iq:roster'>" + item + "</query></iq>")
		e := a.expect("iq", "id", "s")
		if got := condition(e); e.Attr("type") == "error" && got != want || (e.Attr("type") == "error") != (want != "") {
			t.Errorf("%s: %s, want %s", item, got, want)
		}
	}
	set("<item jid='Bob@home.example' name='Bob &amp; co'><group>x</group><group>y</group></item>", "")
	e := other.expect("iq", "type", "set", "to", "ann@home.example/other")
	if item := e.Children[0].Children[0]; item.Attr("name") != "Bob & co" || item.Attr("jid") != "bob@home.example" || len(item.Children) != 2 {
		t.Errorf("pushed: %+v", item)
	}
	set("<item jid='ann@home.example'/>", stanza.NotAllowed)
	set("<item jid='a@b@c'/>", stanza.JIDMalformed)
	set("<item jid='a@b'/><item jid='c@d'/>", stanza.BadRequest)
	set("<item jid='a@b'><group/></item>", stanza.NotAcceptable)
	set("<item jid='a@b' name='"+strings.Repeat("x", 1024)+"'/>", stanza.NotAcceptable)
	set("<item jid='a@b' subscription='remove'/>", stanza.ItemNotFound)
	set("<item jid='friend@elsewhere.example'/>", "")
	shut()

	w, shut = open()
	defer shut()
	a = w.login("ann", "a")
	a.say("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
	query := a.expect("iq", "id", "r").Children[0]
	if len(query.Children) != 2 || query.Children[0].Attr("name") != "Bob & co" {
		t.Errorf("after a restart: %+v", query)
	}
	a.say("<iq type='get' id='r'><query xmlns='jabber:iq:roster' ver='" + query.Attr("ver") + "'/></iq>")
	if e := a.expect("iq", "id", "r", "type", "result"); len(e.Children) != 0 {
		t.Errorf("told again: %+v", e)
	}
}

// A roster has so many contacts, and so many who ask, and no more.
func TestRosterIsBounded(t *testing.T) {
	w := newWorld(t, xmppd.Config{Limits: xmppd.Limits{Roster: 3, Pending: 2}})
	a := w.login("ann", "a")
	for i := range 4 {
		a.say(fmt.Sprintf("<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='x%d@b'/></query></iq>", i))
		e := a.expect("iq", "id", "s")
		if (i == 3) != (e.Attr("type") == "error") || i == 3 && condition(e) != stanza.ResourceConstraint {
			t.Errorf("contact %d: %+v", i, e)
		}
	}
	for _, name := range []string{"p", "q", "r"} {
		w.people.exist[name] = true
		p := w.login(name, "x")
		p.say("<presence type='subscribe' to='bob@home.example'/>")
		p.sync()
	}
	b := w.login("bob", "b")
	b.say("<presence/>")
	b.expect("presence", "from", "bob@home.example/b")
	if got := b.sync(); len(got) != 2 {
		t.Errorf("%d have asked: %+v", len(got), got)
	}
}

// A new account inherits nothing from one that had its name.
func TestNewAccountOfOldName(t *testing.T) {
	w := newWorld(t, xmppd.Config{})
	a := w.login("ann", "a")
	a.say("<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='bob@home.example'/></query></iq>")
	a.expect("iq", "id", "s", "type", "result")
	w.people.mu.Lock()
	w.people.since = time.Unix(1, 0)
	w.people.mu.Unlock()
	a.say("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
	if e := a.expect("iq", "id", "r"); len(e.Children[0].Children) != 0 {
		t.Errorf("inherited: %+v", e)
	}
}
