package rae

import (
	"context"
	"fmt"
	"time"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/xmpp/ibb"
	"github.com/farreach/farreach/xmpp/jid"
)

// watching is what a pending that is an observation has besides.
type watching struct {
	watch    bool   // it is one
	observed bool   // the peer has agreed
	ended    bool   // the peer has ended it
	left     bool   // nobody listens any more
	newest   uint32 // sequence number of the newest notification
	any      bool   // the next one is newer whatever its number
}

// observe registers with the full address to what c asks for, and calls each
// with every answer, one call at a time: while each has not returned, all but the
// newest are left out. On each receive from again, the registration goes out once
// more with the same token, since what is lost on the way is lost without a
// word. If c has a token it is used, and else one is set in c: an observation
// that is begun again with the token that it had replaces what the peer has left
// of it.
//
// It returns when ctx ends, and the peer is told then; when the session is over,
// as errLost; when a registration is not answered in time, as 5.04; and nil
// after an answer without Observed, which each has had too. What else the error
// can be is as for ask.
func (x *exchange) observe(ctx context.Context, s ibb.Session, to jid.JID, c *Call, again <-chan struct{}, each func(*Answer)) error {
	p, err := x.enter(s, to)
	if err != nil {
		return err
	}
	defer x.leave(p)
	q := x.newPending(c)
	defer q.timer.Stop()
	q.call.Op, q.call.Observe, q.watch = oic.Retrieve, Register, true
	if err := p.begin(ctx, q, c); err != nil {
		return err
	}
	waits := true // for the first answer
	for {
		select {
		case <-q.ring:
			q.timer.Stop()
		case <-again:
			err = p.again(ctx, q)
		case <-ctx.Done():
			err = ctx.Err()
		case <-q.timer.C:
			err = p.silence()
		}
		over := false
		if waits, over, err = p.hear(q, err, waits, each); over {
			return err
		}
	}
}

// hear passes on what has come, if anything, or ends the observation because of
// err. waits says that the first answer is still awaited. It is over with what is
// returned then.
func (p *peer) hear(q *pending, err error, waits bool, each func(*Answer)) (stillWaits, over bool, _ error) {
	a, over, failed := p.news(q)
	if waits && (err != nil || a != nil || failed != nil) {
		waits = false
		p.done(q)
	}
	switch {
	case err != nil && over:
		return waits, true, failed
	case err != nil:
		p.unobserve(q)
		return waits, true, err
	case a != nil:
		each(a)
	}
	return waits, over, failed
}

// begin registers q for the first time, when its turn has come. Then done must be
// called when there is an answer. What it takes of the stack it gives back: an
// observation may last for days.
func (p *peer) begin(ctx context.Context, q *pending, c *Call) error {
	if err := p.turn(ctx, q); err != nil {
		return err
	}
	err := p.send(ctx, q)
	if c.Token = q.call.Token; err != nil {
		p.done(q)
	}
	return err
}

// news takes the newest answer; over says that it was the last thing.
func (p *peer) news(q *pending) (a *Answer, over bool, err error) {
	p.x.mu.Lock()
	defer p.x.mu.Unlock()
	a, q.answer = q.answer, nil
	return a, q.ended || q.err != nil, q.err
}

// notifyLocked takes an answer to a registration, or a notification.
func (p *peer) notifyLocked(q *pending, a *Answer, err error) {
	goesOn := err == nil && a.Observed
	if p.waiting[q.call.Token] != q {
		return
	}
	switch {
	case q.left && goesOn:
		return
	case q.left:
		delete(p.waiting, q.call.Token)
		return
	case goesOn && q.observed && !q.any && !newer(a.Sequence, q.newest):
		return
	case goesOn:
		q.newest, q.any = a.Sequence, false
	default:
		delete(p.waiting, q.call.Token)
		q.ended = true
	}
	if q.observed != goesOn {
		p.holdLocked(q, goesOn)
	}
	q.settle(a, err)
}

// holdLocked has the session of q live as long as the observation, and be there
// for it alone where answers come without tokens.
func (p *peer) holdLocked(q *pending, observed bool) {
	q.observed = observed
	se := q.se
	if observed {
		se.conn.Keep()
	} else {
		se.conn.Leave()
	}
	if se.inOrder == q {
		se.apart = observed
	}
	if se.inOrder == q && (!observed || p.manner == tokens) {
		se.inOrder = nil
	}
}

// newer compares sequence numbers of 24 bits (RFC 7641, section 3.4).
func newer(a, b uint32) bool {
	const half = 1 << 23
	return a > b && a-b < half || a < b && b-a > half
}

// again registers once more.
func (p *peer) again(ctx context.Context, q *pending) error {
	x := p.x
	x.mu.Lock()
	q.any = true
	x.mu.Unlock()
	q.timer.Reset(x.cfg.timeout)
	return p.resend(ctx, q, &q.call)
}

// resend sends c over the session of q.
func (p *peer) resend(ctx context.Context, q *pending, c *Call) error {
	buf := p.x.buffer()
	defer p.x.recycleBuffer(buf)
	if err := p.write(buf, c); err != nil {
		return err
	}
	if err := q.se.conn.Send(ctx, *buf); err != nil {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	return nil
}

// cancelTime is how long a word to a peer may wait for room on the way to the
// server.
const cancelTime = 10 * time.Second

// unobserve tells the peer that nobody listens any more: by ending the session
// where that is there for the observation alone. What the peer says until it has
// heard that belongs to nobody, but is not counted as such.
func (p *peer) unobserve(q *pending) {
	x := p.x
	x.mu.Lock()
	q.left = true
	apart := q.se.inOrder == q
	if q.observed {
		p.holdLocked(q, false)
	}
	if apart {
		q.se.inOrder = nil
		delete(p.waiting, q.call.Token)
	}
	x.mu.Unlock()
	c := q.call
	c.Observe = Cancel
	ctx, cancel := context.WithTimeout(x.ctx, cancelTime)
	defer cancel()
	if apart {
		if p.isLegacy() {
			p.resend(ctx, q, &c)
		}
		q.se.conn.Close()
		return
	}
	if p.resend(ctx, q, &c) != nil {
		return
	}
	time.AfterFunc(x.cfg.timeout, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		if p.waiting[q.call.Token] == q {
			delete(p.waiting, q.call.Token)
		}
	})
}

// sessionApart opens a session for one observation of a peer that knows no
// tokens.
func (p *peer) sessionApart(ctx context.Context, q *pending, n int) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, p.x.cfg.timeout)
	defer cancel()
	se, err := p.open(ctx)
	if err != nil {
		return nil, err
	}
	if se.conn.Block() < n {
		se.conn.Close()
		return nil, oic.Errorf(oic.TooLarge, "a request of %d bytes is too large for the peer", n)
	}
	p.x.mu.Lock()
	defer p.x.mu.Unlock()
	q.se, se.inOrder, se.apart = se, q, true
	return se, nil
}

// watchKey says which observation of a peer: by its token, or the one without a
// token that its session is there for.
type watchKey struct {
	token string
	se    *session // nil: there is a token
}

// watch is something that a peer observes here.
type watch struct {
	p      *peer
	key    watchKey
	conn   carrier
	ctx    context.Context
	cancel context.CancelFunc

	// exchange.mu guards what follows.
	sequence uint32 // of the last notification
	message  uint16 // Message ID of that, in raw CoAP
	kept     bool   // the session is kept for it
}

// watch begins an observation in the place of one with the same token.
func (se *session) watch(c *Call) *watch {
	w := &watch{key: watchKey{token: c.Token}, conn: se.conn}
	if c.Token == "" {
		w.key.se = se
	}
	w.ctx, w.cancel = context.WithCancel(se.ctx)
	x := se.x
	x.mu.Lock()
	defer x.mu.Unlock()
	w.p = se.joinLocked()
	if old := w.p.watches[w.key]; old != nil {
		w.sequence = old.sequence
		old.endLocked()
	}
	w.p.watches[w.key] = w
	return w
}

// unwatch ends an observation.
func (se *session) unwatch(token string) {
	key := watchKey{token: token}
	if token == "" {
		key.se = se
	}
	se.x.mu.Lock()
	w := se.joinLocked().watches[key]
	se.x.mu.Unlock()
	if w != nil {
		w.end()
	}
}

// next is the sequence number of the next notification. From the first on, the
// session is kept although it may be silent.
func (w *watch) next() uint32 {
	w.p.x.mu.Lock()
	defer w.p.x.mu.Unlock()
	if w.ctx.Err() == nil && !w.kept {
		w.kept = true
		w.conn.Keep()
	}
	w.sequence++
	return w.sequence
}

// end ends the observation.
func (w *watch) end() {
	w.p.x.mu.Lock()
	defer w.p.x.mu.Unlock()
	w.endLocked()
}

func (w *watch) endLocked() {
	w.cancel()
	if w.p.watches[w.key] == w {
		delete(w.p.watches, w.key)
	}
	if w.kept {
		w.kept = false
		w.conn.Leave()
	}
}
