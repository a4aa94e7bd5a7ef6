package rae

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"sync"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/xmpp/jid"
)

// server answers what peers ask.
//
//	exchange ── Call ──▶ limits ─▶ authorize ─▶ pick ──▶ Config.Device, or what is Behind ──▶ Answer
//	                     429        403          404             └── Observer ──▶ observe ──▶ Answers
type server struct {
	e      *Endpoint
	limits limits
	tasks  sync.WaitGroup // observations

	mu      sync.Mutex // guards lasting
	lasting map[*standing]struct{}
}

func newServer(e *Endpoint) *server {
	return &server{e: e, limits: limits{perSecond: e.cfg.Rate}}
}

// wordError is a refusal with the word that OIC-Error has for it.
type wordError struct {
	word string
	*oic.StatusError
}

func (e wordError) Unwrap() error { return e.StatusError }

// refuse is err as an answer.
func refuse(err error) *Answer {
	a := Refuse(err, Meta{})
	if e, ok := errors.AsType[wordError](err); ok {
		a.Word = e.word
	}
	return a
}

// serve answers one request: it is that of an exchangeConfig.
func (v *server) serve(ctx context.Context, from jid.JID, c *Call, reply func(*Answer) error) {
	peer := v.e.contacts.peer(from)
	c.From = oic.Identity{Account: from.Bare().String(), Device: peer.Name.Device()}
	h, err := v.admit(peer, c)
	if err != nil {
		v.answer(ctx, peer, c, refuse(err), reply)
		return
	}
	if o, ok := h.(oic.Observer); ok && c.Observe == Register {
		if leave, ok := v.limits.enter(from); ok {
			v.tasks.Go(func() {
				defer leave()
				v.observe(ctx, peer, c, o, reply)
			})
			return
		}
	}
	resp, err := v.handle(ctx, h, c)
	if err != nil {
		v.answer(ctx, peer, c, refuse(err), reply)
		return
	}
	v.answer(ctx, peer, c, &Answer{Response: resp}, reply)
}

// prompt reports whether c is answered without waiting: by ourselves, asking
// nobody whether that is allowed.
func (v *server) prompt(c *Call) bool {
	h, ok := v.e.cfg.Device.(oic.Prompt)
	return ok && v.e.cfg.Allow == nil && (c.Device == "" || c.Device == v.e.Name().Device()) && h.Prompt(&c.Request)
}

// admit returns who is to answer c, if peer may ask that.
func (v *server) admit(peer Peer, c *Call) (oic.Handler, error) {
	if !v.limits.take(peer.JID) {
		return nil, tooMany(v.limits.perSecond)
	}
	if err := v.e.authorize(peer, c); err != nil {
		return nil, err
	}
	if len(c.IfMatch) > 0 || c.IfNothing {
		return nil, oic.Errorf(oic.BadOption, "requests with conditions are not taken")
	}
	return v.pick(c.Device)
}

// pick returns whom the authority of a URL names.
func (v *server) pick(di string) (oic.Handler, error) {
	e := v.e
	if di == "" || di == e.Name().Device() {
		if e.cfg.Device == nil {
			return nil, errNothingHere
		}
		return e.cfg.Device, nil
	}
	if e.cfg.Behind != nil {
		if h := e.cfg.Behind(di); h != nil {
			return h, nil
		}
	}
	return nil, errUnknownDevice
}

var (
	errNothingHere   = oic.Errorf(oic.NotFound, "a client has no resources")
	errUnknownDevice = wordError{"unknown-device", oic.Errorf(oic.NotFound, "no such device here")}
)

// handle has h answer, within the time that a request has. A handler that panics
// costs one answer (threats rule 23).
func (v *server) handle(ctx context.Context, h oic.Handler, c *Call) (resp *oic.Response, err error) {
	within := ctx
	if !v.prompt(c) {
		var cancel context.CancelFunc
		within, cancel = context.WithTimeout(ctx, v.e.cfg.Timeout)
		defer cancel()
	}
	defer func() {
		if p := recover(); p != nil {
			resp, err = nil, v.panicked(p)
		}
	}()
	resp, err = h.Handle(within, &c.Request)
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		err = errSlow
	}
	return resp, err
}

var errSlow = oic.Errorf(oic.GatewayTimeout, "the device does not answer in time")

func (v *server) panicked(p any) error {
	v.e.log.Error("handler panicked", "panic", p, "stack", string(debug.Stack()))
	return oic.Errorf(oic.Internal, "internal error")
}

// answer sends a, and notes what was asked. Bodies, and queries, are nobody's
// business.
func (v *server) answer(ctx context.Context, peer Peer, c *Call, a *Answer, reply func(*Answer) error) {
	err := reply(a)
	if !v.e.log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	path, _ := oic.SplitHref(c.Href)
	log := v.e.log.With("peer", peer.JID.String(), "op", c.Op, "path", path, "status", statusOf(a))
	if err != nil {
		log.Debug("request, but the answer found nobody", "err", err)
		return
	}
	log.Debug("request")
}

func statusOf(a *Answer) oic.Status {
	if a.Refusal != nil {
		return a.Refusal.Status
	}
	return a.Response.Status
}
