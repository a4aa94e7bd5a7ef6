package rae

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/oic"
)

// refresh is how often an observation is registered anew: over XMPP, what is
// lost is lost without a word (4.8).
const refresh = 10 * time.Minute

// maxReregister is the longest wait before an observation is registered anew
// where a peer is there and does not answer.
const maxReregister = time.Minute

// Observe implements oic.Observer. Once something was told, it goes on until ctx
// ends or the peer ends it: it registers anew, with the same token, every 10
// minutes, when the session was lost, and when the peer comes back (4.8). What
// the peer tells then is passed on if it is news. Before that, errors are those
// of Handle.
func (r *Remote) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	o := r.observing(req, each)
	defer o.forget()
	for {
		// With few frames in between, and small ones, the stack of an observation
		// that waits shrinks from 8 KiB to 4: it must take less than a quarter.
		err := o.once(ctx)
		if err == nil {
			return o.end()
		}
		if over, err := o.after(ctx, err); over {
			return err
		}
	}
}

// once registers, if there is somebody to register with, and is over with what
// that has come to; nil: the peer has ended it.
func (o *observing) once(ctx context.Context) error {
	s, err := o.session()
	if err != nil {
		return err
	}
	return o.e.x.observe(ctx, s, o.Remote.peer, o.call, o.news, o.tell)
}

// after waits until it makes sense to begin again after err, if it does; else it
// is over with what is returned.
func (o *observing) after(ctx context.Context, err error) (over bool, _ error) {
	if _, ok := errors.AsType[*UnansweredError](err); !ok {
		err = o.unanswered(ctx, err)
	}
	if refusal, final := errors.AsType[*oic.StatusError](err); final {
		return true, refusal
	}
	if ctx.Err() != nil || !o.begun {
		return true, err
	}
	err = o.pause(ctx, err)
	return err != nil, err
}

// observing is an observation of ours.
type observing struct {
	*Remote
	*watcher
	each func(*oic.Response)
	call *Call
	due  *time.Timer
	wait backoff.Backoff

	begun   bool         // something was told
	signals int32        // of the watcher, when it was
	last    oic.Response // what it was; Body is ours
	final   *Answer      // which ended the observation
}

func (r *Remote) observing(req *oic.Request, each func(*oic.Response)) *observing {
	o := &observing{Remote: r, each: each, call: r.call(req), wait: backoff.Backoff{Max: maxReregister}}
	o.call.Op = oic.Retrieve
	o.watcher = r.e.dir.watch(r.peer)
	o.due = time.AfterFunc(refresh, o.again)
	return o
}

func (o *observing) forget() {
	o.due.Stop()
	o.stop()
}

// again has the observation registered anew.
func (o *observing) again() {
	o.signal()
	o.due.Reset(refresh)
}

// tell passes on what the peer says, unless it says the same once more because
// it was asked once more.
func (o *observing) tell(a *Answer) {
	if !a.Observed {
		o.final = a
	}
	if a.Response == nil {
		return
	}
	resp := *a.Response
	resp.Last = !a.Observed
	asked := o.signals != o.count.Load()
	o.signals = o.count.Load()
	o.wait = backoff.Backoff{Max: maxReregister}
	if o.begun && asked && !resp.Last && resp.Format == o.last.Format && bytes.Equal(resp.Body, o.last.Body) {
		return
	}
	o.begun = true
	o.last = resp
	o.last.Body = bytes.Clone(resp.Body)
	o.each(&resp)
}

// end is why the peer has ended the observation.
func (o *observing) end() error {
	if o.final != nil && o.final.Refusal != nil {
		return o.final.Refusal
	}
	return oic.ErrNotObservable
}

// pause waits until it makes sense to register anew: when the peer is not
// there, until there is news of it, else a little longer each time.
func (o *observing) pause(ctx context.Context, why error) error {
	o.count.Add(1) // what comes next is asked for
	var timer <-chan time.Time
	if d, known := o.e.dir.get(o.Remote.peer); !known || d.Available {
		timer = time.After(o.wait.Next())
	}
	select {
	case <-o.news:
		return nil
	case <-timer:
		return nil
	case <-o.e.x.ctx.Done(): // nobody will come back to us
		return why
	case <-ctx.Done():
		return ctx.Err()
	}
}
