package rae

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/ibb"
	"github.com/farreach/farreach/xmpp/jid"
)

// exchangeConfig says how an exchange works. Only serve has no default.
type exchangeConfig struct {
	// serve answers a request by calling reply, before it returns if the request
	// has no token: the next one waits for that, at most timeout.
	//
	// A Register may be answered with Observed set, and then again and again
	// until ctx ends: when the peer cancels, or registers once more with the same
	// token, after an answer without Observed, and with the session. The ctx of
	// any other request ends with the session. Token, Container, Sequence and
	// ContentLocation are set here. reply may be called from any goroutine.
	serve func(ctx context.Context, from jid.JID, c *Call, reply func(*Answer) error)

	// prompt reports whether serve answers c without waiting for anything but
	// reply; then the goroutine that reads serves it. nil: it does not.
	prompt func(c *Call) bool

	allow   func(s ibb.Session, peer jid.JID) bool // who may open sessions with us; nil: the own account
	legacy  func(peer jid.JID) bool                // who is asked in raw CoAP; nil: nobody
	timeout time.Duration                          // of a request; 0: 30 s
	block   int                                    // largest block that is offered and taken, bytes; 0: 65,535
	total   int                                    // sessions in all; 0: 256
	log     *slog.Logger                           // nil: slog.Default()
}

// exchange is everything between a Call to a full JID and an Answer from it, in
// both directions, over one bytestream for each peer (4.7 and 4.8 of the wire
// profile).
//
//	ask ─▶ peer.turn ─▶ peer.session ─▶ session.send ─▶ ibb ─▶ peer
//	 ▲                                                          │
//	 └── pending ◀── session.answer ◀── Decoder ◀── Take ◀── ibb ◀── peer
//	                      serve ◀── session.request ◀┘
//
// Its only goroutines are those that serve requests. Its methods may
// be called from several goroutines.
type exchange struct {
	cfg   exchangeConfig
	ibb   *ibb.Endpoint
	ctx   context.Context // ends with close
	stop  context.CancelFunc
	tasks sync.WaitGroup
	free  sync.Pool // of *pending
	bufs  sync.Pool // of *[]byte

	strays atomic.Int64 // answers that nobody asked for
	broken atomic.Int64 // sessions that ended because of what came over them

	mu      sync.Mutex // guards what follows, and what is said to be guarded by it
	peers   map[peerKey]*peer
	uses    int64       // of peers, in all
	token   uint32      // the last one
	message uint16      // the last Message ID, in raw CoAP
	chats   []*session  // the one used last at the end
	held    int         // bytes of requests that are, or wait to be, served
	idle    []chan work // of goroutines that wait for something to do
}

// peerKey is a peer as a session on a server sees it.
type peerKey struct {
	s   ibb.Session
	jid jid.JID
}

var (
	// errLost says that the session was lost while the answer was awaited: the
	// peer may have done what it was asked for, or not.
	errLost = errors.New("rae: the session was lost before the answer")

	// errCrowded says that too many requests wait for one peer.
	errCrowded = errors.New("rae: too many requests wait for the peer")
)

// newExchange returns an exchange. handle connects it with sessions.
func newExchange(cfg exchangeConfig) *exchange {
	cfg.timeout = cmp.Or(cfg.timeout, 30*time.Second)
	cfg.log = cmp.Or(cfg.log, slog.Default())
	x := &exchange{cfg: cfg, peers: map[peerKey]*peer{}}
	x.ctx, x.stop = context.WithCancel(context.Background())
	x.ibb = ibb.New(ibb.Config{Receive: x.receive, Allow: cfg.allow, Block: cfg.block, Total: cfg.total, Log: cfg.log})
	x.token = randomToken()
	return x
}

// handle has x take what is its own from the sessions of h.
func (x *exchange) handle(h *xmpp.Handlers) { x.ibb.Handle(h) }

// close ends all sessions and waits for what they began.
func (x *exchange) close() {
	x.stop()
	x.ibb.Close()
	x.tasks.Wait()
}

// ask sends c to the full address to and returns the answer. The token of c is
// set here.
//
// The error is a *oic.StatusError 5.04 if there is none in time, 4.13 if c is too
// large for the peer, and another if c cannot be written, or if the answer makes
// no sense; it has errLost in its chain if the session was lost. If the peer has
// certainly not got c, oic.ErrNotSent is in the chain, beside why: a
// *stanza.Error, or one of package ibb, when there is no session.
func (x *exchange) ask(ctx context.Context, s ibb.Session, to jid.JID, c *Call) (*Answer, error) {
	p, err := x.enter(s, to)
	if err != nil {
		return nil, err
	}
	defer x.leave(p)
	a, err := p.ask(ctx, c)
	if tooLarge(err) && p.isStranger() {
		hello := &Call{Request: oic.Request{Href: "/oic/d", Accept: c.Accept}, Device: c.Device}
		if _, err := p.ask(ctx, hello); err != nil {
			return nil, notSent(err)
		}
		return p.ask(ctx, c) // the peer has told how much it can put together
	}
	return a, err
}

func tooLarge(err error) bool {
	refusal, ok := errors.AsType[*oic.StatusError](err)
	return ok && refusal.Status == oic.TooLarge && errors.Is(err, oic.ErrNotSent)
}

// ask sends c once, and waits for the answer.
func (p *peer) ask(ctx context.Context, c *Call) (*Answer, error) {
	q := p.x.newPending(c)
	defer p.x.recycle(q)
	q.call.Token = ""
	if err := p.turn(ctx, q); err != nil {
		return nil, err
	}
	defer p.done(q)
	err := p.send(ctx, q)
	if err != nil {
		return nil, err
	}
	select {
	case <-q.ring:
	case <-ctx.Done():
		err = ctx.Err()
	case <-q.timer.C:
		err = p.silence()
	}
	if err != nil && p.withdraw(q, true) {
		return nil, err
	}
	return q.answer, q.err
}

// silence is the error when a peer does not answer in time.
func (p *peer) silence() error {
	return &oic.StatusError{Status: oic.GatewayTimeout, Diag: fmt.Sprintf("no answer within %v", p.x.cfg.timeout)}
}

// gone says that peer is not available any more: what waits for it fails at
// once.
func (x *exchange) gone(j jid.JID, why error) {
	x.mu.Lock()
	for k, p := range x.peers {
		if k.jid == j {
			p.forgetLocked(why)
		}
	}
	x.mu.Unlock()
	x.endChat(j, why)
}

// awaits reports whether something is wanted of a peer: it may answer over a
// session that it opens.
func (x *exchange) awaits(s ibb.Session, j jid.JID) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	p := x.peers[peerKey{s, j}]
	return p != nil && len(p.waiting) > 0
}

// pending is a request of ours. One goroutine has it: whoever asks. It is used
// again, unless it is an observation.
type pending struct {
	call  Call
	timer *time.Timer   // runs from the first step on
	ring  chan struct{} // takes one: there is an answer, or its turn has come

	// exchange.mu guards what follows, until ring has rung for the answer.
	se       *session // that it was sent over
	watching          // of an observation
	answer   *Answer  // the newest one
	err      error
}

// newPending is a request whose time runs from now on.
func (x *exchange) newPending(c *Call) *pending {
	q, _ := x.free.Get().(*pending)
	if q == nil {
		q = &pending{ring: make(chan struct{}, 1), timer: time.NewTimer(x.cfg.timeout)}
	} else {
		q.timer.Reset(x.cfg.timeout)
	}
	q.call = *c
	return q
}

// recycle keeps q for the next request.
func (x *exchange) recycle(q *pending) {
	q.timer.Stop()
	select {
	case <-q.ring:
	default:
	}
	*q = pending{ring: q.ring, timer: q.timer}
	x.free.Put(q)
}

// notSent is err of a request that the peer has certainly not got.
func notSent(err error) error { return fmt.Errorf("%w: %w", oic.ErrNotSent, err) }

// settle gives q its answer. exchange.mu is held, and q is not waiting any more,
// or is an observation.
func (q *pending) settle(a *Answer, err error) {
	q.answer, q.err = a, err
	q.wake()
}

func (q *pending) wake() {
	select {
	case q.ring <- struct{}{}:
	default:
	}
}
