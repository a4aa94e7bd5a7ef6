package coap

import (
	"context"
	"crypto/x509"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Peer is another endpoint, by its address. It is to datagrams what a Conn is
// to streams; but there is no connection that could end.
type Peer struct {
	e     *Endpoint
	route route
}

// Peer is the peer at addr.
func (e *Endpoint) Peer(addr netip.AddrPort) *Peer {
	return &Peer{e, route{addr: netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())}}
}

// Addr is the address of the peer.
func (p *Peer) Addr() netip.AddrPort { return p.route.addr }

// RemoteAddr is the address of the peer.
func (p *Peer) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(p.route.addr) }

// LocalAddr is the address of the endpoint's socket.
func (p *Peer) LocalAddr() net.Addr { return p.e.socks[p.route.via].LocalAddr() }

// Proved reports whether the peer receives what is sent to its address, as far
// as we know. Nothing large may be sent to one that is not proved.
func (p *Peer) Proved() bool {
	p.e.mu.Lock()
	defer p.e.mu.Unlock()
	r := p.e.remotes[p.route]
	return r != nil && r.trusted()
}

// Security is what a peer has proved by a handshake.
type Security struct {
	Certificates []*x509.Certificate // its own first, then those that vouch for it; verified
	PSKIdentity  []byte              // the name of the shared key
}

// SecureConn is a PacketConn of which only those peers are heard that have
// shaken hands.
type SecureConn interface {
	PacketConn

	// Security is what the peer has proved; nil: there is no session.
	Security(peer netip.AddrPort) *Security

	// OnEnd has ended called whenever a session is over, or could not be
	// begun. It is called once, before anything is read.
	OnEnd(ended func(peer netip.AddrPort, err error))
}

// Security is what the peer has proved by a handshake; nil: nothing, or the
// socket is a plain one.
func (p *Peer) Security() *Security {
	if s, ok := p.e.socks[p.route.via].(SecureConn); ok {
		return s.Security(p.route.addr)
	}
	return nil
}

// sessionEnded ends what is under way with a peer whose session is over.
func (e *Endpoint) sessionEnded(peer netip.AddrPort, err error) {
	e.mu.Lock()
	if r := e.remotes[route{addr: netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())}]; r != nil {
		e.remove(r, closedError{err})
	}
	e.unlock()
}

// remote is what we remember of a peer. Endpoint.mu guards it.
type remote struct {
	e            *Endpoint
	route        route
	older, newer *remote // in Endpoint's list
	seen         time.Duration
	proved       bool
	nextID       uint16
	recent       recent

	out       map[uint16]*outgoing // not yet acknowledged, or still awaited, by Message ID
	queue     []*outgoing          // Confirmable ones that wait for their turn
	flying    int                  // Confirmable ones in out
	waiting   map[Token]*request   // requests of ours
	observers map[Token]*notifier  // whom we notify
	tasks     map[*Exchange]bool   // requests of the peer in the hands of Go
	serving   int                  // functions of Go that run
	changed   event                // of queue

	blocks *blocks // nil: there were none

	accept  sync.Once
	handler Handler
	turn    sync.Mutex // held while handler serves; not guarded by Endpoint.mu
}

// remote finds what we remember of a peer, and begins to. It is nil if there
// is something under way with too many others. e.mu is held.
func (e *Endpoint) remote(at route) *remote {
	r := e.remotes[at]
	if r == nil {
		if len(e.remotes) >= maxRemotes && !e.makeRoom() {
			return nil
		}
		r = &remote{e: e, route: at, nextID: uint16(rand.Uint32()), seen: e.now()}
		e.remotes[at] = r
		e.link(r)
		if e.sweep.place == 0 {
			e.set(&e.sweep, sweepEvery)
		}
	}
	return r
}

// touch notes that the peer has sent something. e.mu is held.
func (e *Endpoint) touch(r *remote, now time.Duration) {
	r.seen = now
	if e.newest != r {
		e.unlink(r)
		e.link(r)
	}
}

func (e *Endpoint) link(r *remote) {
	if r.older = e.newest; r.older != nil {
		r.older.newer = r
	} else {
		e.oldest = r
	}
	e.newest = r
}

func (e *Endpoint) unlink(r *remote) {
	if r.older != nil {
		r.older.newer = r.newer
	} else {
		e.oldest = r.newer
	}
	if r.newer != nil {
		r.newer.older = r.older
	} else {
		e.newest = r.older
	}
	r.older, r.newer = nil, nil
}

// sweepIdle forgets those who were silent for long. e.mu is held.
func (e *Endpoint) sweepIdle() {
	now := e.now()
	for r := e.oldest; r != nil && now-r.seen >= remoteIdle; {
		next := r.newer
		if !r.busy() {
			e.remove(r, ErrClosed)
		}
		r = next
	}
	if len(e.remotes) > 0 {
		e.set(&e.sweep, sweepEvery)
	}
}

// makeRoom forgets the one who was silent longest, if there is one near the
// end of the list with whom nothing is under way. e.mu is held.
func (e *Endpoint) makeRoom() bool {
	r := e.oldest
	for range 16 {
		if r == nil {
			return false
		}
		if !r.busy() {
			e.remove(r, ErrClosed)
			return true
		}
		next := r.newer
		e.unlink(r)
		e.link(r)
		r = next
	}
	return false
}

// busy reports whether something is under way with the peer.
func (r *remote) busy() bool {
	return len(r.out)+len(r.queue)+len(r.waiting)+len(r.observers)+r.serving > 0
}

// trusted reports whether the peer may get large answers and notifications.
func (r *remote) trusted() bool {
	if r.proved || r.e.cfg.Closed {
		return true
	}
	_, secure := r.e.socks[r.route.via].(SecureConn)
	return secure
}

// remove forgets r. e.mu is held.
func (e *Endpoint) remove(r *remote, err error) {
	e.unlink(r)
	delete(e.remotes, r.route)
	r.end(err)
}

// end ends all that is under way with the peer. e.mu is held.
func (r *remote) end(err error) {
	out, queue := r.out, r.queue
	r.out, r.queue, r.flying = nil, nil, 0
	for _, o := range out {
		r.e.unset(&o.timer)
		o.done(err)
	}
	for _, o := range queue {
		o.done(err)
	}
	for _, q := range r.waiting {
		q.over()
		r.e.calls = append(r.e.calls, func() { q.w.fail(err) })
	}
	r.waiting = nil
	for _, n := range r.observers {
		n.end(err)
	}
	for x := range r.tasks {
		x.in.cancel(err)
	}
	if r.blocks != nil {
		r.blocks.close()
	}
	r.tasks = nil
	r.changed.broadcast()
}

// groupIDs is the first of the Message IDs of requests to groups. A member has
// them from the same address as requests to itself, and takes what has an ID that
// it knows for a copy (RFC 7252, section 4.4).
const groupIDs = 0xff00

// newID returns the next Message ID.
func (r *remote) newID() uint16 {
	r.nextID = (r.nextID + 1) % groupIDs
	return r.nextID
}

// request is a request of ours that waits for responses.
type request struct {
	r     *remote
	token Token
	o     *outgoing
	w     waiter
	once  bool // one response is all
	last  bool // it ends an observation, and nobody wants the response
}

// randomToken returns a token that others cannot guess: whoever sends it back
// has received what it was sent with.
func randomToken() Token { return TokenFrom(rand.Uint64()) }

// Do sends req, with a token of its own, and returns the response, which is
// the caller's to keep. req is not changed; it is sent Confirmable unless its
// Type is NonConfirmable. A response that comes after ctx has ended is
// dropped.
//
// req and its response may be up to MaxBlockBody long: what does not fit into a
// datagram goes in blocks.
//
// The error is ctx.Err(); ErrSilent if the peer does not acknowledge, or ctx
// has no deadline and there is no answer within 247 s; ErrReset; ErrTooLarge
// if a body or the options are longer than that allows; ErrChanged; a *FormatError if the response was
// malformed; or has ErrClosed and the reason in its chain.
func (p *Peer) Do(ctx context.Context, req *Message) (*Message, error) {
	return blockDo(ctx, req, p.e.blockTerms(), p.exchange)
}

// exchange is Do with one datagram each way.
func (p *Peer) exchange(ctx context.Context, req *Message) (*Message, error) {
	resp, err := p.do(ctx, req)
	if err == nil && resp.Code == Unauthorized {
		if again := withEcho(req, resp); again != nil {
			return p.do(ctx, again)
		}
	}
	return resp, err
}

func (p *Peer) do(ctx context.Context, req *Message) (*Message, error) {
	answer := make(call, 1)
	q, err := p.begin(ctx, req, answer)
	if err != nil {
		return nil, err
	}
	var late <-chan time.Time
	if _, bounded := ctx.Deadline(); !bounded {
		t := time.NewTimer(sendFor)
		defer t.Stop()
		late = t.C
	}
	select {
	case r := <-answer:
		return r.m, r.err
	case <-ctx.Done():
		err = ctx.Err()
	case <-late:
		err = ErrSilent
	}
	p.e.mu.Lock()
	q.forget()
	p.e.unlock()
	return nil, err
}

// begin sends req and has w wait for what comes of it. It waits while too much
// is to be sent to the peer.
func (p *Peer) begin(ctx context.Context, req *Message, w waiter) (*request, error) {
	e := p.e
	e.mu.Lock()
	defer e.unlock()
	r, err := p.await(ctx)
	if err != nil {
		return nil, err
	}
	return r.ask(req, randomToken(), w)
}

// room returns the far end if there is room in the queue for it. The error is
// errFull if not; with a remote if waiting helps. e.mu is held.
func (p *Peer) room() (*remote, error) {
	if p.e.closed() {
		return nil, p.e.closedErr()
	}
	r := p.e.remote(p.route)
	if r == nil || len(r.queue) >= maxOutgoing {
		return r, errFull
	}
	return r, nil
}

// await waits until there is room in the queue for the peer. e.mu is held, but
// not while it waits.
func (p *Peer) await(ctx context.Context) (*remote, error) {
	e := p.e
	for {
		r, err := p.room()
		if r == nil || err == nil {
			return r, err
		}
		changed := r.changed.wait()
		e.unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		case <-e.done:
		}
		e.mu.Lock()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// ask sends req with a token. e.mu is held.
func (r *remote) ask(req *Message, t Token, w waiter) (*request, error) {
	m := *req
	m.Token = t
	if m.Type != NonConfirmable {
		m.Type = Confirmable
	}
	_, once := w.(call)
	q := &request{r: r, token: t, w: w, once: once}
	if err := q.send(&m); err != nil {
		return nil, err
	}
	if r.waiting == nil {
		r.waiting = map[Token]*request{}
	}
	r.waiting[t] = q
	return q, nil
}

// send sends m for q, which may have sent others before. e.mu is held.
func (q *request) send(m *Message) error {
	m.ID = q.r.newID()
	wire, err := encode(m)
	if err != nil {
		return err
	}
	if q.o != nil {
		q.r.drop(q.o)
	}
	q.o = &outgoing{r: q.r, wire: wire, id: m.ID, token: m.Token, confirm: m.Type == Confirmable, done: q.settled}
	q.r.transmit(q.o)
	return nil
}

// settled is told what came of the message. e.mu is held.
func (q *request) settled(err error) {
	switch {
	case q.last:
		q.parted(err)
	case err != nil: // else the response may still come
		q.forget()
		q.r.e.calls = append(q.r.e.calls, func() { q.w.fail(err) })
	}
}

// forget makes nobody wait for the response any more. e.mu is held.
func (q *request) forget() {
	if q.r.waiting[q.token] == q {
		delete(q.r.waiting, q.token)
		q.over()
	}
	q.r.drop(q.o)
}

// encode returns the datagram of m.
func encode(m *Message) ([]byte, error) {
	wire, err := m.Append(UDP, nil)
	if err != nil {
		return nil, err
	}
	if len(wire) > MaxDatagram {
		return nil, tooLong(len(wire))
	}
	return wire, nil
}

// Send sends m as it is, except for its Message ID: a response for which no
// Exchange is at hand, for example. A Confirmable one is sent until it is
// acknowledged, which Send does not wait for.
func (p *Peer) Send(ctx context.Context, m *Message) error {
	e := p.e
	e.mu.Lock()
	defer e.unlock()
	r, err := p.await(ctx)
	if err != nil {
		return err
	}
	n := *m
	n.ID = r.newID()
	wire, err := encode(&n)
	if err != nil {
		return err
	}
	if n.Type == Confirmable {
		r.transmit(&outgoing{r: r, wire: wire, id: n.ID, confirm: true, done: func(error) {}})
	} else {
		e.post(r.route, wire)
	}
	return nil
}

// Ping asks for a sign of life, and returns how long it took (RFC 7252, section
// 4.3). The error is as that of Do.
func (p *Peer) Ping(ctx context.Context) (time.Duration, error) {
	e := p.e
	start := time.Now()
	answer := make(chan error, 1)
	e.mu.Lock()
	r, err := p.await(ctx)
	if err != nil {
		e.unlock()
		return 0, err
	}
	o := &outgoing{r: r, id: r.newID(), confirm: true, done: func(err error) { answer <- err }}
	o.wire = appendBare(nil, Confirmable, o.id)
	r.transmit(o)
	e.unlock()
	select {
	case err = <-answer:
	case <-ctx.Done():
		err = ctx.Err()
	case <-e.done:
		err = closedError{e.Err()}
	}
	if err == nil || errors.Is(err, ErrReset) { // some acknowledge where a Reset is due
		return time.Since(start), nil
	}
	e.mu.Lock()
	r.drop(o)
	e.unlock()
	return 0, err
}

// Do is Peer(to).Do.
func (e *Endpoint) Do(ctx context.Context, to netip.AddrPort, req *Message) (*Message, error) {
	return e.Peer(to).Do(ctx, req)
}

// Observe is Peer(at).Observe.
func (e *Endpoint) Observe(at netip.AddrPort, req *Message, each func(resp *Message, err error)) (*Observation, error) {
	return e.Peer(at).Observe(req, each)
}
