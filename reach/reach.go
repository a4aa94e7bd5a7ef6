// Package reach finds the way to a device: one oic.Observer for what a person
// typed.
//
//	"lamp/a/light" ── ParseTarget ──▶ Target ── Way.Device ──▶ di ──▶ oic.Observer
//	                                              /oic/res of the cloud
//	"coap+tcp://host/a/light" ──▶ Target ── Direct ─────────────▶ oic.Observer
//	LAN ── /oic/res to all ──▶ ParseDiscovery ── /oic/d of each ──▶ LANDevice
//
// Today a device is reached through its cloud, or straight over CoAP on TCP,
// TLS, WebSocket, UDP or DTLS.
package reach

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// Config says where a person's devices are. Only Cloud, Account and Token have
// no default.
type Config struct {
	Cloud   string        // "coaps+tcp://host[:port]" or "coaps+ws://host[:port]"
	Also    []string      // further addresses of the same cloud; Direct signs in there too
	TLS     *tls.Config   // nil: the system's roots
	Account string        // the uid
	Token   secret.String // an API token
	Shared  SharedKey     // for coaps URIs; without one certificates count
	Log     *slog.Logger  // nil: slog.Default()
}

// SharedKey is what both ends of a DTLS session have had before. Nothing else
// proves then who they are.
type SharedKey struct {
	Identity []byte        // what we are called by the other end
	Key      secret.String // its bytes; empty: there is none
}

// Way is an open way to all devices of an account.
type Way struct {
	link *cloudlink.Link
}

// Dial connects to the cloud and signs in. The error is a *Error.
func Dial(ctx context.Context, cfg Config) (*Way, error) {
	link, err := connect(ctx, cfg.Cloud, cfg)
	if err != nil {
		return nil, err
	}
	if err := signIn(ctx, link, cfg); err != nil {
		link.Close()
		return nil, err
	}
	return &Way{link}, nil
}

func connect(ctx context.Context, uri string, cfg Config) (*cloudlink.Link, error) {
	link, err := cloudlink.Connect(ctx, cloudlink.ServerInfo{URI: uri, TLS: cfg.TLS, Log: cfg.Log})
	if err == nil {
		return link, nil
	}
	e := &Error{Kind: NoConnect, Err: err, Hint: "is the server running, and is this its address?"}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		e.Kind, e.Hint = NotAllowed, "the server's certificate is not one that this profile trusts"
	}
	return nil, e
}

func signIn(ctx context.Context, link *cloudlink.Link, cfg Config) error {
	_, err := link.SignIn(ctx, cloudlink.Login{Account: cfg.Account, Access: cfg.Token})
	if err == nil {
		return nil
	}
	e := &Error{Kind: KindOf(err), Err: err}
	if e.Kind == NotAllowed {
		e.Hint = "the token of this profile is not valid any more, or not for this account"
	}
	return e
}

// Devices lists what can be reached.
func (w *Way) Devices(ctx context.Context) ([]cloudlink.Publication, error) {
	return w.link.Discover(ctx)
}

// Device returns the device called name, and its di. The name is a di, the
// device's own name, or the beginning of a di that no other device shares. The
// error is a *Error of kind NotFound or Ambiguous, or that of asking the cloud.
func (w *Way) Device(ctx context.Context, name string) (oic.Observer, string, error) {
	all, err := w.Devices(ctx)
	if err != nil {
		return nil, "", err
	}
	di, err := find(all, name)
	if err != nil {
		return nil, "", err
	}
	return w.link.Device(di), di, nil
}

// Done is closed when the way has ended, by Close or by the other end.
func (w *Way) Done() <-chan struct{} { return w.link.Done() }

// Close ends the way.
func (w *Way) Close() error { return w.link.Close() }

// Server is a CoAP server that is reached straight.
type Server struct {
	link line
}

// line is what leads to a server: a connection, or a socket for datagrams.
type line interface {
	Peer() oic.Observer
	Ping(ctx context.Context) (time.Duration, error)
	Done() <-chan struct{}
	Close() error
}

// Direct connects to the CoAP server of t, which must have a URI. If that is
// cfg's cloud, it signs in there. A server that is reached by datagrams need not
// be there for that: requests will tell. The error is a *Error.
func Direct(ctx context.Context, t Target, cfg Config) (*Server, error) {
	if t.URI == "" {
		return nil, usagef("", "%s is not a CoAP server's address", t)
	}
	if u, err := coap.ParseURI(t.URI); err == nil && u.Transport == coap.UDP {
		return directDatagram(ctx, u, cfg)
	}
	link, err := connect(ctx, t.URI, cfg)
	if err != nil {
		return nil, err
	}
	if cfg.isCloud(t.URI) {
		if err := signIn(ctx, link, cfg); err != nil {
			link.Close()
			return nil, err
		}
	}
	return &Server{link}, nil
}

// Observer returns what the server has.
func (s *Server) Observer() oic.Observer { return s.link.Peer() }

// Done is closed when the connection has ended, by Close or by the server.
func (s *Server) Done() <-chan struct{} { return s.link.Done() }

// Close ends the connection.
func (s *Server) Close() error { return s.link.Close() }

// isCloud reports whether uri is an address of the cloud. The scheme counts: a
// token for TLS is not for a plain connection.
func (cfg *Config) isCloud(uri string) bool {
	server, ok := serverOf(uri)
	same := func(other string) bool {
		cloud, good := serverOf(other)
		return ok && good && cloud == server
	}
	return same(cfg.Cloud) || slices.ContainsFunc(cfg.Also, same)
}

// serverOf is the server that a URI leads to. All names of this machine are
// one.
func serverOf(uri string) (coap.URI, bool) {
	u, err := coap.ParseURI(uri)
	if ip, notIP := netip.ParseAddr(u.Host); u.Host == "localhost" || notIP == nil && ip.IsLoopback() {
		u.Host = "localhost"
	}
	u.Path, u.Query = "", ""
	return u, err == nil
}

func notFound(name, hint string) error {
	return &Error{Kind: NotFound, Err: fmt.Errorf("no device %q", name), Hint: hint}
}
