package rae

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
)

const (
	maxServing = 32      // requests of one peer that are served at once
	maxCalls   = 128     // of one peer, or of one session in order, that wait for that
	maxHeld    = 8 << 20 // bytes of all that wait or are being served
	maxIdle    = 16      // goroutines that are kept for the next requests
)

// job is a request of a peer.
type job struct {
	se      *session
	call    *Call
	refusal error         // in the place of serving; nil: it is to be served
	raw     *coap.Message // the request, if it came as raw CoAP; nil: it was a document
	say     []byte        // in the place of all that: something to send; nil: nothing
	then    func()        // called when that is sent
	answer  *Answer       // in the place of all that: what serving has come to; nil: nothing yet
	size    int           // bytes
}

// request has a request served: in order, unless it has a token. An error ends
// the session.
func (se *session) request(d *Document, refusal *oic.StatusError) error {
	j := job{se: se, size: len(d.Body) + 512}
	if refusal != nil {
		j.call, j.refusal = &Call{Meta: d.meta()}, refusal
	} else if c, err := ParseCall(d); err != nil {
		j.call, j.refusal = &Call{Meta: d.meta()}, err
	} else {
		j.call = c
		if c.Token != "" && c.Observe == NoObserve && se.x.cfg.prompt != nil && se.x.cfg.prompt(c) {
			return se.servePromptly(j)
		}
	}
	return se.schedule(j)
}

// servePromptly serves j at once. Only if the answer cannot be sent at once it
// waits like a request.
func (se *session) servePromptly(j job) error {
	x := se.x
	x.mu.Lock()
	se.hearLocked(j)
	over := se.over
	x.mu.Unlock()
	if !over {
		r := &replier{job: j, ctx: se.ctx, prompt: true}
		x.cfg.serve(r.ctx, se.conn.Peer(), j.call, r.reply)
	}
	return nil
}

// hearLocked notes what a request tells of its peer.
func (se *session) hearLocked(j job) *peer {
	p := se.joinLocked()
	if j.call.MaxMessage > 0 {
		p.fragment = j.call.MaxMessage
	}
	if j.call.Token != "" && p.manner == unknown && j.raw == nil {
		p.manner = tokens // who sends tokens returns them
	}
	return p
}

// schedule has j served: in order, unless it has a token. An error ends the
// session.
func (se *session) schedule(j job) error {
	x := se.x
	x.mu.Lock()
	defer x.mu.Unlock()
	p := se.hearLocked(j)
	if se.over {
		return nil
	}
	if x.held+j.size > maxHeld {
		return errOverrun
	}
	if j.call.Token == "" {
		return se.lineUpLocked(j)
	}
	switch {
	case p.serving < maxServing:
		p.serving++
		x.beginLocked(work{p: p, job: j})
	case len(p.calls) < maxCalls:
		p.calls = append(p.calls, j)
	default:
		return errOverrun
	}
	x.held += j.size
	return nil
}

// lineUpLocked has j served behind those that came before it.
func (se *session) lineUpLocked(j job) error {
	if len(se.lane) >= maxCalls {
		return errOverrun
	}
	se.lane = append(se.lane, j)
	se.x.held += j.size
	if !se.busy {
		se.busy = true
		se.x.beginLocked(work{lane: se})
	}
	return nil
}

// work is what one goroutine does: job, and others of the same peer, or what is
// in a lane.
type work struct {
	p    *peer
	job  job
	lane *session // nil: job
}

// beginLocked has w done by a goroutine that has nothing to do, or a new one.
func (x *exchange) beginLocked(w work) {
	if n := len(x.idle); n > 0 {
		x.idle[n-1] <- w // which has room for it
		x.idle = x.idle[:n-1]
		return
	}
	x.tasks.Go(func() { x.work(w) })
}

// work does w and what else there is, until there are enough who do.
func (x *exchange) work(w work) {
	next := make(chan work, 1)
	for {
		if w.lane != nil {
			w.lane.serveLane()
		} else {
			w.p.serve(w.job)
		}
		x.mu.Lock()
		if len(x.idle) >= maxIdle {
			x.mu.Unlock()
			return
		}
		x.idle = append(x.idle, next)
		x.mu.Unlock()
		select {
		case w = <-next:
		case <-x.ctx.Done():
			return
		}
	}
}

// serve serves j, and others as long as there are any.
func (p *peer) serve(j job) {
	for {
		j.serve()
		x := p.x
		x.mu.Lock()
		x.held -= j.size
		if len(p.calls) == 0 {
			p.serving--
			x.mu.Unlock()
			return
		}
		j = p.calls[0]
		p.calls[0] = job{}
		p.calls = p.calls[1:]
		x.mu.Unlock()
	}
}

// serveLane serves requests without tokens, each when the one before it has
// been answered.
func (se *session) serveLane() {
	x := se.x
	var j job
	for {
		x.mu.Lock()
		x.held -= j.size
		if len(se.lane) == 0 {
			se.busy = false
			x.mu.Unlock()
			return
		}
		j = se.lane[0]
		se.lane[0] = job{}
		se.lane = se.lane[1:]
		x.mu.Unlock()
		r := j.serve()
		select {
		case <-r.answered:
			continue
		default:
		}
		timer := time.NewTimer(x.cfg.timeout)
		select {
		case <-r.answered:
		case <-se.ctx.Done():
		case <-timer.C:
			se.conn.Fail(errUnanswered) // a later answer would be taken for another
		}
		timer.Stop()
	}
}

var errUnanswered = errors.New("rae: a request without a token was not answered in time")

// serve serves j, unless its session is over.
func (j job) serve() *replier {
	r := &replier{job: j, ctx: j.se.ctx, answered: make(chan struct{})}
	switch {
	case j.se.ctx.Err() != nil:
		close(r.answered)
	case j.answer != nil:
		j.se.sendAnswer(j.answer, j.call) // fails when the session is over; then nobody waits for it
		close(r.answered)
	case j.say != nil:
		if j.se.conn.Send(j.se.ctx, j.say); j.then != nil {
			j.then()
		}
		close(r.answered)
	case j.refusal != nil:
		r.reply(Refuse(j.refusal, Meta{}))
	default:
		r.begin()
		j.se.x.cfg.serve(r.ctx, j.se.conn.Peer(), j.call, r.reply)
	}
	return r
}

// replier answers one request.
type replier struct {
	job
	ctx      context.Context
	watch    *watch        // what the request registers; nil: nothing
	answered chan struct{} // closed with the first answer; nil: nobody waits for that
	prompt   bool          // reply must not wait

	mu    sync.Mutex // held while an answer is written and sent; guards what follows
	times int        // answers that were sent
}

// begin notes an observation, or ends one.
func (r *replier) begin() {
	switch r.call.Observe {
	case Register:
		r.watch = r.se.watch(r.call)
		r.ctx = r.watch.ctx
	case Cancel:
		r.se.unwatch(r.call.Token)
	}
}

// reply sends an answer. The error says that there is nobody to whom it could
// go: ctx has ended, or there was one already and nothing is observed.
func (r *replier) reply(a *Answer) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if r.times > 0 && r.watch == nil {
		return errAnswered
	}
	b := *a
	b.Token, b.Container = r.call.Token, r.call.Container
	b.Observed = a.Observed && r.watch != nil
	if b.Observed {
		b.Sequence = r.watch.next()
		b.ContentLocation, _ = oic.SplitHref(r.call.Href)
	}
	var err error
	if r.prompt {
		err = r.se.sendPromptly(&b, r.job)
	} else if r.raw != nil {
		err = r.se.sendRawAnswer(&b, &r.job, r.times == 0, r.watch)
	} else {
		err = r.se.sendAnswer(&b, r.call)
	}
	if r.times++; r.times == 1 && r.answered != nil {
		close(r.answered)
	}
	if r.watch != nil && (!b.Observed || err != nil) {
		r.watch.end()
	}
	return err
}

var errAnswered = errors.New("rae: the request was answered already")
