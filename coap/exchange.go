package coap

import (
	"context"
	"sync"
)

// Handler answers the requests of a peer.
//
// Serve is called on the connection's goroutine, for one request at a time in
// the order of their arrival. What it answers before it returns goes out in
// one write together with all else that one read brought. Slow work goes to
// Exchange.Go. Conn.Do and Conn.Ping must not be called from Serve: they would
// wait for the goroutine that they run on.
type Handler interface{ Serve(x *Exchange) }

// HandlerFunc is a function that is a Handler.
type HandlerFunc func(x *Exchange)

// Serve calls f.
func (f HandlerFunc) Serve(x *Exchange) { f(x) }

// maxOpen is how many requests of a peer may be under way in Exchange.Go.
// Beyond, the connection is not read.
const maxOpen = 64

// Exchange is one request of the peer and the way to answer it.
type Exchange struct {
	conn     *Conn
	req      Message
	part     *part // what it said of blocks; nil: nothing
	detached bool  // in the hands of Go
	tasks    int   // how many of Go's functions run; conn.mu or Endpoint.mu guards it

	in inbound // what there is in place of conn if it came as a datagram
}

var exchanges = sync.Pool{New: func() any { return new(Exchange) }}

func newExchange(c *Conn) *Exchange {
	x := exchanges.Get().(*Exchange)
	x.conn = c
	return x
}

// free gives x back, unless functions of Go may still use it.
func (x *Exchange) free() {
	if x.detached {
		return
	}
	x.conn, x.part = nil, nil
	x.req.Reset()
	exchanges.Put(x)
}

// Request is what the peer asks. It and all it refers to is valid until Serve
// returns. In a function given to Go the message is valid too, but slices
// taken from it before Go was called are not.
func (x *Exchange) Request() *Message { return &x.req }

// Conn is the connection of the peer; nil if the request came as a datagram.
func (x *Exchange) Conn() *Conn { return x.conn }

// Peer is who sent the request as a datagram; nil if it came on a connection.
func (x *Exchange) Peer() *Peer {
	if x.conn != nil {
		return nil
	}
	return &Peer{x.in.r.e, x.in.r.route}
}

// Caller is whom to ask back, whatever the request came on.
func (x *Exchange) Caller() Caller {
	if x.conn != nil {
		return x.conn
	}
	return x.Peer()
}

// Send sends a response with the token of the request, of which more may
// follow: an answer with the Observe option, and then notifications. It waits
// while too much is to be sent to the peer. m is not changed.
//
// On datagrams the error is ErrNotObserved as soon as the peer has said, by a
// Reset or by silence, that it wants no notifications; the ctx of Go has ended
// then too.
func (x *Exchange) Send(ctx context.Context, m *Message) error {
	if x.conn == nil {
		return x.sendDatagram(ctx, m)
	}
	n := *m
	n.Token = x.req.Token
	if x.part == nil {
		if err := x.conn.Send(ctx, &n); !x.conn.tooLarge(err) {
			return err
		}
	}
	first, err := x.inBlocks(n, ErrTooLarge)
	if err != nil {
		return err
	}
	return x.conn.Send(ctx, first)
}

// Reply answers the request, with resp and the token of the request. resp is
// not changed and may be used again afterwards. Reply is called once, or not
// at all if the request is to stay without an answer.
//
// The error is ErrTooLarge if the peer does not take so long a message: then
// nothing was sent, and something shorter may be. It is ErrClosed if the
// connection has ended.
//
// On datagrams an error is not sent to who asked a multicast group (RFC 7252,
// section 8.2), and what is too long for an address that is not proved is
// replaced: see Endpoint.
func (x *Exchange) Reply(resp *Message) error {
	if x.conn == nil {
		return x.replyDatagram(resp)
	}
	m := *resp
	m.Token = x.req.Token
	if x.part == nil {
		if err := x.reply(&m); !x.conn.tooLarge(err) {
			return err
		}
	}
	first, err := x.inBlocks(m, ErrTooLarge)
	if err != nil {
		return err
	}
	return x.reply(first)
}

// reply sends the answer.
func (x *Exchange) reply(m *Message) error {
	if x.detached {
		return x.conn.Send(context.Background(), m)
	}
	return x.conn.answer(m)
}

// Go runs f on another goroutine, for work that takes time. ctx ends with the
// connection. While 64 such functions run for one connection, it is not read.
// Go is called from Serve only.
func (x *Exchange) Go(f func(ctx context.Context)) {
	if x.conn == nil {
		x.goDatagram(f)
		return
	}
	c := x.conn
	if !x.detached {
		x.detached = true
		x.req = *x.req.Clone()
	}
	c.mu.Lock()
	if c.cancel == nil {
		c.ctx, c.cancel = context.WithCancel(c.ctx)
		if c.err != nil {
			c.cancel()
		}
	}
	ctx := c.ctx
	if x.tasks++; x.tasks == 1 {
		c.addOpen(openItem{x: x})
	}
	c.mu.Unlock()
	c.tasks.Go(func() {
		defer x.done()
		defer c.rescueTask()
		f(ctx)
	})
}

// Background is Go for what lasts, as an observation does: f takes none of the
// 64 places and holds up no orderly end of the connection, but Run and Serve
// return after it has. It must end when ctx does.
func (x *Exchange) Background(f func(ctx context.Context)) {
	if x.conn == nil {
		e := x.in.r.e
		x.goDatagram(func(ctx context.Context) {
			e.tasks.Go(func() { defer e.rescue(); f(ctx) })
		})
		return
	}
	c := x.conn
	x.Go(func(ctx context.Context) {
		c.tasks.Go(func() { defer c.rescueTask(); f(ctx) })
	})
}

// rescueTask turns a panic on another goroutine than Run's into the end of the
// connection.
func (c *Conn) rescueTask() {
	if p := recover(); p != nil {
		c.logPanic(p)
		c.fail(ErrPanic)
	}
}

// done is the end of one function of Go.
func (x *Exchange) done() {
	c := x.conn
	c.mu.Lock()
	if x.tasks--; x.tasks == 0 {
		c.closeItem(x)
	}
	c.flushLocked()
}

// openItem is a request under way in Exchange.Go, or a Ping with Custody that
// waits for those in front of it.
type openItem struct {
	x    *Exchange // nil: a Ping
	ping *custody
}

// addOpen: c.mu is held.
func (c *Conn) addOpen(item openItem) {
	c.open = append(c.open, item)
	c.load.Store(int32(len(c.open)))
}

// closeItem removes x from what is open, and answers the Pings that waited for
// it. c.mu is held.
func (c *Conn) closeItem(x *Exchange) {
	for i := range c.open {
		if c.open[i].x == x {
			c.open = append(c.open[:i], c.open[i+1:]...)
			break
		}
	}
	c.answerCustody()
}

// answerCustody answers the Pings that nothing stands in front of any more.
// c.mu is held.
func (c *Conn) answerCustody() {
	for len(c.open) > 0 && c.open[0].x == nil && c.open[0].ping.settled {
		c.enqueue(pong(c.open[0].ping.token, c.open[0].ping.done))
		c.open = append(c.open[:0], c.open[1:]...)
	}
	if len(c.open) == 0 {
		c.open = nil
	}
	c.load.Store(int32(len(c.open)))
	c.changed.broadcast()
}

// serve has a request answered, when there is room for one more.
func (c *Conn) serve(x *Exchange) error {
	if err := c.awaitRoom(); err != nil {
		return err
	}
	if c.cfg.BlockWise && !c.accept(x) {
		return nil
	}
	if c.cfg.Handler != nil {
		c.cfg.Handler.Serve(x)
	} else {
		x.Reply(&Message{Code: NotFound})
	}
	return nil
}

// awaitRoom waits while too many requests are under way. Nothing is read
// meanwhile, so that the peer has to wait too.
func (c *Conn) awaitRoom() error {
	if c.load.Load() < maxOpen {
		return nil
	}
	c.mu.Lock()
	for c.err == nil && len(c.open) >= maxOpen {
		c.flushLocked()
		c.mu.Lock()
		if c.err != nil || len(c.open) < maxOpen {
			break
		}
		changed := c.changed.wait()
		c.mu.Unlock()
		select {
		case <-changed:
		case <-c.done:
		}
		c.mu.Lock()
	}
	err := c.err
	c.mu.Unlock()
	return err
}
