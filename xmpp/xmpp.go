// Package xmpp is the client's half of XMPP (RFC 6120, RFC 6121): a session on
// a server by any hand, and what keeps one for as long as it is wanted.
//
//	Config ─▶ Dial ──▶ SRV ─▶ TCP ─▶ TLS ─▶ SCRAM ─▶ bind ─▶ XEP-0198 ──▶ Session
//	             └───▶ WebSocket ────────────▶ │
//	                                                                       │
//	server ─▶ wire.Link ─▶ stream.Scanner ─▶ answer to Ask?  ─▶ who asked  │
//	                                    └─▶ inbox ─▶ Handlers, in order    │
//	server ◀─ wire.Queue ◀─ sm.Queue ◀──────────── Send, SendRaw, Ask ◀────┘
//
// Handlers get decoded values, one after another, in the order in which they
// came, and not on the goroutine that reads, unless they wait for nothing and
// say so (PromptMessage). A Client keeps a session through
// lost connections: it resumes what can be resumed, and waits between attempts
// as package backoff says.
//
// An extension is a package below this one, with a Handle to answer and plain
// functions to ask: roster, ping, disco.
package xmpp

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/sasl"
)

// Config says who logs in where. JID and Password have no default.
type Config struct {
	JID      jid.JID // with the resource to bind; without one the server chooses
	Password secret.String

	Addr   string // host:port, or wss://host:port/path for a WebSocket; "": what the DNS says about the domain of JID (RFC 6120, section 3.2; XEP-0368)
	Direct bool   // at Addr, TLS from the first byte instead of STARTTLS

	TLS      *tls.Config // nil: the system's roots. Name and least version are set: the name is the domain of JID, whatever is dialled
	Insecure bool        // no TLS at all, for tests and closed laboratories; a WebSocket is ws:// then
	Inside   bool        // Dial opens connections within this process that are logged in already: no TLS, and no Password

	Least      sasl.Mechanism // refuse weaker ones; "": SCRAM-SHA-1
	AllowPlain bool           // show the password to a server that can do nothing better, if Least allows; never without TLS
	Keys       *sasl.Keys     // shared by sessions of one account; nil: a Client has its own

	Handlers *Handlers // who gets what comes; nil: every request is refused

	KeepAlive time.Duration // silence before the server is asked whether it is there; 0: 30 s; negative: never
	Patience  time.Duration // further silence before it counts as lost; 0: 10 s
	Timeout   time.Duration // how long Ask waits at most; 0: 30 s
	NoResume  bool          // without stream management (XEP-0198)
	Resume    time.Duration // how long the server is asked to keep a lost session, in which peers take it for online; 0: as it likes

	AllowRedirect []string // hosts to which a server may send the client by see-other-host or see-other-uri

	// For a Client alone.
	Online   func(ctx context.Context, s *Session) error // called for each new session, on a goroutine of its own, as long as ctx lasts; an error ends the session
	OnChange func(Status)                                // called after each change, must return soon; nil: nobody is told
	Backoff  backoff.Backoff                             // between attempts

	Resolver Resolver // nil: net.DefaultResolver
	// Dial opens the TCP connections; nil: a net.Dialer does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	Log  *slog.Logger // nil: slog.Default()
}

// How long the steps to a session may take.
const (
	tlsTime       = 15 * time.Second
	negotiateTime = 30 * time.Second
)

// check fills in what is zero.
func (cfg Config) check() (Config, error) {
	switch {
	case cfg.JID.IsZero() || cfg.JID.Local() == "":
		return cfg, errors.New("xmpp: an address local@domain/resource is needed")
	case cfg.Insecure && (cfg.Direct || cfg.AllowPlain):
		return cfg, errors.New("xmpp: Insecure goes with neither Direct nor AllowPlain")
	case cfg.Inside && (cfg.Dial == nil || cfg.Direct || isWebSocket(cfg.Addr)):
		return cfg, errors.New("xmpp: Inside needs a Dial, and goes with neither Direct nor a WebSocket")
	}
	if isWebSocket(cfg.Addr) {
		if err := cfg.checkWebSocket(); err != nil {
			return cfg, err
		}
	}
	cfg.KeepAlive = cmp.Or(cfg.KeepAlive, 30*time.Second)
	cfg.Patience = cmp.Or(cfg.Patience, 10*time.Second)
	cfg.Timeout = cmp.Or(cfg.Timeout, 30*time.Second)
	if cfg.Handlers == nil {
		cfg.Handlers = new(Handlers)
	}
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	if cfg.Dial == nil {
		cfg.Dial = new(net.Dialer).DialContext
	}
	if cfg.OnChange == nil {
		cfg.OnChange = func(Status) {}
	}
	cfg.Log = cmp.Or(cfg.Log, slog.Default()).With("jid", cfg.JID.String())
	return cfg, nil
}

// tlsConfig is the configuration for the domain.
func (cfg *Config) tlsConfig(direct bool) *tls.Config {
	t := new(tls.Config)
	if cfg.TLS != nil {
		t = cfg.TLS.Clone()
	}
	t.ServerName = host(cfg.JID.Domain())
	t.MinVersion = max(t.MinVersion, tls.VersionTLS12)
	if t.CipherSuites == nil { // of TLS 1.2 (RFC 7590, section 3.3)
		t.CipherSuites = []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		}
	}
	t.NextProtos = nil
	if direct {
		t.NextProtos = []string{"xmpp-client"} // XEP-0368, section 3
	}
	return t
}

// host is a domain as DNS and certificates have it: without the brackets of an
// IPv6 address, and in ASCII (RFC 6120, section 3.2.1; RFC 5890).
func host(domain string) string {
	if ip, ok := strings.CutPrefix(domain, "["); ok {
		return strings.TrimSuffix(ip, "]")
	}
	if ascii, err := idna.Lookup.ToASCII(domain); err == nil {
		return ascii
	}
	return domain
}

var (
	// ErrClosed is in the chain of every error that says: this session is over.
	// Session.Err tells why.
	ErrClosed = errors.New("xmpp: session closed")

	// ErrSilent ends a connection whose server gave no sign of life for
	// Config.KeepAlive and Config.Patience together.
	ErrSilent = errors.New("xmpp: no sign of life from the server")

	// ErrEnded ends a connection that the server has closed.
	ErrEnded = errors.New("xmpp: the server closed the stream")

	// ErrNoTLS says that the server offers no TLS: nothing was told to it.
	ErrNoTLS = errors.New("xmpp: the server offers no TLS")

	// ErrClearText says that something came in clear text where TLS begins.
	ErrClearText = errors.New("xmpp: clear text where TLS begins")

	// ErrRenamed says that the server bound another address than was asked for.
	ErrRenamed = errors.New("xmpp: the server changed the address")

	// ErrTooLarge says that a stanza is longer than the server takes.
	ErrTooLarge = errors.New("xmpp: the stanza is longer than the server takes")

	// ErrBusy says that too many answers are awaited already.
	ErrBusy = errors.New("xmpp: too many requests under way")

	// ErrPanic ends a session whose handler panicked.
	ErrPanic = errors.New("xmpp: handler panicked")
)

// AuthError says that the server refused the login.
type AuthError struct {
	Condition string // RFC 6120, section 6.5
	Text      string // for people; "": none
}

func (e *AuthError) Error() string {
	if e.Text != "" {
		return fmt.Sprintf("xmpp: login refused: %s: %s", e.Condition, e.Text)
	}
	return "xmpp: login refused: " + e.Condition
}

// closedError is what open calls get when their session ends.
type closedError struct{ cause error }

func (e closedError) Error() string   { return ErrClosed.Error() + ": " + e.cause.Error() }
func (e closedError) Unwrap() []error { return []error{ErrClosed, e.cause} }

// protocolError says that a server does not do what the protocol asks of it.
type protocolError string

func (e protocolError) Error() string { return "xmpp: the server " + string(e) }
