package coap

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of one Serve.
const (
	maxStrangers  = 4096            // connections whose peer is not known, see Vouch
	maxPerAddress = 512             // of these from one address; IPv6: from one /64
	strangerGrace = 2 * time.Second // silence before a stranger may have to go for a newcomer
	maxUnfinished = 64 << 20        // all unfinished messages, bytes
)

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
// gives that 5 s, closes what is left, and returns ctx.Err() after the last
// connection has ended. Another error is one of ln that will not pass.
func Serve(ctx context.Context, ln net.Listener, accept func(nc net.Conn) *Conn) error {
	s := &server{ctx: context.WithoutCancel(ctx), conns: make(map[*Conn]netip.Addr), from: make(map[netip.Addr]int)}
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	err := s.accept(ctx, ln, accept)
	ln.Close()
	s.leave(err)
	return err
}

// server is what the connections of one Serve share.
type server struct {
	ctx        context.Context // of all Runs
	tasks      sync.WaitGroup
	unfinished atomic.Int64 // bytes of unfinished messages

	mu        sync.Mutex           // guards what follows
	conns     map[*Conn]netip.Addr // valid: a stranger, from there
	from      map[netip.Addr]int   // strangers from there
	strangers int
}

// accept accepts until ctx ends or the listener fails for good.
func (s *server) accept(ctx context.Context, ln net.Listener, accept func(nc net.Conn) *Conn) error {
	var wait time.Duration
	for {
		nc, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				nc.Close()
			}
			return ctx.Err()
		case err == nil:
			wait = 0
			s.welcome(nc, accept)
			continue
		case !passing(err):
			return err
		}
		wait = min(max(2*wait, 5*time.Millisecond), time.Second)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// passing reports whether accepting may succeed again after err: no file
// descriptors left, a connection gone before it was accepted.
func passing(err error) bool {
	te, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](err)
	return ok && te.Temporary()
}

// welcome runs the connection over nc, if there is room for it.
func (s *server) welcome(nc net.Conn, accept func(nc net.Conn) *Conn) {
	from := origin(nc.RemoteAddr())
	if !s.room(from) {
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
	s.conns[c] = from
	s.from[from]++
	s.strangers++
	s.mu.Unlock()
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
	if c.loop() {
		go s.carryOn(c)
	} else {
		s.end(c)
	}
}

func (s *server) end(c *Conn) {
	defer s.tasks.Done()
	err := c.end()
	s.known(c, true)
	c.cfg.Log.Debug("coap connection ended", "remote", c.nc.RemoteAddr(), "reason", err)
}

// nowhere is the origin of connections that have no IP address.
var nowhere = netip.IPv6Unspecified()

// origin is the address that is counted for a peer.
func origin(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return nowhere
	}
	ip := tcp.AddrPort().Addr().Unmap()
	if ip.Is6() {
		net64, _ := ip.WithZone("").Prefix(64)
		return net64.Addr()
	}
	return ip
}

// room reports whether a newcomer may stay, for whom another may have to go.
func (s *server) room(from netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	crowded := from != nowhere && s.from[from] >= maxPerAddress
	if !crowded && s.strangers < maxStrangers {
		return true
	}
	var silent *Conn
	for c, addr := range s.conns {
		if !addr.IsValid() || crowded && addr != from {
			continue
		}
		if silent == nil || c.seen.Load()+c.born.UnixNano() < silent.seen.Load()+silent.born.UnixNano() {
			silent = c
		}
	}
	if silent == nil || time.Since(silent.LastSeen()) < strangerGrace {
		return false
	}
	s.familiar(silent)
	silent.Close()
	return true
}

// familiar counts c no longer among strangers. s.mu is held.
func (s *server) familiar(c *Conn) {
	addr, ok := s.conns[c]
	if !ok || !addr.IsValid() {
		return
	}
	s.conns[c] = netip.Addr{}
	s.strangers--
	if s.from[addr]--; s.from[addr] == 0 {
		delete(s.from, addr)
	}
}

// known is familiar, and forgets c if it is gone.
func (s *server) known(c *Conn, gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.familiar(c)
	if gone {
		delete(s.conns, c)
	}
}

// leave ends all connections in good order.
func (s *server) leave(reason error) {
	s.mu.Lock()
	for c := range s.conns {
		s.tasks.Go(func() { c.leave(reason) })
	}
	s.mu.Unlock()
	s.tasks.Wait()
}

// Vouch says that the application knows now who the peer is, so that Serve
// does not count it among strangers any more.
func (c *Conn) Vouch() {
	if c.server != nil {
		c.server.known(c, false)
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
