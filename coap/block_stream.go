package coap

import (
	"context"
	"errors"
	"math"
	"time"
)

// baseMessage is what a peer takes that announced no Max-Message-Size, and the
// size up to which blocks are not larger than on datagrams, bytes (RFC 8323,
// sections 5.3.1 and 5.3.2).
const baseMessage = 1152

// blockTerms are the terms on which the peer takes blocks. It reports false if
// there may be none: either side has not announced them, and such peers have
// died of a Block option.
func (c *Conn) blockTerms() (t blockTerms, ok bool) {
	if !c.cfg.BlockWise {
		return t, false
	}
	c.mu.Lock()
	p := c.peer
	c.mu.Unlock()
	t = blockTerms{message: baseMessage, whole: math.MaxInt, szx: maxSZX, body: MaxBlockBody, by: c}
	if p.announced {
		t.message = p.MaxMessage
	}
	limit := int(c.limit.Load())
	if t.message > baseMessage && limit > baseMessage {
		t.szx = BERT
	}
	if c.stranger() {
		t.body = min(limit, MaxBlockBody)
	}
	return t, p.BlockWise
}

// stranger reports whether the peer is not Vouched for.
func (c *Conn) stranger() bool { return c.server != nil && c.server.strangers.Has(c) }

// fetching returns what those who fetch from the peer have in common: at most
// four at once, so that a peer whose every answer is long holds no more memory
// than that, and all peers together no more than what is left for messages that
// are unfinished.
func (c *Conn) fetching() *fetches {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fetched == nil {
		c.fetched = &fetches{reserve: c.reserve, places: &turn{most: maxTransfers}}
	}
	return c.fetched
}

// transfers returns the block-wise transfers of the peer.
func (c *Conn) transfers() *blocks {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blocks == nil {
		c.blocks = &blocks{reserve: c.reserve, over: c.finished}
	}
	return c.blocks
}

// reserve accounts for n bytes more, or less, of bodies in blocks.
func (c *Conn) reserve(n int) error {
	err := c.account(max(-n, 0), max(n, 0))
	if err != nil {
		c.account(n, 0)
	}
	return err
}

// endTransfers drops all transfers.
func (c *Conn) endTransfers() {
	c.mu.Lock()
	b := c.blocks
	c.mu.Unlock()
	if b != nil {
		b.close()
	}
}

// accept takes a request that may be one of several blocks, and reports
// whether it is the whole now, for the handler.
func (c *Conn) accept(x *Exchange) bool {
	if !blockwise(&x.req) {
		return true
	}
	if c.cfg.Introduce != nil && c.stranger() {
		if one, _, err := x.req.Options.Block(Block1); err == nil && one.Num == 0 && one.More {
			c.cfg.Introduce(c, &x.req)
		}
	}
	terms, ok := c.blockTerms()
	if !ok {
		return true // the handler does not know the options, and refuses them
	}
	p, answer := c.transfers().accept(&x.req, terms)
	if answer != nil {
		answer.Token = x.req.Token
		c.answer(answer)
		return false
	}
	x.part = p
	return true
}

// inBlocks returns what to send of an answer that is too long, or that is to
// come in blocks; err is what sending it whole gave.
func (x *Exchange) inBlocks(m Message, err error) (*Message, error) {
	terms, ok := x.conn.blockTerms()
	if !ok {
		return &m, err
	}
	return x.conn.transfers().finish(&x.req, x.part, &m, terms)
}

// tooLarge reports whether err means that a message has to go in blocks, if the
// peer takes them.
func (c *Conn) tooLarge(err error) bool {
	return err != nil && c.cfg.BlockWise && errors.Is(err, ErrTooLarge)
}

// settingsWait is how long after our CSM a request waits for the peer's, if it
// is too long without one.
const settingsWait = 5 * time.Second

// doBlocks is Do for requests and responses of any length.
func (c *Conn) doBlocks(ctx context.Context, req *Message) (*Message, error) {
	if unannounced := (blockTerms{message: limitUnannounced}); len(req.Payload) > unannounced.room(req) {
		if err := c.awaitSettings(ctx); err != nil {
			return nil, err
		}
	}
	terms, ok := c.blockTerms()
	if !ok {
		return c.do(ctx, req)
	}
	return blockDo(ctx, req, terms, c.do)
}

// awaitSettings waits for the peer's CSM, but not for one that is overdue: some
// send none.
func (c *Conn) awaitSettings(ctx context.Context) error {
	select {
	case <-c.ready:
	case <-c.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
	timer := time.NewTimer(settingsWait - time.Since(c.born.Add(c.openedAt)))
	defer timer.Stop()
	for {
		c.mu.Lock()
		if c.peer.SentCSM || c.err != nil {
			c.mu.Unlock()
			return nil
		}
		changed := c.changed.wait()
		c.mu.Unlock()
		select {
		case <-changed:
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// observeTerms is blockTerms for what has come in blocks already.
func (c *Conn) observeTerms() blockTerms {
	t, _ := c.blockTerms()
	return t
}
