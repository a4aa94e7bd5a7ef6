package rabridge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
)

// session is a device as the cloud asks it: a cloudlink.Session.
type session struct {
	s      *stay
	closed chan struct{}
	close  func()

	mu   sync.Mutex // guards seen
	seen time.Time
}

func newSession(s *stay) *session {
	c := &session{s: s, closed: make(chan struct{}), seen: time.Now()}
	c.close = sync.OnceFunc(func() { close(c.closed) })
	return c
}

var errForbidden = oic.Errorf(oic.Forbidden, "not by remote access, whoever asks")

// Handle implements oic.Handler.
func (c *session) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	if rae.Forbidden(req) {
		return nil, errForbidden
	}
	resp, err := c.s.peer.Handle(ctx, req)
	if path, _ := oic.SplitHref(req.Href); req.Op != oic.Retrieve && path == "/oic/con" {
		c.s.again() // it has the name of the device
	}
	return resp, outward(ctx, err)
}

// Observe implements oic.Observer.
func (c *session) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	if rae.Forbidden(req) {
		return errForbidden
	}
	return outward(ctx, c.s.peer.Observe(ctx, req, each))
}

// outward is the error of rae.Remote as that of an oic.Handler: that nobody
// answered is an oic.ErrOffline, whatever came in the way, or a late answer.
func outward(ctx context.Context, err error) error {
	_, refused := errors.AsType[*oic.StatusError](err)
	switch {
	case err == nil, refused, ctx.Err() != nil,
		errors.Is(err, oic.ErrOffline), errors.Is(err, oic.ErrNotObservable), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return fmt.Errorf("%w: %w", oic.ErrOffline, err)
}

// LastSeen implements cloudlink.Session: it is what the XMPP server has heard of
// the device.
func (c *session) LastSeen() time.Time {
	last, there := c.s.a.cfg.Seen(c.s.at.JID)
	c.mu.Lock()
	defer c.mu.Unlock()
	if there && last.After(c.seen) {
		c.seen = last
	}
	return c.seen
}

// Close implements cloudlink.Session. The device stays on XMPP.
func (c *session) Close(reason string) {
	c.s.log.Debug("device on XMPP is let go", "reason", reason)
	c.close()
}
