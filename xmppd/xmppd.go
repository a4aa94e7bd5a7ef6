// Package xmppd is an XMPP server for one domain: RFC 6120, 6121, 7622 and the
// extensions that devices need. It knows nothing of what they say to each other.
//
//	socket ──▶ wire.Link ──▶ stream.Scanner ──▶ conn: TLS, SASL, bind
//	                                             │
//	                     stanza, as it was sent  ▼
//	                                  route ── from is stamped ──▶ session ──▶ wire.Queue ──▶ socket
//	                                    │                             └── unacknowledged (XEP-0198)
//	                                    ├─▶ presence ──▶ siblings, contacts
//	                                    └─▶ service: roster, disco, ping, version
//
// A WebSocket is made a stream like any other, and is taken from an HTTP server.
//
// A conn is one stream over one socket; a session is a bound resource, which
// may outlive its conn for a minute. One goroutine for each conn reads, routes
// and answers; a conn that is silent has none, but waits in a wire.Lot with all
// others, and holds no buffer. What is for the same receiver
// is written together, at the end of what one read brought.
//
// A stanza is not decoded: the scanner finds its end and its addresses, and its
// bytes pass through, with from put right. There is no federation: addresses of
// other domains are not found. Accounts that have not subscribed to each other
// do not see each other.
package xmppd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/farreach/farreach/internal/wire"
	"github.com/farreach/farreach/store"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stream"
)

// ALPN is the name of XMPP in TLS's protocol negotiation, for connections that
// begin with TLS (XEP-0368).
const ALPN = "xmpp-client"

// Config says how a server works. Domain and Accounts have no default.
type Config struct {
	Domain   string       // of all accounts
	Accounts Accounts     // who may log in
	Store    *store.Store // keeps the rosters; nil: they are forgotten with the server
	TLS      *tls.Config  // nil: there is none, which needs Insecure
	Insecure bool         // logging in without TLS is fine, for tests and closed laboratories

	// NoBinding offers no -PLUS mechanism. Clients that could bind a log-in to the
	// channel only by tls-unique, as slixmpp up to 1.8 does, cannot log in
	// otherwise: to them it looks as if somebody had taken -PLUS away.
	NoBinding bool

	Ping     time.Duration // silence of a peer before it is asked for a sign of life; 0: 20 s; negative: never
	Patience time.Duration // further silence before it counts as lost; 0: 10 s
	Resume   time.Duration // how long a lost session may be resumed, at most 60 s; 0: 60 s; negative: never
	Limits   Limits
	Relays   []Relay // STUN and TURN servers that clients may use (XEP-0215)
	Version  string  // of the software, told to whoever asks (XEP-0092)

	// Presence, if not nil, is called when the session at a full address has become
	// available, or is no more: Server.Seen tells which. It must return soon.
	Presence func(j jid.JID)

	Log *slog.Logger
}

// Limits bound what a client may do. Zero fields have the defaults of
// docs/threats.md.
type Limits struct {
	Stanza     int // bytes; 0: 262,144; less than 131,072 is taken for that
	Sessions   int // of one account; 0: 256
	StanzaRate int // of a session, per second, five times as many at once; 0: 2,000; negative: any
	ByteRate   int // of a session, per second, four times as many at once; 0: 4 MiB; negative: any
	Roster     int // contacts of an account; 0: 1,000
	Pending    int // of these that ask for a subscription; 0: 100
}

// What the zero values of Config stand for.
const (
	DefaultPing     = 20 * time.Second
	DefaultPatience = 10 * time.Second
	DefaultResume   = 60 * time.Second

	leastStanza = 131_072 // an IBB block of 65,535 bytes must fit (XEP-0047)
)

func (cfg Config) withDefaults() Config {
	cfg.Ping = or(cfg.Ping, DefaultPing)
	cfg.Patience = or(max(cfg.Patience, 0), DefaultPatience)
	cfg.Resume = min(or(cfg.Resume, DefaultResume), DefaultResume)
	l := &cfg.Limits
	l.Stanza = max(or(l.Stanza, 262_144), leastStanza)
	l.Sessions = or(l.Sessions, 256)
	l.StanzaRate = or(l.StanzaRate, 2_000)
	l.ByteRate = or(l.ByteRate, 4<<20)
	l.Roster = or(l.Roster, 1_000)
	l.Pending = or(l.Pending, 100)
	if cfg.Presence == nil {
		cfg.Presence = func(jid.JID) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return cfg
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Server is an XMPP server. Its methods may be called from several goroutines.
type Server struct {
	cfg    Config
	domain jid.JID
	self   []byte      // the domain as it stands in an attribute
	tls    *tls.Config // of STARTTLS; nil: there is none
	direct *tls.Config // of connections that begin with TLS
	leaf   atomic.Pointer[x509.Certificate]
	log    *slog.Logger

	jids      jid.Cache
	rosters   rosters
	view      interface{ Close() } // of rosters; nil: they are not stored
	registry  registry
	strangers wire.Strangers[*conn]
	idle      wire.Lot[*parked]
	shaking   gate
	Counters  Counters

	mu    sync.Mutex // guards conns
	conns map[*conn]bool
}

// Counters say what a server has done since it was made.
type Counters struct {
	Connections  atomic.Int64 // that were accepted
	LogIns       atomic.Int64
	LogInsFailed atomic.Int64
	Resumed      atomic.Int64 // sessions
	Sessions     atomic.Int64 // that there are now
	Routed       atomic.Int64 // stanzas that were handed to a session
	Refused      atomic.Int64 // stanzas that were answered with an error
	Overflows    atomic.Int64 // sessions that ended because they took too little
}

// New returns a server. It reads the rosters, and listens to nobody yet. Close
// is to be called at the end.
func New(ctx context.Context, cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	domain, err := jid.New("", cfg.Domain, "")
	switch {
	case err != nil:
		return nil, fmt.Errorf("xmppd: domain: %w", err)
	case cfg.Accounts == nil:
		return nil, errors.New("xmppd: no accounts")
	case cfg.TLS == nil && !cfg.Insecure:
		return nil, errors.New("xmppd: no certificate, and not insecure")
	}
	s := &Server{cfg: cfg, domain: domain, log: cfg.Log, conns: map[*conn]bool{}, shaking: make(gate, gatePlaces), rosters: rosters{accounts: cfg.Accounts}}
	s.self = stream.AppendEscaped(nil, domain.String())
	s.registry.init()
	s.setTLS()
	if cfg.Store == nil {
		s.rosters.table = &memory{entries: map[string]*roster{}}
		return s, nil
	}
	t, err := store.OpenTable[roster](ctx, cfg.Store, "xmpp-rosters", 0)
	if err != nil {
		return nil, fmt.Errorf("xmppd: %w", err)
	}
	view, err := store.OpenView(ctx, t, nil)
	if err != nil {
		return nil, fmt.Errorf("xmppd: %w", err)
	}
	s.rosters.table, s.view = view, view
	return s, nil
}

// Close ends what New started. Serve must have returned.
func (s *Server) Close() {
	s.idle.Close()
	if s.view != nil {
		s.view.Close()
	}
}

// setTLS derives the two configurations, and takes note of the certificate that
// clients are shown, to which they may bind their log-in.
func (s *Server) setTLS() {
	if s.cfg.TLS == nil {
		return
	}
	s.tls = s.cfg.TLS.Clone()
	s.tls.MinVersion = max(s.tls.MinVersion, tls.VersionTLS12)
	s.tls.NextProtos = nil
	s.tls.DynamicRecordSizingDisabled = true // stanzas that wait are many, or there is one
	if get := s.tls.GetCertificate; get != nil {
		s.tls.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			cert, err := get(hello)
			if err == nil && cert.Leaf != s.leaf.Load() {
				s.leaf.Store(cert.Leaf)
			}
			return cert, err
		}
	} else if len(s.tls.Certificates) > 0 {
		s.leaf.Store(leafOf(&s.tls.Certificates[0]))
	}
	s.direct = s.tls.Clone()
	s.direct.NextProtos = []string{ALPN}
}

func leafOf(cert *tls.Certificate) *x509.Certificate {
	if cert.Leaf != nil || len(cert.Certificate) == 0 {
		return cert.Leaf
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return nil
	}
	return leaf
}

// Serve accepts connections, on which clients begin in clear and go on with TLS
// (RFC 6120, section 5), until ctx ends. Then it tells them that the server
// shuts down, and returns ctx.Err() when the last has ended. Another error is
// one of ln that will not pass.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	return s.serve(ctx, ln, false)
}

// ServeTLS is Serve for connections that begin with TLS (XEP-0368).
func (s *Server) ServeTLS(ctx context.Context, ln net.Listener) error {
	if s.direct == nil {
		return errors.New("xmppd: no certificate")
	}
	return s.serve(ctx, ln, true)
}

func (s *Server) serve(ctx context.Context, ln net.Listener, direct bool) error {
	var tasks sync.WaitGroup
	err := wire.Accept(ctx, ln, func(nc net.Conn) { s.welcome(nc, direct, &tasks) })
	s.mu.Lock()
	var mine []*conn
	for c := range s.conns {
		if c.tasksOf == &tasks {
			mine = append(mine, c)
		}
	}
	s.mu.Unlock()
	for _, c := range mine {
		c.conclude(errShutdown, &stream.Error{Condition: stream.SystemShutdown})
	}
	tasks.Wait()
	s.registry.endWithout(&tasks, errShutdown)
	return err
}

// welcome runs the connection over nc, if there is room for it.
func (s *Server) welcome(nc net.Conn, direct bool, tasks *sync.WaitGroup) {
	if !s.strangers.Room(nc.RemoteAddr()) {
		nc.Close()
		return
	}
	c := newConn(s, nc, direct, tasks)
	s.Counters.Connections.Add(1)
	s.mu.Lock()
	s.conns[c] = true
	s.mu.Unlock()
	s.strangers.Add(c, nc.RemoteAddr())
	tasks.Add(1)
	go c.begin()
}

// forget is the last that happens to a connection.
func (s *Server) forget(c *conn) {
	s.strangers.Remove(c)
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// Why connections and sessions end, as it is logged.
var (
	errShutdown = errors.New("the server shuts down")
	errClosed   = errors.New("closed by the client")
	errConflict = errors.New("another connection took the resource")
	errRevoked  = errors.New("the log-in no longer holds")
	errSilent   = errors.New("no sign of life from the client")
	errLate     = errors.New("not logged in or bound in time")
	errPanic    = errors.New("the server failed")
	errSlow     = errors.New("the client takes too little of what it gets")
	errResumed  = errors.New("resumed on another connection")
)

// peerAddr is the address of a connection's other end; zero for what has none.
func peerAddr(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
