package coap

import (
	"errors"
	"runtime/debug"
)

// step takes bytes that one read brought, answers what they ask, and returns
// when everything is answered or handed on. An error ends the connection.
func (c *Conn) step(b []byte) error {
	c.busy.Store(true)
	err := c.take(b)
	c.mu.Lock()
	c.busy.Store(false)
	c.changed.broadcast()
	c.flushLocked()
	return c.aborted(err)
}

// take takes the messages in b, which continue the stream, and keeps what is
// left over of an unfinished one.
func (c *Conn) take(b []byte) (err error) {
	defer c.rescue(&err)
	if len(c.partial) > 0 {
		before := len(c.partial)
		c.partial = append(c.partial, b...)
		b = c.partial
		if err := c.account(before, len(b)); err != nil {
			return err
		}
	}
	rest, err := c.messages(b)
	if err != nil {
		return err
	}
	return c.retain(rest, len(rest) < len(b))
}

// messages takes the whole messages at the beginning of b and returns what is
// behind them.
func (c *Conn) messages(b []byte) (rest []byte, err error) {
	x := newExchange(c)
	defer func() { x.free() }()
	limit := int(c.limit.Load())
	for len(b) > 0 {
		x.part = nil
		n, err := x.req.Parse(TCP, b, limit)
		switch {
		case err == nil:
			err = c.dispatch(x)
		case err == ErrShort:
			return b, nil
		default:
			err = c.refuse(x, err)
		}
		if err != nil {
			return b, err
		}
		b = b[n:]
		if x.detached {
			x = newExchange(c)
		}
		if c.ended() {
			return nil, c.Err()
		}
	}
	return nil, nil
}

// retain keeps rest, which may be part of c.partial, until more arrives. The
// slice grows with the bytes that came, never with a length that the peer
// announced. began says that rest begins a message.
func (c *Conn) retain(rest []byte, began bool) error {
	before := len(c.partial)
	switch {
	case len(rest) == 0:
		c.partial = nil
	case began || before == 0:
		c.partial = append([]byte(nil), rest...)
		began = true
	} // else rest is c.partial
	if before > 0 || len(rest) > 0 {
		c.watchUnfinished(len(rest) > 0, began)
	}
	return c.account(before, len(c.partial))
}

// dispatch hands one message to whom it concerns.
func (c *Conn) dispatch(x *Exchange) error {
	switch code := x.req.Code; {
	case code.IsRequest():
		return c.serve(x)
	case code.IsResponse():
		c.respond(&x.req, nil)
	case code.IsSignal():
		return c.signal(&x.req)
	}
	return nil // Empty (RFC 8323, section 3.4) and the reserved classes
}

// refuse deals with a message that Parse found wrong. If its extent is known
// and it is a request, it alone is refused; a response fails the call that it
// belongs to.
func (c *Conn) refuse(x *Exchange, err error) error {
	bad, ok := errors.AsType[*FormatError](err)
	if !ok || bad.Answer == 0 || x.req.Code.IsSignal() {
		return err
	}
	switch code := x.req.Code; {
	case code.IsRequest():
		x.Reply(&Message{Code: bad.Answer, Payload: []byte(bad.Why)})
	case code.IsResponse():
		c.respond(&x.req, err)
	}
	return nil
}

// aborted tells the peer why the connection ends, if err concerns it.
func (c *Conn) aborted(err error) error {
	if bad, ok := errors.AsType[*FormatError](err); ok {
		c.abort(&Message{Code: Abort, Payload: []byte(bad.Why)}, err)
	} else if err == ErrOverloaded {
		c.abort(&Message{Code: Abort, Payload: []byte("overloaded")}, err)
	}
	return err
}

// rescue turns a panic of a handler into the end of this connection.
func (c *Conn) rescue(err *error) {
	if p := recover(); p != nil {
		c.logPanic(p)
		*err = ErrPanic
	}
}

func (c *Conn) logPanic(p any) {
	c.cfg.Log.Error("coap handler panicked", "remote", c.nc.RemoteAddr(), "panic", p, "stack", string(debug.Stack()))
}

// ended reports whether the connection is over.
func (c *Conn) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}
