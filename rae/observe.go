package rae

import (
	"context"
	"errors"
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

// watch is o.Observe, which costs one observation if it panics.
func (v *server) watch(ctx context.Context, o oic.Observer, req *oic.Request, each func(*oic.Response)) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = v.panicked(p)
		}
	}()
	return o.Observe(ctx, req, each)
}
