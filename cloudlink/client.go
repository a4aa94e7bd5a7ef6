package cloudlink

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/internal/kept"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// Config says how a device stays registered. Servers, Device and Handler have
// no default.
type Config struct {
	Servers []string    // "coaps+tcp://host[:port]" or "coaps+ws://…" of one cloud, tried in this order from the last good one on
	TLS     *tls.Config // nil: the system's roots. ALPN and least version are set
	Handler oic.Handler // answers the cloud; an oic.Observer if it can be watched

	Device string            // di: a UUID
	Name   func() string     // for people; called with Links. nil: none
	App    string            // the application that registers the device; may be empty
	Links  func() []oic.Link // what to publish; called at each registration and after Republish

	Gateway string // di of the device that speaks for this one; "": it speaks for itself

	Code     secret.String // pairing code to sign up with, if State holds no grant that works; used once
	Provider string        // who gave the code (authprovider); some clouds want to know it
	Dialect  Dialect       // how the cloud is spoken to
	State    StateStore    // nil: kept in memory only, so that a restart must pair again

	AllowRedirect []string // hosts, beside those of Servers, to which a server may send the device

	Backoff   backoff.Backoff // between attempts; between rounds, with several servers
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
	cfg   Config
	log   *slog.Logger
	again chan struct{} // has one after Republish

	// Only Run and Leave use these.
	wait    backoff.Backoff
	last    string               // the server of the latest success, or to be tried next; empty: none yet
	from    string               // that said goodbye last
	lost    int                  // links that did not last, since one did
	holdOff map[string]time.Time // servers that asked not to come back before

	mu   sync.Mutex // guards link
	link *Link      // nil: not registered
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
		if u.Transport == coap.UDP {
			return nil, fmt.Errorf("cloudlink: %s: %w", s, errScheme)
		}
	}
	if cfg.Device == "" || cfg.Handler == nil {
		return nil, errors.New("cloudlink: Device and Handler are needed")
	}
	if !cfg.Dialect.valid() {
		return nil, fmt.Errorf("cloudlink: no dialect %q", cfg.Dialect)
	}
	if cfg.Links == nil {
		cfg.Links = func() []oic.Link { return nil }
	}
	if cfg.Name == nil {
		cfg.Name = func() string { return "" }
	}
	if cfg.State == nil {
		cfg.State = new(kept.Memory[State])
	}
	if cfg.OnChange == nil {
		cfg.OnChange = func(Status) {}
	}
	return &Client{
		cfg: cfg, log: cmp.Or(cfg.Log, slog.Default()).With("device", cfg.Device),
		again: make(chan struct{}, 1), holdOff: map[string]time.Time{},
	}, nil
}

// Republish says that Config.Links or Config.Name has something else to tell by
// now. It does not wait: what changed is published over the link that stands, or
// with the next registration.
func (c *Client) Republish() {
	select {
	case c.again <- struct{}{}:
	default:
	}
}

// Report is Link.Report over the link that stands. The error is oic.ErrOffline
// if there is none.
func (c *Client) Report(ctx context.Context, href string, rep *oic.Response) error {
	c.mu.Lock()
	l := c.link
	c.mu.Unlock()
	if l == nil {
		return fmt.Errorf("report %s: %w", href, oic.ErrOffline)
	}
	return l.Report(ctx, href, rep)
}

// SignOff is Link.SignOff over the link that stands. The error is oic.ErrOffline
// if there is none. Run is to be ended then: it would register again.
func (c *Client) SignOff(ctx context.Context) error {
	c.mu.Lock()
	l := c.link
	c.mu.Unlock()
	if l == nil {
		return fmt.Errorf("sign off: %w", oic.ErrOffline)
	}
	return l.SignOff(ctx)
}

// Leave takes the device out of its cloud, and forgets what that gave: to come
// back it needs a code. A cloud that does not know the device has nothing to be
// told. Leave is called in the place of Run.
func (c *Client) Leave(ctx context.Context) error {
	t, err := c.register(ctx)
	if err == nil {
		err = t.link.SignOff(ctx)
		t.link.Close()
	}
	if err != nil && !forgotten(err) {
		return err
	}
	return c.cfg.State.Save(State{Device: c.cfg.Device})
}

// Follow calls Republish whenever the name or the links of h, the device, have
// changed, until ctx ends.
func (c *Client) Follow(ctx context.Context, h oic.Observer) {
	var following sync.WaitGroup
	for _, href := range []string{"/oic/con", pathRes + "?if=" + oic.IfLinkList} {
		following.Go(func() {
			err := h.Observe(ctx, &oic.Request{Op: oic.Retrieve, Href: href}, func(*oic.Response) { c.Republish() })
			if ctx.Err() == nil {
				c.log.Error("changes are not followed", "href", href, "err", err)
			}
		})
	}
	following.Wait()
}

func (c *Client) setLink(l *Link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link = l
}

// tenure is one registration: the link it came by, and what is to be kept up of it.
type tenure struct {
	link  *Link
	r     *Registration
	until time.Time        // the token is good until then; zero: for ever
	due   <-chan time.Time // when it is to be refreshed; nil: never
	wait  backoff.Backoff
}

// schedule says when the token is to be refreshed, or that is to be tried again.
func (t *tenure) schedule() {
	if t.due = nil; !t.until.IsZero() {
		t.due = time.After(refreshIn(time.Until(t.until)))
	}
}

// Run keeps the device registered until ctx ends, through any number of lost
// connections. It returns ctx.Err() after saying goodbye to the server, or an
// error with an *oic.StatusError in its chain as soon as the cloud refuses the
// device, because trying again would not help. Run is called once.
//
// Programs have many Clients that wait: what waits has little on its stack, and
// what is done meanwhile is done by functions that have returned then.
func (c *Client) Run(ctx context.Context) error {
	c.wait = c.cfg.Backoff
	for {
		served, err := c.once(ctx)
		if err = c.lose(ctx, served, err); err != nil {
			return err
		}
	}
}

// lose waits until the next attempt makes sense. The error says that none does.
func (c *Client) lose(ctx context.Context, served time.Duration, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.cfg.OnChange(Status{Err: err})
	if final(err) {
		return err
	}
	d := c.pause(&c.wait, served, err)
	c.log.Warn("not registered", "err", err, "retry", d)
	return backoff.Sleep(ctx, d)
}

// once registers the device and stays until the link is lost or ctx ends. It
// returns how long the device was registered; 0: it was not.
func (c *Client) once(ctx context.Context) (served time.Duration, err error) {
	t, err := c.register(ctx)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	c.setLink(t.link)
	err = c.stay(ctx, t)
	c.setLink(nil)
	served = max(time.Since(start), 1)
	return served, c.part(ctx, t.link, served, err)
}

// part ends a link by which the device was registered.
func (c *Client) part(ctx context.Context, link *Link, served time.Duration, err error) error {
	c.wait.Served(served)
	if ctx.Err() != nil {
		return link.Disconnect(context.WithoutCancel(ctx))
	}
	link.Close()
	if e, ok := errors.AsType[*coap.ReleaseError](err); ok {
		c.released(link.info.URI, e)
	}
	return err
}

// register tries the servers in order, the one that worked last at first. A
// refusal by one is final; a server that cannot be reached is not.
func (c *Client) register(ctx context.Context) (*tenure, error) {
	st, err := c.cfg.State.Load()
	if err != nil {
		return nil, fmt.Errorf("load the registration: %w", err)
	}
	if c.last == "" { // as before a restart of the device
		c.last, _ = c.mayFollow("", st.Server)
	}
	var failed []error
	list := c.servers()
	for redirects := 0; len(list) > 0; {
		uri := list[0]
		t, err := c.registerAt(ctx, uri, len(list) > 1)
		if err == nil {
			c.last = uri
			return t, nil
		}
		failed = append(failed, err)
		if list = list[1:]; final(err) || ctx.Err() != nil {
			break
		}
		if to, ok := errors.AsType[*redirectError](err); ok && redirects < maxRedirects {
			redirects++
			list = append([]string{to.to}, list...)
		}
	}
	return nil, errors.Join(failed...)
}

// registerAt registers at one server, in the dialect that is configured or else
// known, or else in the one or the other. If there are others to try, it has
// less time to answer.
func (c *Client) registerAt(ctx context.Context, uri string, others bool) (*tenure, error) {
	st, err := c.cfg.State.Load()
	if err != nil {
		return nil, fmt.Errorf("load the registration: %w", err)
	}
	dialect := cmp.Or(c.cfg.Dialect, st.Dialect)
	t, err := c.registerIn(ctx, uri, dialect, others)
	if dialect == Auto && isSignUpError(err) {
		c.log.Info("no cloud of OCF: trying the way of IoTivity classic", "server", uri, "err", err)
		var wrong error
		if t, wrong = c.registerIn(ctx, uri, Classic, others); statusOf(wrong) == 0 {
			err = wrong // nil, or something that trying again may mend
		}
	}
	return t, err
}

func (c *Client) registerIn(ctx context.Context, uri string, dialect Dialect, others bool) (*tenure, error) {
	start := time.Now()
	st, err := c.cfg.State.Load()
	if err != nil {
		return nil, fmt.Errorf("load the registration: %w", err)
	}
	link, err := c.connect(ctx, uri, dialect, others)
	if err != nil {
		return nil, err
	}
	r := &Registration{
		Device: c.cfg.Device, Name: c.cfg.Name(), App: c.cfg.App, Gateway: c.cfg.Gateway, Links: c.cfg.Links(),
		Code: c.cfg.Code, Provider: c.cfg.Provider, State: st, Save: c.cfg.State.Save,
		// Whoever signs the device up after this is not to be fought with the same code.
		Redeemed: func() { c.cfg.Code = "" },
		Follow:   func(to string) (string, bool) { return c.mayFollow(uri, to) },
	}
	var until time.Time
	r.State, until, err = link.Register(ctx, *r)
	if err == nil && r.State.Server != uri {
		good := r.State
		good.Server = uri
		err = r.keep(good)
	}
	if err != nil {
		link.Close()
		return nil, err
	}
	c.log.Info("registered", "server", uri, "dialect", cmp.Or(dialect, OCF), "links", len(r.Links), "took", time.Since(start))
	c.cfg.OnChange(Status{Registered: true, Server: uri, Account: r.State.Grant.Account})
	t := &tenure{link: link, r: r, until: until, wait: c.cfg.Backoff}
	t.schedule()
	return t, nil
}

func (c *Client) connect(ctx context.Context, uri string, dialect Dialect, others bool) (*Link, error) {
	if others {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, failoverTime)
		defer cancel()
	}
	return Connect(ctx, ServerInfo{
		URI: uri, TLS: c.cfg.TLS, Handler: c.cfg.Handler, Dialect: dialect,
		KeepAlive: c.cfg.KeepAlive, Log: c.log, Dial: c.cfg.Dial,
	})
}

// stay keeps the link alive, signed in, and what is published up to date, until
// the link is lost or ctx ends.
func (c *Client) stay(ctx context.Context, t *tenure) error {
	if t.link.info.Dialect == Classic {
		return c.stayClassic(ctx, t)
	}
	return c.tend(ctx, t)
}

// stayClassic is stay with the keep-alive of the classic dialect.
func (c *Client) stayClassic(ctx context.Context, t *tenure) error {
	ctx, stop := context.WithCancelCause(ctx)
	var pinging sync.WaitGroup
	pinging.Go(func() { stop(t.link.announce(ctx)) })
	err := c.tend(ctx, t)
	stop(err)
	pinging.Wait()
	return context.Cause(ctx) // what ended first
}

// tend is stay, but for that keep-alive.
func (c *Client) tend(ctx context.Context, t *tenure) error {
	for {
		var due bool // else there is something to publish
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.link.Done():
			return t.link.Err()
		case <-t.due:
			due = true
		case <-c.again:
		}
		if err := c.attend(ctx, t, due); err != nil {
			return err
		}
	}
}

// attend refreshes the token, if that is due, else publishes what has changed. The
// error says that the link is lost, or ctx has ended.
func (c *Client) attend(ctx context.Context, t *tenure, due bool) error {
	var err error
	if due {
		var renewed time.Time
		if renewed, err = t.link.renew(ctx, t.r); err == nil {
			t.until = renewed
		}
		t.schedule()
	} else {
		t.r.Name, t.r.Links = c.cfg.Name(), c.cfg.Links()
		err = t.link.publishChanges(ctx, t.r)
	}
	switch {
	case err == nil:
		t.wait = c.cfg.Backoff
		return nil
	case final(err) || t.link.Err() != nil:
		return err
	}
	c.log.Warn("token not refreshed, or links not published", "err", err)
	if !due {
		c.Republish()
	}
	return backoff.Sleep(ctx, t.wait.Next()) // and again, on this link
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
	return max(minRefresh, left/2)
}

// minRefresh is the least time between two refreshes: a cloud may say that its
// tokens have expired already.
const minRefresh = time.Second
