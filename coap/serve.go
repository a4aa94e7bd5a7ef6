package coap

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"github.com/farreach/farreach/internal/wire"
)

// maxUnfinished bounds the unfinished messages of all connections of one Serve,
// bytes.
const maxUnfinished = 64 << 20

// ErrOverloaded ends a connection whose message could not be taken because the
// unfinished messages of all connections together are too many.
var ErrOverloaded = errors.New("coap: too many unfinished messages")

// Serve accepts connections until ctx ends, and runs each. accept returns the
// Conn to run, or nil to refuse; it must not block.
//
// A connection belongs to a stranger until Vouch is called. Of strangers there
// are at most 4,096, and 512 from one address. When one too many comes, the one
// that was silent longest is closed, if that was at least 2 s, else the
// newcomer.
//
// When ctx ends, Serve closes ln, asks all peers for an orderly end (Release),
// gives that 10 s, closes what is left, and returns ctx.Err() after the last
// connection has ended. Another error is one of ln that will not pass.
func Serve(ctx context.Context, ln net.Listener, accept func(nc net.Conn) *Conn) error {
	s := &server{ctx: context.WithoutCancel(ctx), conns: make(map[*Conn]bool)}
	err := wire.Accept(ctx, ln, func(nc net.Conn) { s.welcome(nc, accept) })
	s.leave(err)
	return err
}

// server is what the connections of one Serve share.
type server struct {
	ctx        context.Context // of all Runs
	tasks      sync.WaitGroup
	unfinished atomic.Int64 // bytes of unfinished messages

	strangers wire.Strangers[*Conn]
	idle      wire.Lot[*parked]

	mu    sync.Mutex // guards what follows
	conns map[*Conn]bool
}

// welcome runs the connection over nc, if there is room for it.
func (s *server) welcome(nc net.Conn, accept func(nc net.Conn) *Conn) {
	if !s.strangers.Room(nc.RemoteAddr()) {
		nc.Close()
		return
	}
	c := accept(nc)
	if c == nil {
		nc.Close()
		return
	}
	c.server = s
	s.mu.Lock()
	s.conns[c] = true
	s.mu.Unlock()
	s.strangers.Add(c, nc.RemoteAddr())
	s.tasks.Add(1)
	go s.begin(c)
}

// begin is Conn.Run, on one goroutine after the other: that of the start ends
// with it, that of each silence with the silence (see Conn.loop).
func (s *server) begin(c *Conn) {
	c.begin(s.ctx)
	if c.start() {
		go s.carryOn(c)
	} else {
		s.end(c)
	}
}

func (s *server) carryOn(c *Conn) {
	switch {
	case !c.loop():
		s.end(c)
	case !s.park(c):
		go s.carryOn(c)
	}
}

// parked is a connection that nobody waits on: a poller has it carried on when
// something arrives.
type parked Conn

// park has c wait without a goroutine, and reports whether it does.
func (s *server) park(c *Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parked = c.err == nil && s.idle.Park(c.link, (*parked)(c))
	return c.parked
}

// Wake implements wire.Waker.
func (p *parked) Wake() {
	c := (*Conn)(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wake()
}

// wake gives c a goroutine again, if it is parked. c.mu is held.
func (c *Conn) wake() {
	if !c.parked {
		return
	}
	c.parked = false
	c.server.idle.Forget(c.link, (*parked)(c))
	go c.server.carryOn(c)
}

func (s *server) end(c *Conn) {
	defer s.tasks.Done()
	err := c.end()
	s.strangers.Remove(c)
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	c.cfg.Log.Debug("coap connection ended", "remote", c.nc.RemoteAddr(), "reason", err)
}

// leave ends all connections in good order.
func (s *server) leave(reason error) {
	s.mu.Lock()
	for c := range s.conns {
		s.tasks.Go(func() { c.leave(reason) })
	}
	s.mu.Unlock()
	s.tasks.Wait()
	s.idle.Close()
}

// Vouch says that the application knows now who the peer is, so that Serve
// does not count it among strangers any more.
func (c *Conn) Vouch() {
	if c.server != nil {
		c.server.strangers.Remove(c)
	}
}

// account notes that the unfinished message of this connection is n bytes now
// and was before. It fails if that is too much for all connections together.
func (c *Conn) account(before, n int) error {
	if c.server == nil || before == n {
		return nil
	}
	if total := c.server.unfinished.Add(int64(n - before)); n > before && total > maxUnfinished {
		return ErrOverloaded
	}
	return nil
}
