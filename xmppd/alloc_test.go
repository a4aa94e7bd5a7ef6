package xmppd

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/internal/wire"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stream"
)

// sink is a socket that takes everything and brings nothing.
type sink struct{ net.Conn }

func (sink) Next() (*wire.Buffer, error)         { return nil, io.EOF }
func (sink) Try(b []byte) (int, error)           { return len(b), nil }
func (sink) Pending() bool                       { return false }
func (sink) WriteBefore([]byte, time.Time) error { return nil }
func (sink) Close() error                        { return nil }
func (sink) RemoteAddr() net.Addr                { return nil }
func (sink) SetReadDeadline(time.Time) error     { return nil }

// nobody is Accounts that are never asked.
type nobody struct{}

func (nobody) Begin(context.Context, netip.Addr, string) (LogIn, error) { return nil, errNoAccount }
func (nobody) Since(string) (time.Time, bool)                           { return time.Time{}, true }

// routing returns two bound connections of ann, and one of bob, whom ann may
// write to.
func routing(t testing.TB) (a, b, other *conn) {
	srv, err := New(t.Context(), Config{Domain: "home.example", Accounts: nobody{}, Insecure: true, Ping: -1,
		Limits: Limits{StanzaRate: -1, ByteRate: -1}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	bind := func(addr string) *conn {
		c := newConn(srv, sink{}, false, new(sync.WaitGroup))
		full, err := jid.Parse(addr)
		if err != nil {
			t.Fatal(err)
		}
		s := &session{srv: srv, jid: full, attr: stream.AppendEscaped(nil, addr), conn: c, tasks: c.tasksOf, born: time.Now()}
		srv.registry.add(s, 10)
		c.user, c.opened = s.user, true
		c.bind(s)
		c.scan.Next([]byte("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='home.example' version='1.0'>"))
		return c
	}
	a, b, other = bind("ann@home.example/OIC/1.0/Client/1"), bind("ann@home.example/OIC/1.0/oic.d.light/2"), bind("bob@home.example/x")
	for _, pair := range [][2]*conn{{a, other}, {other, a}} {
		if err := srv.changeContact(newBatch(nil), pair[0].user.bare, pair[1].user.bare, func(c *contact) bool { c.Sub = subBoth; return true }); err != nil {
			t.Fatal(err)
		}
	}
	return a, b, other
}

// feed hands bytes to a connection as if one read had brought them.
func feed(t testing.TB, c *conn, text string) {
	b := wire.Borrow()
	b.B = append(b.B, text...)
	if !c.step(b) {
		t.Fatal(c.reason())
	}
}

// kinds are what is routed: to a sibling, to another account, with a header's
// language, as an answer, and to a session that acknowledges.
func kinds(t testing.TB) map[string]func() {
	a, b, other := routing(t)
	managedA, managedB, _ := routing(t)
	managedB.session.managed = &managed{}
	german, _, _ := routing(t)
	german.lang = []byte("de")
	data := "<data xmlns='http://jabber.org/protocol/ibb' sid='ra7f3c1da0' seq='0'>" + strings.Repeat("A", 600) + "</data>"
	to := " to='" + b.session.jid.String() + "'"
	message := "<message" + to + " id='d0'>" + data + "</message>"
	text := map[string]string{
		"message": message, "joined": strings.Repeat(message, 10),
		"account": "<message to='" + other.session.jid.String() + "'>" + data + "</message>",
		"forged":  "<message from='x@y/z'" + to + ">" + data + "</message>",
		"iq":      "<iq type='set' id='7'" + to + ">" + data + "</iq>",
		"result":  "<iq type='result' id='7'" + to + "/>",
	}
	all := map[string]func(){
		"cut":      func() { feed(t, a, message[:300]); feed(t, a, message[300:]) },
		"language": func() { feed(t, german, message) },
		"managed": func() {
			feed(t, managedA, message)
			s := managedB.session
			s.mu.Lock()
			defer s.mu.Unlock()
			s.managed.unsent.Ack(s.managed.unsent.Sent())
		},
	}
	for name, said := range text {
		all[name] = func() { feed(t, a, said) }
	}
	return all
}

// Routing a stanza allocates nothing, wherever it goes.
func TestRoutingAllocatesNothing(t *testing.T) {
	if RaceEnabled {
		t.Skip("the race detector allocates")
	}
	for name, f := range kinds(t) {
		for range 100 {
			f()
		}
		if n := testing.AllocsPerRun(1000, f); n > 0.5 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkRoute(b *testing.B) {
	for name, f := range kinds(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
}
