package coap

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/farreach/farreach/internal/wire"
)

// processing is how long a handler may take until the request is acknowledged
// without its response (RFC 7252, section 5.2.2), well before the peer would
// send it again.
const processing = 250 * time.Millisecond

// maxLeisure is how many answers to multicast requests may wait at once.
const maxLeisure = 64

// inbound is what an Exchange knows of a request that came as a datagram.
type inbound struct {
	r        *remote
	serial   uint64 // of its entry in r.recent
	arrival  arrival
	replied  bool
	acked    bool  // its acknowledgement is sent, without a response
	delay    timer // until it is
	watch    *notifier
	ctx      context.Context // of Go
	cancelIt context.CancelCauseFunc
}

// request deals with a request. bad says what is wrong with its options.
func (e *Endpoint) request(x *Exchange, in arrival, bad *FormatError) {
	m := &x.req
	x.part = nil
	e.mu.Lock()
	r := e.admit(in, m)
	if r == nil {
		e.unlock()
		return
	}
	x.in.r, x.in.arrival = r, in
	x.in.serial = r.recent.serial
	e.unlock()
	if bad != nil {
		x.Reply(&Message{Code: bad.Answer, Payload: []byte(bad.Why)})
		return
	}
	if x.acceptDatagram() {
		e.serve(x)
	}
}

// admit notes that a request came, and returns from whom if it is to be
// served. e.mu is held.
func (e *Endpoint) admit(in arrival, m *Message) *remote {
	r := e.remote(in.route)
	if r == nil || e.closed() {
		return nil
	}
	now := e.now()
	e.touch(r, now)
	if seen := r.recent.find(m.ID, now); seen != nil {
		again := seen.lost && (m.Code == GET || m.Code == FETCH)
		if !again {
			if m.Type == Confirmable && len(seen.answer) > 0 {
				e.post(in.route, slices.Clone(seen.answer))
			}
			return nil
		}
		r.recent.drop(seen)
	}
	if r.serving >= maxOpen || e.serving >= maxServing {
		return nil // it will come again
	}
	if o, ok := m.Options.Get(Echo); ok && e.echo.proves(o.Value, in.addr, now) {
		r.proved = true
	}
	life := nonLifetime
	if m.Type == Confirmable {
		life = exchangeLifetime
	}
	r.recent.add(m.ID, now+life)
	if v, ok := m.Options.Uint(Observe); ok && v == 1 && m.Code == GET {
		if n := r.observers[m.Token]; n != nil {
			n.end(ErrNotObserved)
		}
	}
	return r
}

// serve has the request answered.
func (e *Endpoint) serve(x *Exchange) {
	r := x.in.r
	r.turn.Lock()
	defer r.turn.Unlock()
	r.accept.Do(func() {
		if r.handler = e.cfg.Handler; e.cfg.Accept != nil {
			r.handler = e.cfg.Accept(&Peer{e, r.route})
		}
	})
	if r.handler == nil {
		x.Reply(&Message{Code: NotFound})
		return
	}
	defer x.apologize()
	r.handler.Serve(x)
	if !x.detached && !x.in.replied {
		x.acknowledge()
	}
}

// apologize answers the request if a handler panics.
func (x *Exchange) apologize() {
	if p := recover(); p != nil {
		x.Reply(&Message{Code: InternalServerError})
		panic(p)
	}
}

// acknowledge sends the acknowledgement of a request without a response.
func (x *Exchange) acknowledge() {
	e := x.in.r.e
	e.mu.Lock()
	x.acknowledgeLocked()
	e.unlock()
}

func (x *Exchange) acknowledgeLocked() {
	in := &x.in
	if in.replied || in.acked || x.req.Type != Confirmable || in.arrival.multicast {
		return
	}
	in.acked = true
	wire := appendBare(nil, Acknowledgement, x.req.ID)
	in.r.recent.keep(in.serial, wire)
	in.r.e.post(in.r.route, wire)
}

// replyDatagram is Reply for a request that came as a datagram.
func (x *Exchange) replyDatagram(resp *Message) error {
	in := &x.in
	resp, err := x.inDatagrams(resp)
	if err != nil {
		return err
	}
	if in.arrival.multicast {
		return x.replyGroup(resp)
	}
	m := *resp
	m.Token = x.req.Token
	r, e := in.r, in.r.e
	b := wire.Borrow()
	defer b.Free()

	e.mu.Lock()
	if e.closed() {
		defer e.mu.Unlock()
		return e.closedErr()
	}
	x.head(&m)
	wire, err := m.Append(UDP, b.B)
	if err == nil && !r.trusted() && len(wire) > amplify*in.arrival.size {
		wire, err = x.challenge(&m, b.B)
	}
	if err == nil && len(wire) > MaxDatagram {
		err = tooLong(len(wire))
	}
	if err != nil {
		e.mu.Unlock()
		return err
	}
	in.replied = true
	e.unset(&in.delay)
	switch m.Type {
	case Confirmable:
		r.transmit(&outgoing{r: r, wire: slices.Clone(wire), id: m.ID, confirm: true, done: func(error) {}})
		x.rest()
		e.unlock()
		return nil
	case Acknowledgement:
		r.recent.keep(in.serial, wire)
	}
	x.rest()
	e.unlock()
	e.write(r.route, wire)
	b.B = wire
	return nil
}

// head gives m the type and Message ID of an answer. Endpoint.mu is held.
func (x *Exchange) head(m *Message) {
	switch {
	case x.req.Type == Confirmable && !x.in.acked && !x.in.replied:
		m.Type, m.ID = Acknowledgement, x.req.ID
	case x.req.Type == Confirmable:
		m.Type, m.ID = Confirmable, x.in.r.newID()
	default:
		m.Type, m.ID = NonConfirmable, x.in.r.newID()
	}
}

// challenge makes of m what an address that is not proved may get in its
// place: 4.01 with an Echo option (RFC 9175, section 2.4), or only the code if
// something was done already.
func (x *Exchange) challenge(m *Message, dst []byte) ([]byte, error) {
	in := &x.in
	m.Options, m.Payload = nil, nil
	if x.req.Code == GET || x.req.Code == FETCH || m.Code.Class() != 2 {
		if m.Code.Class() == 2 {
			m.Code = Unauthorized
		}
		m.Options = Options{{Number: Echo, Value: in.r.e.echo.value(in.r.route.addr, in.r.e.now())}}
	}
	wire, err := m.Append(UDP, dst)
	if err == nil && len(wire) > amplify*in.arrival.size {
		m.Options = nil
		wire, err = m.Append(UDP, dst)
	}
	return wire, err
}

// replyGroup answers a request that was sent to a multicast group: not if the
// answer is an error, and after a random time (RFC 7252, section 8.2).
func (x *Exchange) replyGroup(resp *Message) error {
	in := &x.in
	r, e := in.r, in.r.e
	if resp.Code.Class() != 2 || in.replied {
		return nil
	}
	m := *resp
	m.Token, m.Type = x.req.Token, NonConfirmable
	e.mu.Lock()
	defer e.unlock()
	m.ID = r.newID()
	wire, err := encode(&m)
	if err != nil || e.closed() || e.leisure >= maxLeisure {
		return err
	}
	in.replied = true
	x.rest()
	if e.cfg.Leisure < 0 {
		e.post(r.route, wire)
		return nil
	}
	e.leisure++
	e.set(&timer{do: func() {
		e.leisure--
		e.post(r.route, wire)
	}}, rand.N(e.cfg.Leisure+1))
	return nil
}

// goDatagram is Go for a request that came as a datagram.
func (x *Exchange) goDatagram(f func(ctx context.Context)) {
	r, e := x.in.r, x.in.r.e
	e.mu.Lock()
	if !x.detached {
		x.detached = true
		x.req = *x.req.Clone()
		x.in.ctx, x.in.cancelIt = context.WithCancelCause(e.ctx)
		if r.tasks == nil {
			r.tasks = map[*Exchange]bool{}
		}
		r.tasks[x] = true
		if x.req.Type == Confirmable && !x.in.replied && !e.closed() {
			x.in.delay.do = x.acknowledgeLocked
			e.set(&x.in.delay, processing)
		}
	}
	x.tasks++
	r.serving++
	e.serving++
	ctx := x.in.ctx
	e.mu.Unlock()
	e.tasks.Go(func() {
		defer x.doneDatagram()
		defer e.rescue()
		defer x.apologize()
		f(ctx)
	})
}

// doneDatagram is the end of one function of Go.
func (x *Exchange) doneDatagram() {
	r, e := x.in.r, x.in.r.e
	e.mu.Lock()
	x.tasks--
	r.serving--
	e.serving--
	x.rest()
	e.unlock()
}

// rest ends the ctx of Go when the request is answered, nothing runs for it,
// and no notifications follow. Endpoint.mu is held.
func (x *Exchange) rest() {
	if x.in.replied && x.tasks == 0 && x.in.watch == nil {
		x.in.cancel(nil)
		delete(x.in.r.tasks, x)
	}
}

func (in *inbound) cancel(err error) {
	if in.cancelIt != nil {
		in.cancelIt(err)
	}
}
