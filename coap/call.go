package coap

import (
	"context"
	"fmt"
)

// waiter is who waits for responses with a certain token.
type waiter interface {
	// deliver takes a response, on the connection's goroutine; err is set if
	// it could not be read whole. m is valid during the call only. It reports
	// whether more responses may come.
	deliver(m *Message, err error) (more bool)

	// fail says that no response will come any more.
	fail(err error)
}

// call is one Do.
type call chan result

type result struct {
	m   *Message
	err error
}

func (c call) deliver(m *Message, err error) bool {
	if err != nil {
		c <- result{nil, err}
	} else {
		c <- result{m.Clone(), nil}
	}
	return false
}

func (c call) fail(err error) { c <- result{nil, err} }

// Do sends req, with a token of its own, and returns the response, which is
// the caller's to keep. req is not changed. A response that comes after ctx
// has ended is dropped.
//
// The error is ctx.Err(); a *ReleaseError if the peer wants no new requests;
// ErrTooLarge if the peer does not take so long a request; a *FormatError if
// the response was malformed; or has ErrClosed and the reason in its chain. It
// has ErrNotSent there, too, if there were no new requests any more.
//
// With Config.BlockWise and a peer that takes blocks, req and its response may
// be up to MaxBlockBody long: Do exchanges as many messages as that needs. Then
// the error may also be ErrChanged.
func (c *Conn) Do(ctx context.Context, req *Message) (*Message, error) {
	if err := c.refused(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	if c.cfg.BlockWise {
		return c.doBlocks(ctx, req)
	}
	return c.do(ctx, req)
}

// do is Do with one request and one response.
func (c *Conn) do(ctx context.Context, req *Message) (*Message, error) {
	m := *req
	answer := make(call, 1)
	token, err := c.expect(answer)
	if err != nil {
		return nil, err
	}
	m.Token = token
	if err := c.Send(ctx, &m); err != nil {
		c.forget(token)
		return nil, err
	}
	select {
	case r := <-answer:
		return r.m, r.err
	case <-ctx.Done():
		c.forget(token)
		return nil, ctx.Err()
	case <-c.done:
		return answer.orClosed(c)
	}
}

// orClosed returns the answer if it came just before the end.
func (a call) orClosed(c *Conn) (*Message, error) {
	select {
	case r := <-a:
		return r.m, r.err
	default:
		c.mu.Lock()
		defer c.mu.Unlock()
		return nil, c.closed()
	}
}

// refused is why there are no new requests; nil: there may be.
func (c *Conn) refused() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refusedLocked()
}

func (c *Conn) refusedLocked() error {
	if c.err != nil {
		return c.closed()
	}
	return c.released
}

// expect makes w wait for responses with a new token.
func (c *Conn) expect(w waiter) (Token, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refusedLocked(); err != nil {
		return Token{}, err
	}
	t := c.newToken()
	if c.waiting == nil {
		c.waiting = make(map[Token]waiter)
	}
	c.waiting[t] = w
	return t, nil
}

// newToken returns a token of eight bytes that this connection has not used.
// c.mu is held.
func (c *Conn) newToken() Token {
	c.next++
	return TokenFrom(c.next)
}

// forget makes nobody wait for t any more.
func (c *Conn) forget(t Token) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgetLocked(t)
}

func (c *Conn) forgetLocked(t Token) {
	if delete(c.waiting, t); len(c.waiting) == 0 {
		c.waiting = nil
		c.changed.broadcast()
	}
}

// respond hands a response to whom it belongs. Nobody: it is dropped, having
// come late, twice or unasked.
func (c *Conn) respond(m *Message, err error) {
	c.mu.Lock()
	w := c.waiting[m.Token]
	c.mu.Unlock()
	if w == nil {
		c.cfg.Log.Debug("coap response dropped", "remote", c.nc.RemoteAddr(), "code", m.Code, "token", m.Token)
		return
	}
	if !w.deliver(m, err) {
		c.forget(m.Token)
	}
}

// endCalls tells all who wait that the connection is over, on Run's goroutine.
func (c *Conn) endCalls() {
	c.mu.Lock()
	waiting := c.waiting
	c.waiting = nil
	err := c.closed()
	c.mu.Unlock()
	for _, w := range waiting {
		c.failCall(w, err)
	}
}

func (c *Conn) failCall(w waiter, err error) {
	var panicked error
	defer c.rescue(&panicked)
	w.fail(err)
}
