package coap

import (
	"context"
	"fmt"
	"math"
	"time"
)

// What is assumed of a peer that announced no Max-Message-Size, in bytes. The
// base value of RFC 8323, section 5.3.1, is 1,152, but the stacks that announce
// nothing take more: iotivity-lite, which never sends a CSM, about 6 KB; those
// that send an empty CSM, 64 KiB.
const (
	limitUnannounced = 6144
	limitResponse    = 64 << 10 // a response to a peer that sent a CSM without the option
)

// PeerSettings is what the peer's CSMs said so far.
type PeerSettings struct {
	MaxMessage int  // longest message we may send, header included, bytes; until announced: 6,144
	BlockWise  bool // the peer can do block-wise transfers
	SentCSM    bool // a CSM has arrived
}

// peer is PeerSettings as they come in.
type peer struct {
	PeerSettings
	announced bool // MaxMessage is the peer's word
}

// limit is how long a message with that code may be, bytes.
func (p *peer) limit(code Code) int {
	switch {
	case code.IsSignal():
		return math.MaxInt
	case p.announced:
		return p.MaxMessage
	case p.SentCSM && code.IsResponse():
		return limitResponse
	}
	return limitUnannounced
}

// Peer is what the peer has announced so far.
func (c *Conn) Peer() PeerSettings {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.peer.PeerSettings
	if !c.peer.announced {
		p.MaxMessage = limitUnannounced
	}
	return p
}

// SetMaxMessage changes how long the options and payload of a message from the
// peer may be, bytes, and announces it with a further CSM.
func (c *Conn) SetMaxMessage(n int) {
	if int64(n) == c.limit.Swap(int64(n)) {
		return
	}
	c.limitLink(n)
	c.mu.Lock()
	if c.opened { // else the first CSM will say it
		c.enqueue(c.csm())
	}
	c.flushLocked()
}

// csm returns our CSM. Its token of eight bytes makes it ten bytes or more
// (see minFrame). c.mu is held.
func (c *Conn) csm() *Message {
	m := &Message{Code: CSM, Token: c.newToken()}
	m.AddUint(CSMMaxMessageSize, uint32(min(c.limit.Load(), math.MaxUint32)))
	if c.cfg.BlockWise {
		m.Add(CSMBlockWiseTransfer, nil)
	}
	return m
}

// signal obeys a signal of the peer (RFC 8323, section 5). Options whose value
// has the wrong form count as unknown (RFC 7252, section 5.4.3).
func (c *Conn) signal(m *Message) error {
	switch m.Code {
	case CSM:
		return c.gotCSM(m)
	case Ping:
		return c.gotPing(m)
	case Pong:
		return c.gotPong(m)
	case Release:
		return c.gotRelease(m)
	case Abort:
		return c.gotAbort(m)
	}
	return nil // unassigned
}

// gotCSM adds settings to those of earlier CSMs (section 5.3).
func (c *Conn) gotCSM(m *Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := c.peer
	next.SentCSM = true
	for _, o := range m.Options {
		switch {
		case o.Number == CSMMaxMessageSize && len(o.Value) <= 4:
			size, _ := o.Uint(4)
			next.MaxMessage, next.announced = int(min(uint64(size), math.MaxInt)), true
		case o.Number == CSMBlockWiseTransfer && len(o.Value) == 0:
			next.BlockWise = true
		case o.Number.Critical():
			return c.badOption(m.Code, o.Number)
		}
	}
	c.peer = next
	c.changed.broadcast()
	return nil
}

// badOption ends the connection because of a critical option that we do not
// know (section 5.2). c.mu is held.
func (c *Conn) badOption(code Code, n Number) error {
	err := &FormatError{Spec: "RFC 8323, section 5.2", Why: fmt.Sprintf("critical option %d in a %v", n, code)}
	m := &Message{Code: Abort, Payload: []byte(err.Why)}
	if code == CSM {
		m.AddUint(AbortBadCSMOption, uint32(n))
	}
	c.abortLocked(m, err)
	return err
}

// critical ends the connection if m has a critical option: of the signals that
// we know, none has one.
func (c *Conn) critical(m *Message) error {
	for _, o := range m.Options {
		if o.Number.Critical() {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.badOption(m.Code, o.Number)
		}
	}
	return nil
}

// gotPing answers with a Pong of the same token. If the peer asks for Custody,
// that is behind the answers to all its earlier requests (section 5.4.1).
func (c *Conn) gotPing(m *Message) error {
	if err := c.critical(m); err != nil {
		return err
	}
	custody, token := m.Options.Has(PingCustody), m.Token
	if !custody {
		return c.answer(pong(token, false))
	}
	if err := c.awaitRoom(); err != nil {
		return err
	}
	c.mu.Lock()
	if len(c.open) > 0 {
		c.addOpen(openItem{ping: token})
		c.mu.Unlock()
		return nil
	}
	c.mu.Unlock()
	return c.answer(pong(token, true))
}

func pong(t Token, custody bool) *Message {
	m := &Message{Code: Pong, Token: t}
	if custody {
		m.Add(PingCustody, nil)
	}
	return m
}

// pingCall is one Ping that waits.
type pingCall struct {
	token Token
	got   chan struct{}
}

// gotPong ends the wait of the Ping with that token. libcoap sends no token
// back: then it is the oldest.
func (c *Conn) gotPong(m *Message) error {
	if err := c.critical(m); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, p := range c.pings {
		if p.token == m.Token || m.Token.Len() == 0 {
			close(p.got)
			c.pings = append(c.pings[:i], c.pings[i+1:]...)
			break
		}
	}
	return nil
}

// Ping asks the peer for a sign of life and returns how long it took. With
// custody the peer is asked to answer only after it has dealt with all that
// was sent before (RFC 8323, section 5.4.1); many do not honour that.
func (c *Conn) Ping(ctx context.Context, custody bool) (time.Duration, error) {
	m := &Message{Code: Ping}
	if custody {
		m.Add(PingCustody, nil)
	}
	p := &pingCall{got: make(chan struct{})}
	c.mu.Lock()
	p.token = c.newToken()
	m.Token = p.token
	c.pings = append(c.pings, p)
	c.mu.Unlock()
	start := time.Now()
	err := c.Send(ctx, m)
	if err == nil {
		select {
		case <-p.got:
			return time.Since(start), nil
		case <-ctx.Done():
			err = ctx.Err()
		case <-c.done:
			c.mu.Lock()
			err = c.closed()
			c.mu.Unlock()
		}
	}
	c.forgetPing(p)
	return 0, err
}

func (c *Conn) forgetPing(p *pingCall) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.pings {
		if c.pings[i] == p {
			c.pings = append(c.pings[:i], c.pings[i+1:]...)
			return
		}
	}
}
