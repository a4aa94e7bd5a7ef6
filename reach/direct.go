package reach

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
)

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
