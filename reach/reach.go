// Package reach finds the way to a device: one oic.Observer for what a person
// typed.
//
//	"lamp/a/light" ── ParseTarget ──▶ Target ──▶ Way.Device ── /oic/res ──▶ di
//	coap+tcp://host/a/light ──▶ Target ──▶ Direct                           │
//	                                                 oic.Observer ◀─────────┘
//
// Today a device is reached through its cloud, or straight over CoAP on TCP or
// TLS.
package reach

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// Config says where a person's devices are. Only Cloud, Account and Token have
// no default.
type Config struct {
	Cloud   string // "coaps+tcp://host[:port]"
	TLS     *tls.Config
	Account string
	Token   secret.String // an API token
	Log     *slog.Logger  // nil: slog.Default()
}

// Way is an open way to all devices of an account.
type Way struct{}

// Dial connects to the cloud and signs in. The error is a *Error.
func Dial(ctx context.Context, cfg Config) (*Way, error) { return nil, errors.ErrUnsupported }

// Device returns the device called name, which is a di, the beginning of one
// that no other device shares, or the device's own name, and its di. The error
// is a *Error of kind NotFound or Ambiguous, or as for Devices.
func (w *Way) Device(ctx context.Context, name string) (oic.Observer, string, error) {
	return nil, "", errors.ErrUnsupported
}

// Devices lists what can be reached.
func (w *Way) Devices(ctx context.Context) ([]cloudlink.Publication, error) {
	return nil, errors.ErrUnsupported
}

// Close ends the way.
func (w *Way) Close() error { return errors.ErrUnsupported }

// Server is a CoAP server that is reached straight.
type Server struct{}

// Direct connects to the CoAP server of t, whose scheme is coap+tcp or
// coaps+tcp. If that is cfg's cloud, it signs in there. The error is a *Error.
func Direct(ctx context.Context, t Target, cfg Config) (*Server, error) {
	return nil, errors.ErrUnsupported
}

// Observer returns what the server has.
func (s *Server) Observer() oic.Observer { return nil }

// Close ends the connection.
func (s *Server) Close() error { return errors.ErrUnsupported }
