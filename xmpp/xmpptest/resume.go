package xmpptest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/ping"
	"github.com/farreach/farreach/xmpp/roster"
	"github.com/farreach/farreach/xmpp/stanza"
)

// soon is a back-off for tests.
var soon = backoff.Backoff{Base: 50 * time.Millisecond, Max: time.Second}

// keep runs a Client until the test ends, and returns the channel of its
// changes and of its new sessions.
func (t *T) keep(cfg xmpp.Config) (changes chan xmpp.Status, sessions chan *xmpp.Session) {
	t.Helper()
	changes, sessions = make(chan xmpp.Status, 100), make(chan *xmpp.Session, 100)
	cfg.OnChange = func(s xmpp.Status) { changes <- s }
	cfg.Online = func(ctx context.Context, s *xmpp.Session) error {
		if _, err := roster.Get(ctx, s); err != nil {
			return err
		}
		if err := s.Send(ctx, &stanza.Presence{Priority: -1}); err != nil {
			return err
		}
		sessions <- s
		return nil
	}
	cfg.Backoff = soon
	c, err := xmpp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-over; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	})
	return changes, sessions
}

func await[V any](t *T, c chan V, what string) V {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s did not come", what)
		panic("not reached")
	}
}

func (t *T) awaitOnline(changes chan xmpp.Status) {
	t.Helper()
	for !await(t, changes, "online").Online {
	}
}

// testResume: a connection breaks, and nobody but the client knows (XEP-0198,
// section 5): the same session, no presence, nothing lost or doubled either
// way.
func testResume(t *T) {
	a := t.online("watcher", -1)
	cfg := t.config("resumed")
	ping.Handle(cfg.Handlers)
	l := &listener{t: t, messages: make(chan *stanza.Message, 10_000), presence: make(chan *stanza.Presence, 1000)}
	l.handle(cfg.Handlers)
	t.cuttable(&cfg)
	changes, sessions := t.keep(cfg)
	s := await(t, sessions, "a session")
	l.Session = s
	if s.Terms().Resume == 0 || t.NoResume {
		t.Skip("the server does not resume")
	}
	a.see(s.JID(), "")
	t.awaitOnline(changes)
	const rounds, n = 3, 100
	said, heard := 0, 0
	say := func(n int) {
		for range n {
			body := fmt.Sprint(said)
			said++
			t.send(s, &stanza.Message{To: a.JID(), Body: body, Children: []stanza.Element{noStore}})
			t.send(a.Session, &stanza.Message{To: s.JID(), Body: body, Children: []stanza.Element{noStore}})
		}
	}
	hear := func() {
		t.Helper()
		for ; heard < said; heard++ {
			if m := a.hear(); m.Body != fmt.Sprint(heard) {
				t.Fatalf("message %d of the client: %+v", heard, m)
			}
			if m := l.hear(); m.Body != fmt.Sprint(heard) {
				t.Fatalf("message %d to the client: %+v", heard, m)
			}
		}
	}
	for range rounds {
		say(n / 2)
		if t.WholeStanzas {
			hear()
		}
		t.cut()
		say(n / 2)
		t.awaitOnline(changes)
	}
	hear()
	for len(a.presence) > 0 {
		if p := <-a.presence; p.From == s.JID() {
			t.Errorf("presence while resuming: %+v", p)
		}
	}
	select {
	case other := <-sessions:
		t.Errorf("a second session: %v", other.JID())
	default:
	}
	if _, err := ping.Send(t.Context(), a.Session, s.JID()); err != nil {
		t.Errorf("ping: %v", err)
	}
}

// testResumeWithoutLoss: what is asked before the connection breaks is answered
// after.
func testResumeWithoutLoss(t *T) {
	a := t.online("asked", -1)
	cfg := t.config("asker")
	t.cuttable(&cfg)
	changes, sessions := t.keep(cfg)
	s := await(t, sessions, "a session")
	if s.Terms().Resume == 0 || t.NoResume {
		t.Skip("the server does not resume")
	}
	t.awaitOnline(changes)
	a.see(s.JID(), "")
	t.cut()
	if _, err := s.Ask(t.Context(), stanza.IQ{To: a.JID(), Type: "get", Payload: &stanza.Element{NS: "urn:x-unknown", Name: "query"}}); !isRefusal(err) {
		t.Errorf("Ask over a broken connection: %v", err)
	}
}

// testClient: without resumption there is a new session, everybody was gone in
// between, and calls of the old one fail.
func testClient(t *T) {
	cfg := t.config("client")
	cfg.NoResume = true
	t.cuttable(&cfg)
	l := &listener{t: t, messages: make(chan *stanza.Message, 100), presence: make(chan *stanza.Presence, 1000)}
	l.handle(cfg.Handlers)
	a := t.online("sibling", -1)
	changes, sessions := t.keep(cfg)
	first := await(t, sessions, "a session")
	t.awaitOnline(changes)
	l.see(a.JID(), "")
	a.see(first.JID(), "")
	asked := make(chan error, 1)
	go func() {
		_, err := first.Ask(t.Context(), stanza.IQ{To: jid.JID{}, Type: "get", Payload: &stanza.Element{NS: "jabber:iq:roster", Name: "query"}})
		asked <- err
	}()
	<-asked
	t.cut()
	l.see(a.JID(), "unavailable")
	a.see(first.JID(), "unavailable")
	second := await(t, sessions, "a second session")
	t.awaitOnline(changes)
	l.see(a.JID(), "")
	a.see(second.JID(), "")
	if _, err := first.Ask(t.Context(), stanza.IQ{Type: "get", Payload: &stanza.Element{NS: "urn:x", Name: "x"}}); !errors.Is(err, xmpp.ErrClosed) {
		t.Errorf("Ask of the old session: %v", err)
	}
	if first.Err() == nil || second.Err() != nil {
		t.Errorf("first: %v, second: %v", first.Err(), second.Err())
	}
}
