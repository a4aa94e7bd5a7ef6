package coap

import "errors"

// ErrNotObserved is the last thing an observer hears if the peer answered and
// does not, or does no longer, send notifications.
var ErrNotObserved = errors.New("coap: not observed")

// Observation is a request whose answer is sent again whenever it changes (RFC
// 7641). On a stream (RFC 8323, section 7) the notifications come in order, so
// that nothing is to be sorted; there are no acknowledgements to refuse; and
// nothing is repeated, since Pings tell whether the peer is there.
type Observation struct {
	conn  *Conn
	token Token
	req   *Message
	each  func(*Message, error)

	watch     *watch     // what there is in place of conn if the peer is asked by datagrams
	gathering *gathering // of notifications in blocks; nil: none
}

// Observe sends req, with a token of its own and the Observe option, and does
// not wait. each is called on the connection's goroutine: with every
// notification, which is valid during the call, and at last once with an
// error. That is ErrNotObserved behind a response that has no Observe option
// or is an error itself; a *ReleaseError if the peer wants to end; a
// *FormatError for a malformed notification; or has ErrClosed in its chain.
func (c *Conn) Observe(req *Message, each func(resp *Message, err error)) (*Observation, error) {
	o := &Observation{conn: c, req: observing(req, 0), each: each}
	if c.cfg.BlockWise {
		o.gather(req, each, c.observeTerms, c.do, c.tasks.Go)
	}
	token, err := c.expect(o)
	if err != nil {
		return nil, err
	}
	o.token = token
	o.req.Token = token
	c.mu.Lock()
	if c.full() {
		err = errFull
	} else {
		err = c.enqueue(o.req)
	}
	c.flushLocked()
	if err != nil {
		c.forget(token)
		return nil, err
	}
	return o, nil
}

// observing returns a copy of req with the Observe option.
func observing(req *Message, value uint32) *Message {
	m := req.Clone()
	kept := m.Options[:0]
	for _, o := range m.Options {
		if o.Number != Observe {
			kept = append(kept, o)
		}
	}
	m.Options = kept
	m.AddUint(Observe, value)
	return m
}

// Cancel ends the observation and tells the peer. each is not called any more,
// except that a call may be under way.
func (o *Observation) Cancel() {
	if o.gathering != nil {
		o.gathering.stop()
	}
	if o.watch != nil {
		o.watch.cancel()
		return
	}
	c := o.conn
	c.mu.Lock()
	defer c.flushLocked()
	if c.waiting[o.token] != waiter(o) {
		return
	}
	c.forgetLocked(o.token)
	m := observing(o.req, 1)
	m.Token = o.token
	c.enqueue(m) // small, and there is one for each Observe: the queue stays bounded
}

// active reports whether o was neither cancelled nor ended.
func (o *Observation) active() bool {
	c := o.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waiting[o.token] == waiter(o)
}

func (o *Observation) deliver(m *Message, err error) bool {
	if err != nil {
		o.each(nil, err)
		return false
	}
	o.each(m, nil)
	if m.Code.Class() == 2 && m.Options.Has(Observe) {
		return true
	}
	if o.active() {
		o.each(nil, ErrNotObserved)
	}
	return false
}

func (o *Observation) fail(err error) { o.each(nil, err) }
