package coap

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"
)

// The transmission parameters of RFC 7252, section 4.8.
const (
	ackTimeout    = 2 * time.Second
	ackRandom     = 1.5 // ACK_RANDOM_FACTOR
	maxRetransmit = 4
	nStart        = 1
)

// maxOutgoing is how many Confirmable messages to one peer may wait for their
// turn.
const maxOutgoing = 64

// outgoing is a message of ours that the peer will settle: by acknowledging it,
// by a Reset, by a response, or by silence. Endpoint.mu guards it.
type outgoing struct {
	r       *remote
	wire    []byte
	id      uint16
	token   Token
	confirm bool
	tries   int           // retransmissions made
	wait    time.Duration // for the acknowledgement
	timer   timer
	done    func(err error) // told once, with nil if acknowledged; e.mu is held

	// renew may give something newer to send in place of the message, when it
	// would be retransmitted (RFC 7641, section 4.5.2); nil: nothing.
	renew func() []byte
}

func tooLong(n int) error {
	return fmt.Errorf("%w: %d bytes, a datagram holds %d", ErrTooLarge, n, MaxDatagram)
}

// transmit sends o, as soon as the peer may get one more Confirmable message
// (NSTART).
func (r *remote) transmit(o *outgoing) {
	if o.confirm && r.flying >= nStart {
		r.queue = append(r.queue, o)
		return
	}
	r.fly(o)
}

// fly sends o for the first time.
func (r *remote) fly(o *outgoing) {
	if r.out == nil {
		r.out = map[uint16]*outgoing{}
	}
	r.out[o.id] = o
	r.e.post(r.route, o.wire)
	if !o.confirm {
		return
	}
	r.flying++
	o.wait = time.Duration(float64(ackTimeout) * (1 + rand.Float64()*(ackRandom-1)))
	o.timer.do = o.late
	r.e.set(&o.timer, o.wait)
}

// late is for when an acknowledgement is overdue.
func (o *outgoing) late() {
	if o.tries++; o.tries > maxRetransmit {
		o.settle(ErrSilent)
		return
	}
	if o.renew != nil {
		if wire := o.renew(); wire != nil {
			delete(o.r.out, o.id)
			o.id = o.r.newID()
			o.wire = stamp(wire, Confirmable, o.id)
			o.r.out[o.id] = o
		}
	}
	o.r.e.post(o.r.route, o.wire)
	o.wait *= 2
	o.r.e.set(&o.timer, o.wait)
}

// settle ends the transmission of o and says how it ended.
func (o *outgoing) settle(err error) {
	if o.r.drop(o) {
		o.done(err)
	}
}

// drop ends the transmission of o silently. It reports whether o was still to
// be settled.
func (r *remote) drop(o *outgoing) bool {
	if r.out[o.id] == o {
		delete(r.out, o.id)
		if o.confirm {
			r.e.unset(&o.timer)
			r.flying--
			r.next()
		}
		return true
	}
	for i, waits := range r.queue {
		if waits == o {
			r.queue = append(r.queue[:i], r.queue[i+1:]...)
			r.changed.broadcast()
			return true
		}
	}
	return false
}

// next sends what waits, if the peer may get it.
func (r *remote) next() {
	for r.flying < nStart && len(r.queue) > 0 {
		o := r.queue[0]
		r.queue = append(r.queue[:0], r.queue[1:]...)
		r.fly(o)
		r.changed.broadcast()
	}
}

// stamp gives a datagram another type and Message ID.
func stamp(wire []byte, t Type, id uint16) []byte {
	wire[0] = wire[0]&^(3<<4) | byte(t)<<4
	binary.BigEndian.PutUint16(wire[2:], id)
	return wire
}

// acknowledged deals with an ACK, which may hold a response. err is why that
// could not be read whole.
func (e *Endpoint) acknowledged(in arrival, m *Message, err error) {
	e.mu.Lock()
	r := e.remotes[in.route]
	if r == nil || r.out[m.ID] == nil || !r.out[m.ID].confirm || in.multicast {
		e.mu.Unlock()
		return // late, twice, or not for us
	}
	e.touch(r, e.now())
	o := r.out[m.ID]
	if m.Code == Empty {
		o.settle(nil)
		e.unlock()
		return
	}
	q := r.waiting[m.Token]
	if o.token != m.Token || q == nil {
		e.mu.Unlock()
		return
	}
	o.settle(nil)
	e.deliver(q, m, err)
}

// wasReset deals with an RST.
func (e *Endpoint) wasReset(in arrival, id uint16) {
	e.mu.Lock()
	defer e.unlock()
	r := e.remotes[in.route]
	if r == nil || in.multicast {
		return
	}
	e.touch(r, e.now())
	if o := r.out[id]; o != nil {
		o.settle(ErrReset)
		return
	}
	for _, n := range r.observers {
		if n.sent(id) {
			n.end(ErrReset)
			return
		}
	}
}

// response deals with a response in a message of its own. err is why it could
// not be read whole.
func (e *Endpoint) response(in arrival, m *Message, err error) {
	if in.multicast {
		return
	}
	e.mu.Lock()
	r := e.remotes[in.route]
	a := e.asks[m.Token]
	if r == nil && a != nil {
		r = e.remote(in.route)
	}
	if r == nil {
		e.mu.Unlock()
		e.unwanted(in, m)
		return
	}
	now := e.now()
	e.touch(r, now)
	if r.recent.find(m.ID, now) != nil {
		e.mu.Unlock()
		if m.Type == Confirmable {
			e.bare(in.route, Acknowledgement, m.ID)
		}
		return
	}
	q := r.waiting[m.Token]
	if q == nil && a == nil {
		e.mu.Unlock()
		e.unwanted(in, m)
		return
	}
	r.recent.add(m.ID, now+exchangeLifetime)
	if m.Type == Confirmable {
		e.post(r.route, appendBare(nil, Acknowledgement, m.ID))
	}
	if q == nil {
		e.unlock()
		a.deliver(in.addr, m)
		return
	}
	r.drop(q.o) // as good as acknowledged (RFC 7252, section 5.2.2)
	e.deliver(q, m, err)
}

// unwanted refuses a response that nobody waits for: one that would come
// again.
func (e *Endpoint) unwanted(in arrival, m *Message) {
	e.cfg.Log.Debug("coap response dropped", "remote", in.addr, "code", m.Code, "token", m.Token)
	if m.Type == Confirmable || m.Options.Has(Observe) {
		e.reset(in, m.ID)
	}
}

// deliver hands a response to whom it belongs. e.mu is held, and unlocked.
func (e *Endpoint) deliver(q *request, m *Message, err error) {
	q.r.proved = true // it knows a token that was sent to it
	if q.once {
		q.forget()
	}
	e.unlock()
	if !q.w.deliver(m, err) && !q.once {
		e.mu.Lock()
		q.forget()
		e.unlock()
	}
}
