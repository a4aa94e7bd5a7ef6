package xmppd_test

import (
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmppd"
)

// Every state has its deadline: until the log-in, until binding, for a stanza
// (threats rule 7).
func TestDeadlinesOfStreams(t *testing.T) {
	for _, tt := range []struct {
		name  string
		reach func(p *peer)
		after time.Duration
	}{
		{"nothing", func(*peer) {}, 30 * time.Second},
		{"half a header", func(p *peer) { p.say("<stream:stream") }, 30 * time.Second},
		{"header", func(p *peer) { p.header() }, 30 * time.Second},
		{"log-in", func(p *peer) { p.authenticate("ann", password) }, 30 * time.Second},
		{"half a stanza", func(p *peer) {
			p.authenticate("ann", password)
			p.bind("x")
			p.say("<message><body>")
			go func() {
				for range 70 {
					time.Sleep(time.Second)
					p.nc.Write([]byte("x"))
				}
			}()
		}, 60 * time.Second},
	} {
		inBubble(t, xmppd.Config{}, func(w *world) {
			p := w.connect()
			p.wait = time.Hour
			tt.reach(p)
			start := time.Now()
			p.ends("connection-timeout")
			if d := time.Since(start); d < tt.after || d > tt.after+2*time.Second {
				t.Errorf("%s: ended after %v, want %v", tt.name, d, tt.after)
			}
		})
	}
}

// A silent client is pinged. One that answers stays, one that does not is gone
// after the ping time and the patience, and its siblings know.
func TestPing(t *testing.T) {
	inBubble(t, xmppd.Config{}, func(w *world) {
		a, b := w.appear("ann", "a"), w.appear("ann", "b")
		a.sync()
		b.sync()
		start := time.Now()
		a.wait, b.wait = time.Hour, time.Hour
		go func() { // b takes what comes and says nothing, as a cut cable does
			for {
				if _, err := b.next(); err != nil {
					return
				}
			}
		}()
		pings := 0
		for {
			it := a.item()
			e, err := stanza.Parse(it.Raw, "jabber:client")
			if err != nil {
				t.Fatal(err)
			}
			if e.Name == "iq" {
				if e.Attr("from") != domain || e.Attr("type") != "get" || e.Children[0].NS != "urn:xmpp:ping" || len(e.Attr("id")) < 26 {
					t.Errorf("pinged by %s", it.Raw)
				}
				pings++
				a.say("<iq type='result' to='home.example' id='" + e.Attr("id") + "'/>")
				continue
			}
			if e.Name != "presence" || e.Attr("type") != "unavailable" || e.Attr("from") != "ann@home.example/b" {
				t.Fatalf("got %s", it.Raw)
			}
			break
		}
		if d := time.Since(start); d != 30*time.Second || pings != 1 {
			t.Errorf("gone after %v and %d pings", d, pings)
		}
		time.Sleep(10 * time.Minute)
		if !strings.Contains(w.logs.String(), "no sign of life") {
			t.Error("the log does not say why")
		}
	})
}

// Presence that changes too often is told once in a while, the newest at last.
func TestPresenceRate(t *testing.T) {
	inBubble(t, xmppd.Config{}, func(w *world) {
		a, b := w.appear("ann", "a"), w.appear("ann", "b")
		a.sync()
		b.sync()
		const changes = 200
		for range changes {
			a.say("<presence><status>x</status></presence>")
		}
		a.say("<presence id='last'/>")
		got := 0
		for {
			e := b.expect("presence", "from", "ann@home.example/a")
			if got++; e.Attr("id") == "last" {
				break
			}
			if got > 20 {
				t.Fatal("all of them are told")
			}
		}
		a.nc.Close()
		b.expect("presence", "type", "unavailable")
	})
}

// Clients are told when the server shuts down.
func TestShutdown(t *testing.T) {
	w := newWorld(t, xmppd.Config{})
	p, q := w.appear("ann", "p"), w.connect()
	q.header()
	go w.stop()
	p.ends("system-shutdown")
	q.ends("system-shutdown")
	w.stop()
}
