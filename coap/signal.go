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

// MaxResponse is how long a response to the peer may be without blocks, its
// header included, bytes.
func (c *Conn) MaxResponse() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peer.limit(Content)
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
	if !m.Options.Has(PingCustody) {
		return c.answer(pong(m.Token, false))
	}
	if err := c.awaitRoom(); err != nil {
		return err
	}
	ping := &custody{token: m.Token, settled: c.cfg.Settle == nil, done: true}
	c.mu.Lock()
	c.makeRoom()
	c.addOpen(openItem{ping: ping})
	if ping.settled {
		c.answerCustody()
	}
	c.mu.Unlock()
	if c.cfg.Settle != nil {
		c.cfg.Settle(c, func(done bool) { c.settled(ping, done) })
	}
	return nil
}

// custody is a Ping by which the peer asks whether all before it is dealt with.
type custody struct {
	token   Token
	settled bool // but for the requests in front of it
	done    bool // and it is, so that the Pong may say so
}

// settled is what Config.Settle calls.
func (c *Conn) settled(ping *custody, done bool) {
	c.mu.Lock()
	ping.settled, ping.done = true, done
	c.answerCustody()
	c.flushLocked()
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
	token   Token
	got     chan struct{}
	custody bool // of the Pong, once got is closed
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
			p.custody = m.Options.Has(PingCustody)
			close(p.got)
			c.pings = append(c.pings[:i], c.pings[i+1:]...)
			break
		}
	}
	return nil
}

// Ping asks the peer for a sign of life and returns how long it took.
func (c *Conn) Ping(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	_, err := c.ping(ctx, &Message{Code: Ping})
	return time.Since(start), err
}

// Custody asks the peer whether it has dealt with all that was sent before, and
// waits until it has. It reports false if the peer does not say so: because
// something went wrong with what was sent, or because it knows nothing of
// Custody (RFC 8323, section 5.4.1).
func (c *Conn) Custody(ctx context.Context) (bool, error) {
	m := &Message{Code: Ping}
	m.Add(PingCustody, nil)
	return c.ping(ctx, m)
}

// ping sends m with a token of its own, and returns whether the Pong has the
// Custody option.
func (c *Conn) ping(ctx context.Context, m *Message) (custody bool, err error) {
	p := &pingCall{got: make(chan struct{})}
	c.mu.Lock()
	p.token = c.newToken()
	c.pings = append(c.pings, p)
	c.mu.Unlock()
	m.Token = p.token
	if err = c.Send(ctx, m); err == nil {
		select {
		case <-p.got:
			return p.custody, nil
		case <-ctx.Done():
			err = ctx.Err()
		case <-c.done:
			c.mu.Lock()
			err = c.closed()
			c.mu.Unlock()
		}
	}
	c.forgetPing(p)
	return false, err
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
