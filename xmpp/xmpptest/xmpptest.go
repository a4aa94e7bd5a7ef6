// Package xmpptest is what must be true of a session on any server. Each server
// there is goes through the same tests: Prosody and ejabberd here, our own where
// it is made.
//
//	Run(t, Server) ── one subtest for each statement ──▶ xmpp.Dial, xmpp.Client
package xmpptest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/sasl"
	"github.com/farreach/farreach/xmpp/stanza"
)

// Server is a server that runs, and two accounts on it.
type Server struct {
	Domain    string
	Addr, TLS string // host:port for STARTTLS, and for TLS from the first byte; a WebSocket's URI, and nothing
	Roots     *x509.CertPool
	Ann, Bob  string        // local parts
	Password  secret.String // of both

	Mechanism sasl.Mechanism // the best that the server and we have in common

	// WholeStanzas has connections break when nothing is on its way. With Prosody
	// 0.12, whose parser seems to go on in a resumed session where the old
	// connection ended, sessions broke else; from ejabberd 23.01, on a busy
	// machine, what came again was seen out of order, for a reason not known.
	WholeStanzas bool

	// NoResume has sessions not be resumed: ejabberd 23.01 waits for ever for a
	// WebSocket that breaks while it writes, and for a while has who comes back
	// wait, too.
	NoResume bool
}

// patience is how long a test waits for what must come.
const patience = time.Minute

// Run runs all tests.
func Run(t *testing.T, srv Server) {
	keys := new(sasl.Keys)
	for _, test := range []struct {
		name string
		run  func(*T)
	}{
		{"login", testLogin},
		{"refused", testRefused},
		{"TestBad30 certificate", testCertificate},
		{"resource", testResource},
		{"siblings", testSiblings},
		{"order", testOrder},
		{"ping", testPing},
		{"roster", testRoster},
		{"disco", testDisco},
		{"conflict", testConflict},
		{"absent", testAbsent},
		{"large", testLarge},
		{"resume", testResume},
		{"resume without loss", testResumeWithoutLoss},
		{"client", testClient},
		{"bytestreams", testBytestreams},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.run(&T{T: t, Server: srv, keys: keys})
		})
	}
}

// T is a test of one server.
type T struct {
	*testing.T
	Server
	keys *sasl.Keys

	mu    sync.Mutex // guards conns
	conns []net.Conn
}

// config is that of a session of ann with a resource.
func (t *T) config(resource string) xmpp.Config {
	return t.configOf(t.Ann, resource)
}

func (t *T) configOf(local, resource string) xmpp.Config {
	t.Helper()
	return xmpp.Config{
		JID: t.jid(local, resource), Password: t.Password, Addr: t.Addr, Keys: t.keys,
		TLS: &tls.Config{RootCAs: t.Roots}, Log: slog.New(slog.DiscardHandler), Handlers: new(xmpp.Handlers),
	}
}

func (t *T) jid(local, resource string) jid.JID {
	t.Helper()
	j, err := jid.New(local, t.Domain, resource)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// way is one of those into a server.
type way struct {
	name   string
	addr   string
	direct bool
}

// ways lists them.
func (t *T) ways() []way {
	if t.TLS == "" {
		return []way{{"WebSocket", t.Addr, false}}
	}
	return []way{{"STARTTLS", t.Addr, false}, {"direct", t.TLS, true}}
}

// dial opens a session that ends with the test.
func (t *T) dial(cfg xmpp.Config) *xmpp.Session {
	t.Helper()
	s, err := xmpp.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatalf("%s: %v", cfg.JID, err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// online opens a session of ann that is available with a priority, whose
// messages and presence go to channels.
func (t *T) online(resource string, priority int8) *listener {
	t.Helper()
	return t.onlineAs(t.Ann, resource, priority)
}

func (t *T) onlineAs(local, resource string, priority int8) *listener {
	t.Helper()
	l := t.listener()
	l.appear(t.configOf(local, resource), priority)
	return l
}

// listener returns one that has no session yet.
func (t *T) listener() *listener {
	return &listener{t: t, messages: make(chan *stanza.Message, 10_000), presence: make(chan *stanza.Presence, 1000)}
}

func (t *T) send(s *xmpp.Session, x xmpp.Stanza) {
	t.Helper()
	if err := s.Send(t.Context(), x); err != nil {
		t.Fatal(err)
	}
}

// listener is a session and what comes to it.
type listener struct {
	*xmpp.Session
	t        *T
	messages chan *stanza.Message
	presence chan *stanza.Presence
}

func (l *listener) handle(h *xmpp.Handlers) {
	h.OtherMessage(func(_ *xmpp.Session, m *stanza.Message) { l.messages <- m })
	h.Presence(func(_ *xmpp.Session, p *stanza.Presence) { l.presence <- p })
}

// appear opens the session and becomes available.
func (l *listener) appear(cfg xmpp.Config, priority int8) {
	l.t.Helper()
	l.handle(cfg.Handlers)
	l.Session = l.t.dial(cfg)
	l.t.send(l.Session, &stanza.Presence{Priority: priority})
	l.see(l.JID(), "") // the server has it
}

// see waits for a presence of a type from somebody.
func (l *listener) see(from jid.JID, typ string) *stanza.Presence {
	l.t.Helper()
	late := time.After(patience)
	for {
		select {
		case p := <-l.presence:
			if p.From == from && p.Type == typ {
				return p
			}
		case <-late:
			l.t.Fatalf("no presence of type %q from %s", typ, from)
		}
	}
}

// hear waits for the next message.
func (l *listener) hear() *stanza.Message {
	l.t.Helper()
	select {
	case m := <-l.messages:
		return m
	case <-time.After(patience):
		l.t.Fatal("no message came")
		return nil
	}
}

// cuttable has the connections of cfg be kept, so that cut can break them.
func (t *T) cuttable(cfg *xmpp.Config) {
	cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err == nil {
			t.mu.Lock()
			t.conns = append(t.conns, nc)
			t.mu.Unlock()
		}
		return nc, err
	}
}

// cut breaks the connections made so far, without a word.
func (t *T) cut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, nc := range t.conns {
		nc.(*net.TCPConn).SetLinger(0)
		nc.Close()
	}
	t.conns = nil
}
