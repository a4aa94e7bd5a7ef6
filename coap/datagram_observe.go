package coap

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// confirmEvery says which notifications are Confirmable, so that an observer
// that has gone is noticed: every fifth.
const confirmEvery = 5

// notifier is one who observes a resource of ours. Endpoint.mu guards it.
type notifier struct {
	x     *Exchange
	r     *remote
	token Token
	count int
	last  [4]uint16 // the Message IDs of the last notifications that are not Confirmable
	ended bool

	flying *outgoing // a Confirmable notification on its way
	newer  []byte    // what is to follow it: the newest state
	final  bool      // flying, or newer if there is one, is the last
}

// sendDatagram is Send for a request that came as a datagram: an answer first,
// which begins an observation if it has the Observe option, and then
// notifications, of which the first without it is the last (RFC 7641, section
// 4.2).
func (x *Exchange) sendDatagram(ctx context.Context, resp *Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	resp, err := x.inDatagrams(resp)
	if err != nil {
		return err
	}
	in := &x.in
	e := in.r.e
	more := resp.Code.Class() == 2 && resp.Options.Has(Observe)
	e.mu.Lock()
	n, replied := in.watch, in.replied
	if n != nil {
		defer e.unlock()
		return n.notify(resp, more)
	}
	if replied && more {
		e.unlock()
		return ErrNotObserved
	}
	if !more {
		e.unlock()
		return x.replyDatagram(resp)
	}
	m := *resp
	if n = x.watched(); n == nil {
		m.Options = without(m.Options, Observe)
		if !in.arrival.multicast && !in.r.trusted() { // it may observe when it has proved its address
			m = Message{Code: Unauthorized, Options: Options{{Number: Echo, Value: e.echo.value(in.r.route.addr, e.now())}}}
		}
		e.unlock()
		if err := x.replyDatagram(&m); err != nil {
			return err
		}
		return ErrNotObserved
	}
	m.Options = e.numbered(m.Options)
	e.unlock()
	if err = x.replyDatagram(&m); err != nil {
		e.mu.Lock()
		n.end(err)
		in.watch = nil // so that something shorter may be sent
		e.unlock()
	}
	return err
}

// watched makes the peer an observer, in the place of one with the same token;
// nil: it must not be one. Endpoint.mu is held.
func (x *Exchange) watched() *notifier {
	in := &x.in
	r := in.r
	old := r.observers[x.req.Token]
	if in.arrival.multicast || !r.trusted() || x.in.ctx == nil || x.in.ctx.Err() != nil ||
		old == nil && len(r.observers) >= maxObservers || r.e.remotes[r.route] != r {
		return nil
	}
	if old != nil {
		old.end(ErrNotObserved)
	}
	n := &notifier{x: x, r: r, token: x.req.Token}
	if r.observers == nil {
		r.observers = map[Token]*notifier{}
	}
	r.observers[n.token] = n
	in.watch = n
	return n
}

// maxObservers is how many resources one peer may observe.
const maxObservers = 64

// numbered returns a copy of options with the next sequence number, which grows
// for all observations together, so that it does for each. e.mu is held.
func (e *Endpoint) numbered(options Options) Options {
	e.sequence++
	m := Message{Options: without(options, Observe)}
	m.AddUint(Observe, e.sequence&0xffffff)
	return m.Options
}

// without returns a copy of options without those of a number.
func without(options Options, n Number) Options {
	kept := make(Options, 0, len(options)+1)
	for _, o := range options {
		if o.Number != n {
			kept = append(kept, o)
		}
	}
	return kept
}

// notify sends resp to the observer, or has it follow what is on its way to
// it.
func (n *notifier) notify(resp *Message, more bool) error {
	if n.ended {
		return ErrNotObserved
	}
	m := *resp
	m.Type, m.ID, m.Token = NonConfirmable, 0, n.token
	if more {
		m.Options = n.r.e.numbered(m.Options)
	} else {
		m.Options = without(m.Options, Observe)
	}
	wire, err := encode(&m)
	if err != nil {
		return err
	}
	n.final = !more
	if n.flying != nil {
		n.newer = wire
	} else {
		n.send(wire)
	}
	return nil
}

// send sends a notification.
func (n *notifier) send(wire []byte) {
	n.count++
	id := n.r.newID()
	if n.count%confirmEvery != 0 && !n.final {
		n.last[(n.count-1)%len(n.last)] = id
		n.r.e.post(n.r.route, stamp(wire, NonConfirmable, id))
		return
	}
	n.flying = &outgoing{r: n.r, id: id, wire: stamp(wire, Confirmable, id), confirm: true, done: n.settled, renew: n.renew}
	n.r.transmit(n.flying)
}

// renew is what is to be sent in place of what was not acknowledged.
func (n *notifier) renew() []byte {
	wire := n.newer
	n.newer = nil
	return wire
}

// settled is told what came of a Confirmable notification.
func (n *notifier) settled(err error) {
	n.flying = nil
	switch wire := n.newer; {
	case n.ended:
	case err != nil:
		n.end(err)
	case wire != nil:
		n.newer = nil
		n.send(wire)
	case n.final:
		n.end(ErrNotObserved)
	}
}

// sent reports whether a notification had this Message ID.
func (n *notifier) sent(id uint16) bool {
	for i, have := range n.last {
		if i < n.count && have == id {
			return true
		}
	}
	return false
}

// end ends the observation.
func (n *notifier) end(err error) {
	if n.ended {
		return
	}
	n.ended = true
	if n.r.observers[n.token] == n {
		delete(n.r.observers, n.token)
	}
	if n.flying != nil {
		n.r.drop(n.flying)
	}
	n.x.in.cancel(err)
	delete(n.r.tasks, n.x)
}

// Renewal of an observation of ours: RFC 7641, section 3.3.1 asks for 5 to 15 s
// beyond the age to which the last notification stays fresh.
const (
	defaultMaxAge = 60 * time.Second // RFC 7252, section 5.10.5
	leastMaxAge   = 5 * time.Second  // however short the peer has it
	renewAfter    = 5 * time.Second
	renewWithin   = 10 * time.Second

	// A peer with several observations of ours that does not say how long what
	// it tells stays fresh hears of one of them in this time, and of each in a
	// longer one; both are means.
	renewShared = 90 * time.Second
	renewEach   = 10 * time.Minute
)

// Order of notifications (RFC 7641, section 3.4).
const (
	sequenceHalf = 1 << 23
	sequenceLife = 128 * time.Second
)

// watch is an observation of ours.
type watch struct {
	o *Observation
	p *Peer
	q *request

	renew   timer // Endpoint.mu guards it
	renewed bool  // and this: the next notification is fresh whatever its number

	mu       sync.Mutex // held during o.each; guards what follows
	ended    bool
	echoed   bool
	counting bool
	sequence uint32
	at       time.Duration
}

// Observe sends req, with a token of its own and the Observe option, and does
// not wait. each is called for one notification at a time, which is valid
// during the call, and not for those that are older than the one before; and
// at last once with an error: those of Do, or ErrNotObserved behind a response
// that has no Observe option or is an error itself. When no notification came
// for as long as the last one said that it stays fresh, req is sent again.
func (p *Peer) Observe(req *Message, each func(resp *Message, err error)) (*Observation, error) {
	e := p.e
	w := &watch{p: p}
	w.o = &Observation{req: observing(req, 0), watch: w}
	w.o.gather(req, each, e.blockTerms, p.exchange, e.tasks.Go)
	w.renew.do = w.again
	e.mu.Lock()
	defer e.unlock()
	r, err := p.room()
	if err != nil {
		return nil, err
	}
	w.o.token = randomToken()
	w.o.req.Token, w.o.req.Type = w.o.token, Confirmable
	if w.q, err = r.ask(w.o.req, w.o.token, w); err != nil {
		return nil, err
	}
	return w.o, nil
}

// again sends the request once more. Endpoint.mu is held.
func (w *watch) again() {
	if w.q.r.waiting[w.q.token] != w.q {
		return
	}
	w.renewed = true
	if err := w.q.send(w.o.req); err != nil {
		w.q.settled(err)
	}
}

// cancel is Observation.Cancel.
func (w *watch) cancel() {
	e := w.p.e
	e.mu.Lock()
	defer e.unlock()
	if w.q.r.waiting[w.q.token] != w.q {
		return
	}
	w.q.forget()
	e.unset(&w.renew)
	if q, err := w.q.r.ask(observing(w.o.req, 1), w.o.token, make(call, 1)); err == nil {
		q.last = true
		e.parting++
	}
}

// over counts the end of a request that ends an observation. e.mu is held.
func (q *request) over() {
	if !q.last {
		return
	}
	if q.r.e.parting--; q.r.e.parting == 0 {
		q.r.e.parted.broadcast()
	}
}

// parted is told what came of a request that ends an observation. A peer that is
// silent is not told of the end of its other observations either: each would be
// sent for a minute and a half, before anything else. e.mu is held.
func (q *request) parted(err error) {
	q.forget()
	if !errors.Is(err, ErrSilent) {
		return
	}
	for _, sent := range []bool{false, true} { // first those that would be sent in place of others
		for _, other := range q.r.waiting {
			if other.last && (q.r.out[other.o.id] == other.o) == sent {
				other.forget()
			}
		}
	}
}

// Part waits until the peers have acknowledged the end of all observations that
// were cancelled, or ctx ends. One that has not heard of it, because the endpoint
// has ended before, goes on to notify nobody for as long as it likes.
func (e *Endpoint) Part(ctx context.Context) {
	e.mu.Lock()
	for e.parting > 0 && ctx.Err() == nil {
		parted := e.parted.wait()
		e.unlock()
		select {
		case <-parted:
		case <-ctx.Done():
		}
		e.mu.Lock()
	}
	e.unlock()
}

func (w *watch) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.ended = true
		w.o.each(nil, err)
	}
}

func (w *watch) deliver(m *Message, err error) bool {
	if err != nil {
		w.fail(err)
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	sequence, observed := m.Options.Uint(Observe)
	observed = observed && m.Code.Class() == 2
	switch {
	case w.ended:
		return false
	case !observed && w.proving(m):
		return true
	case observed && !w.fresh(sequence):
		return true
	}
	if observed {
		w.age(m)
	}
	w.o.each(m, nil)
	if observed {
		return true
	}
	w.ended = true
	w.p.e.mu.Lock()
	active := w.q.r.waiting[w.q.token] == w.q
	w.p.e.mu.Unlock()
	if active {
		w.o.each(nil, ErrNotObserved)
	}
	return false
}

// proving sends the request again with the Echo option of m, if that is what m
// asks for.
func (w *watch) proving(m *Message) bool {
	if w.echoed || m.Code != Unauthorized && m.Code.Class() != 2 {
		return false
	}
	req := withEcho(w.o.req, m)
	if req == nil {
		return false
	}
	w.echoed = true
	w.p.e.mu.Lock()
	defer w.p.e.unlock()
	if w.q.r.waiting[w.q.token] != w.q {
		return false
	}
	return w.q.send(req) == nil
}

// fresh reports whether a notification is newer than the one before.
func (w *watch) fresh(v uint32) bool {
	e := w.p.e
	e.mu.Lock()
	renewed := w.renewed
	w.renewed = false
	e.mu.Unlock()
	now := e.now()
	v1, t1 := w.sequence, w.at
	if w.counting && !renewed && !(v1 < v && v-v1 < sequenceHalf || v1 > v && v1-v > sequenceHalf || now > t1+sequenceLife) {
		return false
	}
	w.counting, w.sequence, w.at = true, v, now
	return true
}

// age sets the time at which the request is sent again.
func (w *watch) age(m *Message) {
	v, said := m.Options.Uint(MaxAge)
	e := w.p.e
	e.mu.Lock()
	defer e.mu.Unlock()
	age := defaultMaxAge
	if n := len(w.q.r.waiting); said {
		age = max(time.Duration(v)*time.Second, leastMaxAge)
	} else if n > 1 {
		age = min(time.Duration(n)*renewShared, renewEach)
		age = age*2/3 + rand.N(age*2/3) // not all of them at the same time
	}
	if !e.closed() && w.q.r.waiting[w.q.token] == w.q {
		e.set(&w.renew, age+renewAfter+rand.N(renewWithin))
	}
}
