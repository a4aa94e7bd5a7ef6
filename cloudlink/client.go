package cloudlink

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"time"

	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// Config says how a device stays registered. Servers, Device and Handler have
// no default.
type Config struct {
	Servers []string    // "coaps+tcp://host[:port]", tried in this order
	TLS     *tls.Config // nil: the system's roots. ALPN and least version are set
	Handler oic.Handler // answers the cloud; an oic.Observer if it can be watched

	Device string            // di: a UUID
	Name   string            // for people
	Type   string            // "oic.d.light"; may be empty
	App    string            // the application that registers the device; may be empty
	Links  func() []oic.Link // what to publish; called at each registration

	Code  secret.String // pairing code to sign up with, if State holds no grant
	State StateStore    // nil: kept in memory only, so that a restart must pair again

	Backoff   backoff.Backoff // between attempts
	KeepAlive time.Duration   // silence before a Ping; 0: 20 s; negative: never
	OnChange  func(Status)    // called after each change, must return soon; nil: nobody is told
	Log       *slog.Logger    // nil: slog.Default()
}

// Status is what a Client tells about itself.
type Status struct {
	Registered bool
	Server     string // the URI
	Account    string // once it is known
	Err        error  // why it is not registered; nil: not yet tried
}

// Client keeps a device registered at a cloud.
type Client struct {
	cfg Config
}

// New returns a Client for cfg. It does not touch the network.
func New(cfg Config) (*Client, error) { return &Client{cfg: cfg}, nil }

// Run keeps the device registered until ctx ends, through any number of lost
// connections. It returns ctx.Err() after saying goodbye to the server, or an
// *oic.StatusError as soon as the cloud refuses the device, because trying
// again would not help.
func (c *Client) Run(ctx context.Context) error { return errors.ErrUnsupported }
