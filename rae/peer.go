package rae

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/xmpp/ibb"
	"github.com/farreach/farreach/xmpp/jid"
)

// manner says how a peer tells which answer belongs to which request (D3).
type manner uint8

const (
	unknown manner = iota // the first request goes alone
	tokens                // it repeats them: in any order
	plain                 // it does not: one request at a time on a session
	legacy                // it speaks raw CoAP: one session for each request (D20)
)

const (
	maxAsked   = 32  // requests under way to a peer that repeats tokens
	maxLegacy  = 3   // to one that wants a session for each, and shares them with observations
	maxWaiting = 512 // requests that wait for their turn at one peer
)

// peer is what is known of an endpoint while there are sessions with it, or
// somebody asks it. exchange.mu guards it.
type peer struct {
	x *exchange
	peerKey

	users    int   // who ask
	used     int64 // exchange.uses when something was last asked, or came
	manner   manner
	asked    int                 // requests under way
	queue    []*pending          // wait for their turn
	waiting  map[string]*pending // by token
	sessions []*session          // ours first
	opening  *opening            // of a session that is ours; nil: none
	fragment int                 // how many octets the peer can put together; 0: it does not say
	told     bool                // it knows how many we can
	largest  int                 // block that it takes, as far as was tried, bytes; 0: not yet

	serving int   // requests of its own, with tokens, that are being served
	calls   []job // that wait for that
	watches map[watchKey]*watch
}

// enter returns the peer of that name, for one who asks.
func (x *exchange) enter(s ibb.Session, to jid.JID) (*peer, error) {
	if to.IsBare() {
		return nil, fmt.Errorf("rae: %s is no full address (RA-017)", to)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ctx.Err() != nil {
		return nil, ibb.ErrGone
	}
	p := x.peerLocked(peerKey{s, to})
	if p.manner == unknown && x.cfg.legacy != nil && x.cfg.legacy(to) {
		p.manner = legacy
	}
	p.users++
	return p, nil
}

// isStranger reports whether nothing has come from the peer that tells how to
// talk to it.
func (p *peer) isStranger() bool {
	p.x.mu.Lock()
	defer p.x.mu.Unlock()
	return p.manner == unknown
}

// leave is called by who does not ask any more.
func (x *exchange) leave(p *peer) {
	x.mu.Lock()
	defer x.mu.Unlock()
	p.users--
	p.dropLocked()
}

func (x *exchange) peerLocked(k peerKey) *peer {
	p := x.peers[k]
	if p == nil {
		p = &peer{x: x, peerKey: k, waiting: map[string]*pending{}, watches: map[watchKey]*watch{}}
		x.peers[k] = p
	}
	x.uses++
	p.used = x.uses
	return p
}

// dropLocked forgets the peer if nothing is left of it.
func (p *peer) dropLocked() {
	if p.users == 0 && len(p.sessions) == 0 && p.opening == nil && p.x.peers[p.peerKey] == p {
		delete(p.x.peers, p.peerKey)
	}
}

// forgetLocked fails what waits for the peer, and has the next request begin
// anew.
func (p *peer) forgetLocked(why error) {
	why = fmt.Errorf("%w: %w", errLost, why)
	for token, q := range p.waiting {
		delete(p.waiting, token)
		q.settle(nil, why)
	}
	for _, q := range p.queue {
		q.settle(nil, why)
	}
	p.queue = nil
	if p.opening != nil {
		p.opening.cancel()
	}
	if p.manner != legacy {
		p.manner = unknown
	}
	p.fragment, p.told, p.largest = 0, false, 0
}

// turn waits until q may be sent. After nil, done must be called.
func (p *peer) turn(ctx context.Context, q *pending) error {
	x := p.x
	x.mu.Lock()
	if p.asked < p.most() && len(p.queue) == 0 {
		p.asked++
		x.mu.Unlock()
		return nil
	}
	if len(p.queue) >= maxWaiting {
		x.mu.Unlock()
		return notSent(errCrowded)
	}
	p.queue = append(p.queue, q)
	x.mu.Unlock()
	var err error
	select {
	case <-q.ring:
		x.mu.Lock()
		defer x.mu.Unlock()
		return q.err
	case <-ctx.Done():
		err = ctx.Err()
	case <-q.timer.C:
		err = p.silence()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if i := slices.Index(p.queue, q); i >= 0 {
		p.queue = slices.Delete(p.queue, i, i+1)
	} else if q.err == nil { // its turn has come just now
		p.asked--
		p.nextLocked()
	}
	return notSent(err)
}

// most is how many requests may be under way.
func (p *peer) most() int {
	switch p.manner {
	case tokens:
		return maxAsked
	case legacy:
		return maxLegacy
	}
	return 1
}

// done says that the answer to q is there, or not awaited any more.
func (p *peer) done(q *pending) {
	p.x.mu.Lock()
	p.asked--
	p.nextLocked()
	used := p.manner == legacy && q.se != nil && !q.observed
	p.x.mu.Unlock()
	if used {
		q.se.conn.Close()
	}
}

// nextLocked lets those go whose turn has come.
func (p *peer) nextLocked() {
	for len(p.queue) > 0 && p.asked < p.most() {
		q := p.queue[0]
		p.queue[0] = nil
		p.queue = p.queue[1:]
		p.asked++
		q.wake()
	}
}

// withdraw takes q back, and reports false if there is an answer. sent says that
// it may still come: where answers come in order, the session ends, since the
// next one would be taken for it.
func (p *peer) withdraw(q *pending, sent bool) bool {
	x := p.x
	x.mu.Lock()
	if p.waiting[q.call.Token] != q {
		x.mu.Unlock()
		<-q.ring // whoever has taken it rings
		return false
	}
	delete(p.waiting, q.call.Token)
	se := q.se
	inOrder := se != nil && se.inOrder == q
	if inOrder {
		se.inOrder = nil
	}
	x.mu.Unlock()
	if inOrder && sent {
		se.conn.Fail(errSilent)
	}
	return true
}

var errSilent = errors.New("rae: no answer from a peer that answers in order")

// send writes q and sends it over the session that suits.
func (p *peer) send(ctx context.Context, q *pending) error {
	x := p.x
	buf := x.buffer()
	defer x.recycleBuffer(buf)
	tell := p.register(q)
	if err := p.write(buf, &q.call); err != nil {
		if size, ok := errors.AsType[*SizeError](err); ok {
			err = oic.Errorf(oic.TooLarge, "a request of %d bytes is too large", size.Size)
		}
		return p.failed(q, notSent(err))
	}
	se, err := p.session(ctx, q, len(*buf))
	if err != nil {
		return p.failed(q, notSent(err))
	}
	if err := se.conn.Send(ctx, *buf); err != nil && err == ctx.Err() {
		return p.failed(q, notSent(err))
	} else if errors.Is(err, ibb.ErrNotBegun) {
		return p.failed(q, notSent(fmt.Errorf("%w: %w", errLost, err)))
	} else if err != nil {
		return p.failed(q, fmt.Errorf("%w: %w", errLost, err))
	}
	if tell {
		x.mu.Lock()
		p.told = true
		x.mu.Unlock()
	}
	return nil
}

// isLegacy reports whether the peer speaks raw CoAP.
func (p *peer) isLegacy() bool {
	p.x.mu.Lock()
	defer p.x.mu.Unlock()
	return p.manner == legacy
}

// write writes c as the peer understands it.
func (p *peer) write(buf *[]byte, c *Call) error {
	if p.isLegacy() {
		return p.writeRaw(buf, c)
	}
	doc, err := c.Document()
	if err == nil {
		*buf, err = doc.Append((*buf)[:0], 0)
	}
	return err
}

// failed is err, or what has befallen q before, unless err says more: that nothing
// was sent.
func (p *peer) failed(q *pending, err error) error {
	if p.withdraw(q, false) || errors.Is(err, oic.ErrNotSent) {
		return err
	}
	return q.err
}

// register gives q a token, unless it has one, and has answers come to it. tell says that it tells
// the peer how much we can put together.
func (p *peer) register(q *pending) (tell bool) {
	x := p.x
	x.mu.Lock()
	defer x.mu.Unlock()
	token := q.call.Token
	if p.manner == legacy && token == "" {
		token = rawToken()
	}
	for token == "" || p.waiting[token] != nil && !p.waiting[token].left {
		x.token++
		token = tokenText(x.token)
	}
	q.call.Token = token
	if tell = !p.told; tell {
		q.call.MaxMessage = maxDocument
	}
	p.waiting[token] = q
	return tell
}

// tokenText is a token as it is written: 8 digits.
func tokenText(n uint32) string {
	var b [4]byte
	return hex.EncodeToString(binary.BigEndian.AppendUint32(b[:0], n))
}

// randomToken is a token to begin with: those of before a restart are others.
func randomToken() uint32 {
	var b [4]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint32(b[:])
}

// opening is a session that is being opened.
type opening struct {
	done   chan struct{} // closed when it is there, or not
	cancel context.CancelFunc
	err    error // why not
}

// session returns the session over which q, which takes n bytes, is to go, and
// opens one if need be: the one that we have opened, else the peer's (IBB rule
// 1), and over another if that is too small.
func (p *peer) session(ctx context.Context, q *pending, n int) (*session, error) {
	x := p.x
	if p.isLegacy() {
		return p.rawSession(ctx, q, n)
	}
	for tried := false; ; tried = true {
		x.mu.Lock()
		tried = tried || p.largest > 0 && p.largest < n // nor is a new one large enough
		var se *session
		if !q.watch || p.manner != plain {
			se = p.pickLocked(n)
		}
		if se == nil && tried {
			se = p.fragmentsLocked(n)
		}
		if se != nil {
			q.se = se
			if p.manner != tokens {
				se.inOrder = q
			}
			x.mu.Unlock()
			return se, nil
		}
		some := len(p.sessions) > 0
		if tried && some {
			x.mu.Unlock()
			return nil, oic.Errorf(oic.TooLarge, "a request of %d bytes is too large for the peer", n)
		}
		if q.watch && p.manner == plain {
			x.mu.Unlock()
			return p.sessionApart(ctx, q, n)
		}
		o := p.openLocked()
		x.mu.Unlock()
		select {
		case <-o.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-q.timer.C:
			return nil, p.silence()
		}
		if o.err != nil && !some {
			return nil, o.err
		}
	}
}

// pickLocked is the first session that takes n bytes in one block and is free.
func (p *peer) pickLocked(n int) *session {
	for _, se := range p.sessions {
		if !se.apart && (se.inOrder == nil || p.manner == tokens) && se.conn.Block() >= n {
			return se
		}
	}
	return nil
}

// openLocked begins to open a session, unless one is being opened.
func (p *peer) openLocked() *opening {
	if p.opening != nil {
		return p.opening
	}
	ctx, cancel := context.WithCancel(p.x.ctx)
	o := &opening{done: make(chan struct{}), cancel: cancel}
	p.opening = o
	p.x.tasks.Go(func() {
		defer cancel()
		_, err := p.open(ctx)
		p.x.mu.Lock()
		defer p.x.mu.Unlock()
		o.err, p.opening = err, nil
		close(o.done)
		p.dropLocked()
	})
	return o
}

// open opens a session. If there are too many, those with the peer that was not
// needed for longest end.
func (p *peer) open(ctx context.Context) (*session, error) {
	c, err := p.x.ibb.Open(ctx, p.s, p.jid, ibb.Message)
	if err == ibb.ErrTooMany && p.x.makeRoom(p) {
		c, err = p.x.ibb.Open(ctx, p.s, p.jid, ibb.Message)
	}
	if err != nil {
		return nil, fmt.Errorf("rae: no session with %s: %w", p.jid, err)
	}
	se := c.Receiver().(*session)
	p.x.mu.Lock()
	defer p.x.mu.Unlock()
	if se.over {
		return nil, fmt.Errorf("rae: no session with %s: %w", p.jid, ibb.ErrGone)
	}
	se.ours = true
	se.joinLocked()
	p.largest = c.Block()
	return se, nil
}

// makeRoom ends the sessions with a peer other than p that nobody needs now. It
// reports false if there is none.
func (x *exchange) makeRoom(p *peer) bool {
	x.mu.Lock()
	var idlest *peer
	for _, other := range x.peers {
		idle := other != p && other.users == 0 && len(other.waiting) == 0 && other.serving == 0 && len(other.watches) == 0
		if idle && len(other.sessions) > 0 && (idlest == nil || other.used < idlest.used) {
			idlest = other
		}
	}
	var ended []*session
	if idlest != nil {
		ended = slices.Clone(idlest.sessions)
	}
	x.mu.Unlock()
	for _, se := range ended {
		se.conn.Close()
	}
	return len(ended) > 0
}
