package oiccoap

import (
	"context"
	"errors"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
)

// errUnwatched ends an observation that the peer itself has ended.
var errUnwatched = errors.New("not watched any more")

// observation is one resource that the peer watches.
type observation struct {
	server *Server
	x      *coap.Exchange
	token  coap.Token
	wishes wishes
	ctx    context.Context // of the observation; its cause says why it ended
	cancel context.CancelCauseFunc

	m        coap.Message // the last notification
	answered bool
	sequence uint32
}

// run observes until the peer, the connection or the resource does not want to
// any more.
func (o *observation) run(conn context.Context, h oic.Observer, req *oic.Request) {
	defer o.server.remove(o)
	defer o.cancel(errUnwatched)
	defer context.AfterFunc(conn, func() { o.cancel(errUnwatched) })()

	err := h.Observe(o.ctx, req, o.notify)
	if cause := context.Cause(o.ctx); cause != nil {
		err = cause
	}
	if err == errUnwatched || errors.Is(err, oic.ErrNotObservable) && o.answered {
		return
	}
	o.send(nil, err, false)
}

func (o *observation) notify(resp *oic.Response) {
	if o.ctx.Err() == nil {
		o.send(resp, nil, !resp.Last)
	}
}

// send sends an answer or a notification. Only what others will follow has an
// Observe option (RFC 7641, section 4.2). The order being that of the stream,
// its value matters to nobody; it counts all the same (RFC 8323, section 7.1).
func (o *observation) send(resp *oic.Response, err error, more bool) {
	o.m.Reset()
	o.wishes.fill(&o.m, resp, err)
	if more {
		o.sequence++
		o.m.AddUint(coap.Observe, o.sequence&0xffffff)
	}
	ctx := o.ctx
	if err != nil {
		ctx = context.Background() // the last word; Send ends with the connection
	}
	o.answered = true
	switch err := o.x.Send(ctx, &o.m); {
	case errors.Is(err, coap.ErrTooLarge):
		o.cancel(tooLarge(err))
	case errors.Is(err, coap.ErrNotObserved):
		o.cancel(errUnwatched)
	}
}

// tooLarge is the refusal of an answer that the peer does not take.
func tooLarge(err error) error {
	return oic.Errorf(oic.Internal, "%v", err)
}
