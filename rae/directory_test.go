package rae

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/roster"
	"github.com/farreach/farreach/xmpp/stanza"
)

const (
	lampID = "0685b960-736f-46f7-bec0-9e6cbd61adc1"
	doorID = "0685b960-736f-46f7-bec0-9e6cbd61adc2"

	annLamp  = "ann@home.example/OIC/1.0/oic.d.light/" + lampID
	annPhone = "ann@home.example/OIC/1.0/Client/3d2c5a10-52a7-4e0f-9c1b-6b2f0a9e7b55"
	bobDoor  = "bob@home.example/OIC/1.0/oic.d.door/" + doorID
)

func mustJID(t testing.TB, s string) jid.JID {
	t.Helper()
	j, err := jid.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// census is a directory of ann's phone, and what it told.
type census struct {
	*directory
	t    testing.TB
	told []string
}

func newCensus(t testing.TB) *census {
	c := &census{t: t}
	c.directory = newDirectory(mustJID(t, annPhone), func(d Device) { c.told = append(c.told, deviceText(d)) }, slog.New(slog.DiscardHandler))
	return c
}

func deviceText(d Device) string {
	state := "away"
	if d.Available {
		state = "here"
	}
	return d.Account().Local() + " " + d.Name.Type + " " + state
}

// hear has the directory hear a presence of a type.
func (c *census) hear(from, kind string, more ...stanza.Element) {
	c.t.Helper()
	c.presence(mustJID(c.t, annPhone), &stanza.Presence{From: mustJID(c.t, from), Type: kind, Children: more})
}

func (c *census) text() string {
	var all []string
	for _, d := range c.list() {
		all = append(all, deviceText(d))
	}
	return strings.Join(all, ", ")
}

// RA-059, RA-066, A-15: presence of the own account tells who is there, and the
// address what it is. Nobody is asked.
func TestDirectoryHearsPresence(t *testing.T) {
	for _, test := range []struct {
		name, from, kind string
		want             string
	}{
		{"a sibling", annLamp, "", "ann oic.d.light here"},
		{"another version is listed", "ann@home.example/OIC/2.3/oic.d.fan/x", "", "ann oic.d.fan here"},
		{"an id that is no UUID is listed (A-07)", "ann@home.example/OIC/1.0/oic.d.fan/attic", "", "ann oic.d.fan here"},
		{"a client is no device", "ann@home.example/OIC/1.0/Client/" + lampID, "", ""},
		{"ourselves", annPhone, "", ""},
		{"a chat program", "ann@home.example/Conversations.4711", "", ""},
		{"the account itself", "ann@home.example", "", ""},
		{"an error was never here", annLamp, "error", ""},
		{"who has gone was never here", annLamp, "unavailable", ""},
		{"a wish to subscribe", annLamp, "subscribe", ""},
		{"a probe", annLamp, "probe", ""},
		{"a stranger", bobDoor, "", ""},
		{"a stranger with our name elsewhere", "ann@evil.example/OIC/1.0/oic.d.light/" + lampID, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCensus(t)
			c.hear(test.from, test.kind)
			if got := c.text(); got != test.want {
				t.Errorf("there is %q, want %q", got, test.want)
			}
		})
	}
}

// Of a device that another speaks for is known why it is away, when that is gone:
// one of the same account, which is a gateway.
func TestDirectoryGateways(t *testing.T) {
	const bridgeID, annBridge = "0685b960-736f-46f7-bec0-9e6cbd61adcb", "ann@home.example/OIC/1.0/oic.d.bridge/0685b960-736f-46f7-bec0-9e6cbd61adcb"
	behind := func(di string) stanza.Element {
		return stanza.Element{NS: nsGateway, Name: "gateway", Attrs: []stanza.Attr{{Name: "di", Value: di}}}
	}
	c := newCensus(t)
	is := func(what, gateway string, gone bool) {
		t.Helper()
		d, _ := c.get(mustJID(t, annLamp))
		if d.Gateway != gateway || d.GatewayGone != gone || slices.ContainsFunc(c.list(), func(l Device) bool { return l.JID == d.JID && l != d }) {
			t.Errorf("%s: %+v, want %q, gone %v", what, d, gateway, gone)
		}
	}
	c.hear(annBridge, "")
	c.hear(annLamp, "", behind(strings.ToUpper(bridgeID)))
	is("both are here", bridgeID, false)
	c.hear(annLamp, "unavailable")
	is("the lamp is away", bridgeID, false)
	c.hear(annBridge, "unavailable")
	is("both are away", bridgeID, true)
	c.hear(annBridge, "")
	is("the gateway is back", bridgeID, false)
	c.hear(annLamp, "", behind(bridgeID))
	c.hear(annBridge, "unavailable")
	is("the lamp alone is here", bridgeID, false)
	for _, di := range []string{"bridge", "", lampID} {
		c.hear(annLamp, "unavailable")
		c.hear(annLamp, "", behind(di))
		c.hear(annLamp, "unavailable")
		d, _ := c.get(mustJID(t, annLamp))
		is("there is no gateway "+di, d.Gateway, false)
	}
}

// RA-066: what presence shows does not matter; unavailable and errors mean away.
func TestDirectoryTellsWhoGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCensus(t)
		start := time.Now()
		stamp := start.Add(-time.Hour).UTC()
		c.hear(annLamp, "", stanza.Element{NS: "urn:xmpp:delay", Name: "delay", Attrs: []stanza.Attr{{Name: "stamp", Value: stamp.Format(time.RFC3339)}}})
		if d, _ := c.get(mustJID(t, annLamp)); !d.Since.Equal(stamp.Truncate(time.Second)) {
			t.Errorf("here since %v, want the server's stamp %v", d.Since, stamp)
		}
		c.presence(mustJID(t, annPhone), &stanza.Presence{From: mustJID(t, annLamp), Show: "dnd"})
		time.Sleep(time.Minute)
		c.hear(annLamp, "unavailable")
		c.hear(annLamp, "unavailable")
		if d, _ := c.get(mustJID(t, annLamp)); d.Available || !d.Since.Equal(start.Add(time.Minute)) {
			t.Errorf("it is %+v, want away since a minute after %v", d, start)
		}
		c.hear(annLamp, "", stanza.Element{NS: "urn:xmpp:delay", Name: "delay", Attrs: []stanza.Attr{{Name: "stamp", Value: "2999-01-01T00:00:00Z"}}})
		if d, _ := c.get(mustJID(t, annLamp)); !d.Since.Equal(time.Now()) {
			t.Errorf("here since %v, which is not yet", d.Since)
		}
		c.hear(annLamp, "error")
		want := []string{"ann oic.d.light here", "ann oic.d.light away", "ann oic.d.light here", "ann oic.d.light away"}
		if !slices.Equal(c.told, want) {
			t.Errorf("it told %q, want %q", c.told, want)
		}
	})
}

// A-15, RA-068: contacts count if their presence is subscribed to, and for as
// long as it is. The own account is never among them.
func TestDirectoryContacts(t *testing.T) {
	bob := mustJID(t, "bob@home.example")
	c := newCensus(t)
	for _, sub := range []roster.Subscription{roster.None, roster.From} {
		c.pushed(roster.Item{JID: bob, Subscription: sub})
		if c.hear(bobDoor, ""); c.text() != "" {
			t.Errorf("subscription %s: there is %q", sub, c.text())
		}
	}
	c.roster([]roster.Item{{JID: bob, Subscription: roster.To}, {JID: mustJID(t, "ann@home.example"), Subscription: roster.None}})
	c.hear(bobDoor, "")
	c.hear(annLamp, "")
	if got := c.text(); got != "ann oic.d.light here, bob oic.d.door here" {
		t.Errorf("there is %q", got)
	}
	c.roster([]roster.Item{{JID: bob, Subscription: roster.Both}})
	if c.pushed(roster.Item{JID: bob, Subscription: roster.From}); c.text() != "ann oic.d.light here" {
		t.Errorf("after bob took his permission back there is %q", c.text())
	}
	c.pushed(roster.Item{JID: bob, Subscription: roster.To})
	c.hear(bobDoor, "")
	c.roster(nil)
	want := []string{"bob oic.d.door here", "ann oic.d.light here", "bob oic.d.door away", "bob oic.d.door here", "bob oic.d.door away"}
	if !slices.Equal(c.told, want) {
		t.Errorf("it told %q, want %q", c.told, want)
	}
}

// What others can make us remember is bounded: who has been away longest is
// forgotten first, and who comes when all are here is not listed.
func TestDirectoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCensus(t)
		bob := "bob@home.example"
		c.pushed(roster.Item{JID: mustJID(t, bob), Subscription: roster.To})
		for i := range maxContact + 10 {
			c.hear(fmt.Sprintf("%s/OIC/1.0/oic.d.light/%d", bob, i), "")
		}
		if n := len(c.list()); n != maxContact {
			t.Errorf("a contact has %d devices here, want %d", n, maxContact)
		}
		w := c.watch(jid.JID{})
		defer w.stop()
		for i := range 3 {
			time.Sleep(time.Second)
			c.hear(fmt.Sprintf("%s/OIC/1.0/oic.d.light/%d", bob, i), "unavailable")
		}
		c.hear(bob+"/OIC/1.0/oic.d.light/new", "")
		if _, ok := c.get(mustJID(t, bob+"/OIC/1.0/oic.d.light/0")); ok {
			t.Error("who has been away longest is remembered")
		}
		if _, ok := c.get(mustJID(t, bob+"/OIC/1.0/oic.d.light/new")); !ok {
			t.Error("there was room for a newcomer")
		}
		for i := range maxDevices {
			c.hear(fmt.Sprintf("ann@home.example/OIC/1.0/oic.d.light/%d", i), "")
		}
		if n := len(c.list()); n != maxDevices {
			t.Errorf("%d devices, want %d", n, maxDevices)
		}
		if n := len(w.take()); n != maxDevices {
			t.Errorf("a watcher that did not look has %d devices to look at, want %d", n, maxDevices)
		}
		for i := range maxContacts + 10 {
			c.pushed(roster.Item{JID: mustJID(t, fmt.Sprintf("c%d@home.example", i)), Subscription: roster.To})
		}
		if n := len(c.contacts); n != maxContacts {
			t.Errorf("%d contacts, want %d", n, maxContacts)
		}
	})
}

// Somebody who looks on sees who is there, and then each change, merged while
// he looks away.
func TestFollowDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCensus(t)
		c.hear(annLamp, "")
		ctx, cancel := context.WithCancel(t.Context())
		var seen []string
		ended := make(chan error)
		go func() { ended <- c.follow(ctx, func(d Device) { seen = append(seen, deviceText(d)) }) }()
		synctest.Wait()
		door := "ann@home.example/OIC/1.0/oic.d.door/" + doorID
		c.hear(door, "")
		c.hear(door, "unavailable")
		synctest.Wait()
		c.hear(annLamp, "unavailable")
		c.hear(annLamp, "")
		c.hear(annLamp, "unavailable")
		synctest.Wait()
		cancel()
		if err := <-ended; err != context.Canceled {
			t.Error(err)
		}
		if first, last := seen[0], seen[len(seen)-1]; first != "ann oic.d.light here" || last != "ann oic.d.light away" || !slices.Contains(seen, "ann oic.d.door away") {
			t.Errorf("seen %q", seen)
		}
		if len(c.watchers) != 0 {
			t.Errorf("%d watchers are left", len(c.watchers))
		}
	})
}

// Who watches one device hears of it alone; also when it says once more that it
// is there, because it may have been away in between (4.8).
func TestWatchOne(t *testing.T) {
	c := newCensus(t)
	w := c.watch(mustJID(t, annLamp))
	defer w.stop()
	c.hear("ann@home.example/OIC/1.0/oic.d.door/"+doorID, "")
	for i, kind := range []string{"", "", "unavailable"} {
		c.hear(annLamp, kind)
		select {
		case <-w.news:
		default:
			t.Errorf("no news of presence %d", i)
		}
	}
	c.hear(annLamp, "unavailable")
	select {
	case <-w.news:
		t.Error("news of nothing")
	default:
	}
}
