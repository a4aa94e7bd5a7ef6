package cloudlink

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"time"
)

// ServerConfig says how a cloud meets its devices. Only Backend has no default.
type ServerConfig struct {
	Backend Backend

	// AllowPlain lets a peer that is not on this machine sign in without TLS:
	// its token can then be read on the way.
	AllowPlain bool

	// Address is the host:port that people reach this server at, for the
	// endpoints in /oic/res; empty: where each connection came in.
	Address string

	SignIn    time.Duration // until a connection must be signed in; 0: 30 s
	Request   time.Duration // for a device to answer; 0: 10 s
	KeepAlive time.Duration // silence before a Ping; 0: 20 s; negative: never
	Log       *slog.Logger  // nil: slog.Default()
}

// Server is the cloud's half. It may serve several listeners at once.
type Server struct {
	cfg ServerConfig
}

// NewServer returns a Server for cfg.
func NewServer(cfg ServerConfig) *Server { return &Server{cfg: cfg} }

// Serve accepts devices and people from ln until ctx ends: over TLS if
// tlsConfig is not nil. It then says goodbye to all, waits at most 5 s for
// them, and returns after the last of its goroutines has ended.
func (s *Server) Serve(ctx context.Context, ln net.Listener, tlsConfig *tls.Config) error {
	return errors.ErrUnsupported
}
