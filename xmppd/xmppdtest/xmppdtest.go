// Package xmppdtest runs our XMPP server inside a test: on loopback, or in
// memory, where time may be fake.
//
//	Run(t, Config) ──▶ xmppd.Server ◀── Server.Client: an xmpp.Config of an account
//	t ends: the server too
package xmppdtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/sasl"
	"github.com/farreach/farreach/xmppd"
)

// Password is that of all accounts.
const Password = secret.String("venus and mars")

// Domain is what a Config without one serves.
const Domain = "home.example"

// Config says how a server is. The zero value serves ann, bob and eve on
// loopback, with TLS.
type Config struct {
	Accounts []string // local parts; nil: ann, bob, eve
	Names    []string // of its certificate; nil: the domain
	Memory   bool     // no sockets, and no TLS unless there are Names: for a bubble of testing/synctest

	xmppd.Config // Accounts is ours; TLS: nil for a certificate of ours; Domain "": home.example
}

// Server is a server that runs.
type Server struct {
	*xmppd.Server
	Domain string
	Addr   string         // host:port for STARTTLS
	TLS    string         // host:port for TLS from the first byte; "" in memory
	Roots  *x509.CertPool // whom its certificate is from; nil without TLS

	clear bool                                                              // without TLS
	dial  func(ctx context.Context, network, addr string) (net.Conn, error) // nil: as usual
	stop  func()
}

// keys spare the tests deriving the same again and again.
var keys = new(sasl.Keys)

// Run starts a server, and ends it with the test.
func Run(t testing.TB, cfg Config) *Server {
	t.Helper()
	if cfg.Accounts == nil {
		cfg.Accounts = []string{"ann", "bob", "eve"}
	}
	if cfg.Domain == "" {
		cfg.Domain = Domain
	}
	clear := cfg.Memory && cfg.Names == nil
	if cfg.Names == nil {
		cfg.Names = []string{cfg.Domain}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{Domain: cfg.Domain}
	cfg.Config.Accounts = people(cfg.Accounts)
	cfg.Insecure, s.clear = clear, clear
	if !clear && cfg.TLS == nil {
		cfg.TLS, s.Roots = certificate(t, cfg.Names)
	}
	var listeners []net.Listener
	if cfg.Memory {
		p := newPipes()
		s.Addr, s.dial = "memory:5222", p.dial
		listeners = []net.Listener{p}
	} else {
		listeners = []net.Listener{listen(t), listen(t)}
		s.Addr, s.TLS = listeners[0].Addr().String(), listeners[1].Addr().String()
	}
	srv, err := xmppd.New(t.Context(), cfg.Config)
	if err != nil {
		t.Fatal(err)
	}
	s.Server = srv
	s.serve(t, listeners)
	return s
}

func listen(t testing.TB) net.Listener {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// serve serves until the test ends or Stop is called.
func (s *Server) serve(t testing.TB, listeners []net.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	tasks.Go(func() { s.Serve(ctx, listeners[0]) })
	if len(listeners) > 1 {
		tasks.Go(func() { s.ServeTLS(ctx, listeners[1]) })
	}
	s.stop = sync.OnceFunc(func() {
		cancel()
		tasks.Wait()
		s.Server.Close()
	})
	t.Cleanup(s.stop)
}

// Stop shuts the server down, as its end does.
func (s *Server) Stop() { s.stop() }

// Client is how an account logs in, with the resource or, if that is "", one
// of the server's choice.
func (s *Server) Client(name, resource string) xmpp.Config {
	j, err := jid.New(name, s.Domain, resource)
	if err != nil {
		panic(err)
	}
	cfg := xmpp.Config{JID: j, Password: Password, Addr: s.Addr, Keys: keys, Dial: s.dial, Insecure: s.clear,
		Log: slog.New(slog.DiscardHandler)}
	if s.Roots != nil {
		cfg.TLS = &tls.Config{RootCAs: s.Roots}
	}
	return cfg
}

// certificate signs itself. It is valid at any time, that of a bubble too.
func certificate(t testing.TB, names []string) (*tls.Config, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: names,
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}}}, roots
}
