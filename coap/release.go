package coap

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// ReleaseInfo is what a Release may tell the peer (RFC 8323, section 5.5).
type ReleaseInfo struct {
	Alternatives []string      // where to connect instead: "host:port"
	HoldOff      time.Duration // how long not to come back; whole seconds, less than 2^24
	Diagnostic   string        // for people
}

// ReleaseError says that the peer asked for an orderly end of the connection:
// it takes no new requests.
type ReleaseError struct{ ReleaseInfo }

func (e *ReleaseError) Error() string {
	s := "coap: released by the peer"
	if e.HoldOff > 0 {
		s += fmt.Sprintf(", come back after %v", e.HoldOff)
	}
	if len(e.Alternatives) > 0 {
		s += ", or to " + strings.Join(e.Alternatives, ", ")
	}
	return s + diagnostic(e.Diagnostic)
}

// AbortError says that the peer broke the connection off because of something
// that we did (RFC 8323, section 5.6).
type AbortError struct {
	Diagnostic   string
	BadCSMOption Number // the option of our CSM that it could not bear; 0: not that
}

func (e *AbortError) Error() string {
	s := "coap: aborted by the peer"
	if e.BadCSMOption != 0 {
		s += fmt.Sprintf(", which does not know option %d of the CSM", e.BadCSMOption)
	}
	return s + diagnostic(e.Diagnostic)
}

// diagnostic shows what the peer says, a line of printable text at most.
func diagnostic(s string) string {
	if s == "" {
		return ""
	}
	return fmt.Sprintf(": %.200q", s)
}

// Times of a Release.
const (
	leaveTimeout = 10 * time.Second // for open exchanges, when Run's context ends: that long a peer may take for an answer
	releaseWait  = 10 * time.Second // for open exchanges, when the peer releases
	partingTime  = time.Second      // for the peer to close first, all being done
)

// Shutdown asks the peer for an orderly end: it sends a Release, starts no new
// requests, finishes the open exchanges of both sides, and closes. When ctx
// ends it closes at once and returns ctx.Err(). The options of r are sent only
// to a peer that sent a CSM: others give them other meanings. Shutdown must not
// be called from Handler.Serve, which is an open exchange itself.
func (c *Conn) Shutdown(ctx context.Context, r ...ReleaseInfo) error {
	return c.shutdown(ctx, ErrClosed, r...)
}

// leave is Shutdown for the end of Run's context; err is then Run's result.
func (c *Conn) leave(err error) {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	c.shutdown(ctx, err)
}

func (c *Conn) shutdown(ctx context.Context, reason error, r ...ReleaseInfo) error {
	c.mu.Lock()
	if c.released == nil {
		c.released = ErrClosed
	}
	c.parting = reason
	if !c.opened {
		c.mu.Unlock()
		c.fail(reason)
		return nil
	}
	c.enqueue(c.releaseMessage(r))
	c.flushLocked()
	err := c.awaitIdle(ctx)
	if err == nil && !c.awaitClose(ctx) {
		err = c.awaitIdle(ctx) // with what the peer asked before our Release reached it
	}
	c.conclude(reason)
	return err
}

// awaitClose gives the peer partingTime to close, and reports whether it has.
func (c *Conn) awaitClose(ctx context.Context) bool {
	timer := time.NewTimer(partingTime)
	defer timer.Stop()
	select {
	case <-c.done:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// releaseMessage returns our Release. c.mu is held.
func (c *Conn) releaseMessage(rs []ReleaseInfo) *Message {
	m := &Message{Code: Release, Token: c.newToken()}
	for _, r := range rs {
		if c.peer.SentCSM {
			for _, a := range r.Alternatives {
				m.AddString(ReleaseAlternativeAddress, a)
			}
			if r.HoldOff > 0 {
				m.AddUint(ReleaseHoldOff, uint32(min(r.HoldOff/time.Second, 1<<24-1)))
			}
		}
		m.Payload = []byte(r.Diagnostic)
	}
	return m
}

// awaitIdle waits until nothing is under way: no request of either side that
// can end by itself, nothing to be written.
func (c *Conn) awaitIdle(ctx context.Context) error {
	for {
		c.mu.Lock()
		if c.err != nil || c.idle() {
			c.mu.Unlock()
			return nil
		}
		changed := c.changed.wait()
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// idle: c.mu is held.
func (c *Conn) idle() bool {
	if len(c.open) > 0 || c.out != nil || c.writing || c.busy.Load() {
		return false
	}
	for _, w := range c.waiting {
		if _, ok := w.(call); ok {
			return false
		}
	}
	return true
}

// gotRelease lets the open exchanges end, and then the connection. That of a peer
// whom ours has met on the way does the same: else both would wait for the other
// to close first.
func (c *Conn) gotRelease(m *Message) error {
	if err := c.critical(m); err != nil {
		return err
	}
	e := &ReleaseError{}
	for _, o := range m.Options {
		switch o.Number {
		case ReleaseAlternativeAddress:
			e.Alternatives = append(e.Alternatives, string(o.Value))
		case ReleaseHoldOff:
			if s, ok := o.Uint(3); ok {
				e.HoldOff = time.Duration(s) * time.Second
			}
		}
	}
	e.Diagnostic = string(m.Payload)
	c.mu.Lock()
	again := c.farewell
	c.farewell = true
	if c.released == nil {
		c.released, c.parting = e, e
	}
	reason := c.parting
	c.mu.Unlock()
	if again {
		return nil
	}
	c.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), releaseWait)
		defer cancel()
		c.awaitIdle(ctx)
		c.conclude(reason)
	})
	return nil
}

// gotAbort ends the connection.
func (c *Conn) gotAbort(m *Message) error {
	e := &AbortError{Diagnostic: string(m.Payload)}
	if o, ok := m.Options.Get(AbortBadCSMOption); ok {
		n, _ := o.Uint(2)
		e.BadCSMOption = Number(n)
	}
	c.conclude(e)
	return e
}

// Abort ends the connection because the peer did something that it must not
// do, and tells it so (RFC 8323, section 5.6).
func (c *Conn) Abort(diagnostic string) {
	c.abort(&Message{Code: Abort, Payload: []byte(diagnostic)}, ErrClosed)
}

// abort sends m and ends the connection because of err.
func (c *Conn) abort(m *Message, err error) {
	c.mu.Lock()
	c.abortLocked(m, err)
	c.flushLocked()
}

// abortLocked is abort with c.mu held, and leaves the writing to others.
func (c *Conn) abortLocked(m *Message, err error) {
	if c.err != nil {
		return
	}
	m.Token = c.newToken()
	c.enqueue(m)
	c.concludeLocked(err)
}
