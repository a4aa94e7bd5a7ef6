package rae

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/farreach/farreach/oic"
)

// observe sends what o says of a resource now and after every change, until ctx
// ends: the peer has cancelled, registered anew, or is gone. An observation that
// ends for another reason ends with a refusal, also one that peer has lost the
// right to while it lasted.
func (v *server) observe(ctx context.Context, peer Peer, c *Call, o oic.Observer, reply func(*Answer) error) {
	watching, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer v.begin(&standing{peer, c, cancel})()
	slow := time.AfterFunc(v.e.cfg.Timeout, func() { cancel(errSlow) })
	defer slow.Stop()
	req := c.Request
	req.Whole = true // a message can be lost
	answered, over := false, false
	err := v.watch(watching, o, &req, func(resp *oic.Response) {
		slow.Stop()
		if over {
			return
		}
		if answered { // threats rule 2: with the rights of this moment
			if err := v.e.authorize(peer, c); err != nil {
				over = true
				cancel(err)
				return
			}
		}
		answered, over = true, resp.Last
		v.answer(ctx, peer, c, &Answer{Response: resp, Observed: !resp.Last}, reply)
	})
	if ctx.Err() != nil || over && watching.Err() == nil { // nobody listens, or all was said
		return
	}
	if watching.Err() != nil {
		err = context.Cause(watching)
	}
	if errors.Is(err, oic.ErrNotObservable) && answered {
		return
	}
	v.answer(ctx, peer, c, refuse(err), reply)
}

// standing is an observation that lasts.
type standing struct {
	peer   Peer
	call   *Call
	cancel context.CancelCauseFunc
}

// begin notes an observation, until end.
func (v *server) begin(o *standing) (end func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.lasting == nil {
		v.lasting = map[*standing]struct{}{}
	}
	v.lasting[o] = struct{}{}
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.lasting, o)
	}
}

// Recheck ends the observations of those who have lost their right to them. It is
// to be called when Config.Allow begins to refuse what it allowed: otherwise they
// end with the next change of what they observe.
func (e *Endpoint) Recheck() {
	v := e.server
	v.mu.Lock()
	all := slices.Collect(maps.Keys(v.lasting))
	v.mu.Unlock()
	for _, o := range all {
		if err := e.authorize(o.peer, o.call); err != nil {
			o.cancel(err)
		}
	}
}

// watch is o.Observe, which costs one observation if it panics.
func (v *server) watch(ctx context.Context, o oic.Observer, req *oic.Request, each func(*oic.Response)) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = v.panicked(p)
		}
	}()
	return o.Observe(ctx, req, each)
}
