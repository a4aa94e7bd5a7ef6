package cloudlink

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// Config says how a device stays registered. Servers, Device and Handler have
// no default.
type Config struct {
	Servers []string    // "coaps+tcp://host[:port]" of one cloud, tried in this order
	TLS     *tls.Config // nil: the system's roots. ALPN and least version are set
	Handler oic.Handler // answers the cloud; an oic.Observer if it can be watched

	Device string            // di: a UUID
	Name   string            // for people
	App    string            // the application that registers the device; may be empty
	Links  func() []oic.Link // what to publish; called at each registration

	Code  secret.String // pairing code to sign up with, if State holds no grant that works
	State StateStore    // nil: kept in memory only, so that a restart must pair again

	Backoff   backoff.Backoff // between attempts
	KeepAlive time.Duration   // silence before a Ping; 0: 20 s; negative: never
	OnChange  func(Status)    // called after each change, must return soon; nil: nobody is told
	Log       *slog.Logger    // nil: slog.Default()

	// Dial opens the TCP connections; nil: a net.Dialer does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
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
	cfg  Config
	log  *slog.Logger
	last int // the server of the latest success
}

// New returns a Client for cfg. It does not touch the network.
func New(cfg Config) (*Client, error) {
	if len(cfg.Servers) == 0 {
		return nil, errors.New("cloudlink: no server")
	}
	for _, s := range cfg.Servers {
		u, err := coap.ParseURI(s)
		if err != nil {
			return nil, err
		}
		if u.Transport != coap.TCP {
			return nil, fmt.Errorf("cloudlink: %s: the scheme must be coap+tcp or coaps+tcp", s)
		}
	}
	if cfg.Device == "" || cfg.Handler == nil {
		return nil, errors.New("cloudlink: Device and Handler are needed")
	}
	if cfg.Links == nil {
		cfg.Links = func() []oic.Link { return nil }
	}
	if cfg.State == nil {
		cfg.State = &memory{}
	}
	if cfg.OnChange == nil {
		cfg.OnChange = func(Status) {}
	}
	return &Client{cfg: cfg, log: cmp.Or(cfg.Log, slog.Default()).With("device", cfg.Device)}, nil
}

// Run keeps the device registered until ctx ends, through any number of lost
// connections. It returns ctx.Err() after saying goodbye to the server, or an
// error with an *oic.StatusError in its chain as soon as the cloud refuses the
// device, because trying again would not help. Run is called once.
func (c *Client) Run(ctx context.Context) error {
	wait := c.cfg.Backoff
	for {
		err := c.once(ctx, &wait)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.cfg.OnChange(Status{Err: err})
		if final(err) {
			return err
		}
		d := wait.Next()
		if _, released := errors.AsType[*coap.ReleaseError](err); released {
			d = wait.Goodbye()
		}
		c.log.Warn("not registered", "err", err, "retry", d)
		if err := backoff.Sleep(ctx, d); err != nil {
			return err
		}
	}
}

// once registers the device and stays until the link is lost or ctx ends.
func (c *Client) once(ctx context.Context, wait *backoff.Backoff) error {
	link, r, until, err := c.register(ctx)
	if err != nil {
		return err
	}
	start := time.Now()
	err = c.stay(ctx, link, r, until)
	wait.Served(time.Since(start))
	if ctx.Err() != nil {
		return link.Disconnect(context.WithoutCancel(ctx))
	}
	link.Close()
	return err
}

// register tries the servers in order, the one that worked last at first. A
// refusal by one is final; a server that cannot be reached is not.
func (c *Client) register(ctx context.Context) (*Link, *Registration, time.Time, error) {
	st, err := c.cfg.State.Load()
	if err != nil {
		return nil, nil, time.Time{}, fmt.Errorf("load the registration: %w", err)
	}
	var failed []error
	for i := range c.cfg.Servers {
		n := (c.last + i) % len(c.cfg.Servers)
		link, r, until, err := c.registerAt(ctx, c.cfg.Servers[n], st)
		if err == nil {
			c.last = n
			return link, r, until, nil
		}
		failed = append(failed, err)
		if final(err) || ctx.Err() != nil {
			break
		}
	}
	return nil, nil, time.Time{}, errors.Join(failed...)
}

func (c *Client) registerAt(ctx context.Context, uri string, st State) (*Link, *Registration, time.Time, error) {
	start := time.Now()
	link, err := Connect(ctx, ServerInfo{
		URI: uri, TLS: c.cfg.TLS, Handler: c.cfg.Handler, KeepAlive: c.cfg.KeepAlive, Log: c.log, Dial: c.cfg.Dial,
	})
	if err != nil {
		return nil, nil, time.Time{}, err
	}
	r := &Registration{
		Device: c.cfg.Device, Name: c.cfg.Name, App: c.cfg.App, Links: c.cfg.Links(),
		Code: c.cfg.Code, State: st, Save: c.cfg.State.Save,
	}
	var until time.Time
	r.State, until, err = link.Register(ctx, *r)
	if err != nil {
		link.Close()
		return nil, nil, time.Time{}, err
	}
	c.log.Info("registered", "server", uri, "links", len(r.Links), "took", time.Since(start))
	c.cfg.OnChange(Status{Registered: true, Server: uri, Account: r.State.Grant.Account})
	return link, r, until, nil
}

// stay keeps the link signed in until it is lost or ctx ends.
func (c *Client) stay(ctx context.Context, link *Link, r *Registration, until time.Time) error {
	wait := c.cfg.Backoff
	for {
		if err := untilRefresh(ctx, link, until); err != nil {
			return err
		}
		renewed, err := link.renew(ctx, r)
		switch {
		case err == nil:
			until, wait = renewed, c.cfg.Backoff
		case final(err) || link.Err() != nil:
			return err
		default: // try again soon, on this link
			c.log.Warn("token not refreshed", "err", err)
			if err := backoff.Sleep(ctx, wait.Next()); err != nil {
				return err
			}
		}
	}
}

// untilRefresh returns nil when the token that is good until then is to be
// refreshed, and an error if the link or ctx ended before.
func untilRefresh(ctx context.Context, link *Link, until time.Time) error {
	var due <-chan time.Time // never, for a token without end
	if !until.IsZero() {
		t := time.NewTimer(refreshIn(time.Until(until)))
		defer t.Stop()
		due = t.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-link.Done():
		return link.Err()
	case <-due:
		return nil
	}
}

// refreshIn is when to refresh a token that is good for left: iotivity-lite's
// schedule, which leaves time for a few attempts.
func refreshIn(left time.Duration) time.Duration {
	switch {
	case left > time.Hour:
		return left - 10*time.Minute
	case left > 4*time.Minute:
		return left - 2*time.Minute
	case left > 20*time.Second:
		return left - 10*time.Second
	}
	return max(0, left/2)
}
