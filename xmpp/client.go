package xmpp

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/sasl"
	"github.com/farreach/farreach/xmpp/stream"
)

// Client keeps a session at a server.
type Client struct {
	cfg Config

	mu      sync.Mutex // guards session
	session *Session   // nil: there is none
}

// Status is what a Client tells about itself.
type Status struct {
	Online bool    // stanzas go both ways
	JID    jid.JID // that is bound
	Addr   string  // host:port of the server
	Err    error   // why it is not online; nil: not yet tried
}

// New returns a Client for cfg. It does not touch the network.
func New(cfg Config) (*Client, error) {
	cfg, err := cfg.check()
	if err != nil {
		return nil, err
	}
	if cfg.Keys == nil {
		cfg.Keys = new(sasl.Keys)
	}
	return &Client{cfg: cfg}, nil
}

// Session is the session that stands, or that is being resumed; nil if there is
// none.
func (c *Client) Session() *Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

func (c *Client) set(s *Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session = s
}

// Run keeps a session until ctx ends, through any number of lost connections:
// each is resumed if it can be, else there is a new one. It returns ctx.Err()
// after saying goodbye, or an error with an *AuthError in its chain as soon as
// the server refuses the account, because trying again would not help. Run is
// called once.
//
// Between attempts it waits as Config.Backoff says; 30 s to 10 min after a
// failure that lasts until somebody puts something right, such as a certificate;
// and 1 min to 1 h after somebody else took the address.
func (c *Client) Run(ctx context.Context) error {
	r := run{Client: c, wait: newPatience(c.cfg.Backoff)}
	defer func() { r.drop(ctx.Err()) }()
	for {
		lasted, err := r.once(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.wait.served(lasted)
		c.cfg.OnChange(Status{Err: err})
		if final(err) {
			return err
		}
		if !resumable(err) {
			r.drop(err)
		}
		d := r.wait.after(lasted, err)
		c.cfg.Log.Warn("xmpp not online", "err", err, "retry", d)
		if err := r.sleep(ctx, d); err != nil {
			return err
		}
	}
}

// run is the state of Run.
type run struct {
	*Client
	wait  patience
	s     *Session  // the latest, if it may be resumed
	until time.Time // until when
	lost  error     // why it must be
}

// once connects and serves one connection. It returns for how long, and why
// that ended.
func (r *run) once(ctx context.Context) (lasted time.Duration, err error) {
	s, c, early, err := connect(ctx, &r.cfg, r.s)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	terms := s.Terms()
	if s != r.s {
		r.drop(r.lost)
		r.s = s
		r.set(s)
		r.online(ctx, s)
	}
	if r.cfg.Least.Weaker(terms.Mechanism) || r.cfg.Least == "" {
		r.cfg.Least = terms.Mechanism // and nothing less from now on
	}
	r.cfg.OnChange(Status{Online: true, JID: s.jid, Addr: terms.Addr})
	stop := context.AfterFunc(ctx, func() { s.leave(ctx.Err()) })
	err = s.serve(c, early)
	stop()
	r.until, r.lost = time.Now().Add(terms.Resume), err
	if leaving := s.left(); leaving != nil {
		err = leaving
		r.drop(err)
	}
	return time.Since(start), err
}

// online tells that there is a new session.
func (r *run) online(ctx context.Context, s *Session) {
	if r.cfg.Online == nil {
		return
	}
	ctx, s.cancel = context.WithCancel(ctx)
	s.tasks.Go(func() {
		if err := r.cfg.Online(ctx, s); err != nil && ctx.Err() == nil {
			s.leave(err)
		}
	})
}

// drop gives the latest session up because of err, and waits until it is gone.
func (r *run) drop(err error) {
	if s := r.s; s != nil {
		r.s = nil
		r.set(nil)
		s.finish(err)
		s.tasks.Wait()
	}
}

// sleep waits for d. A session that cannot be resumed any more is given up
// meanwhile.
func (r *run) sleep(ctx context.Context, d time.Duration) error {
	if left := time.Until(r.until); r.s != nil && left < d {
		if err := backoff.Sleep(ctx, max(left, 0)); err != nil {
			return err
		}
		d -= max(left, 0)
		r.drop(r.lost)
	}
	return backoff.Sleep(ctx, d)
}

// resumable reports whether a session may outlive its connection that ended
// because of err: not if one of the two has ended the stream.
func resumable(err error) bool {
	_, told := errors.AsType[*stream.Error](err)
	_, wrong := errors.AsType[protocolError](err)
	return !told && !wrong && !errors.Is(err, ErrEnded) && !errors.Is(err, ErrPanic)
}
