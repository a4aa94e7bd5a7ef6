package wire

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Bounds of what strangers may take.
const (
	maxStrangers  = 4096            // of one Strangers
	maxPerAddress = 512             // of these from one address; IPv6: from one /64
	strangerGrace = 2 * time.Second // silence before a stranger may have to go for a newcomer
)

// Accept accepts connections until ctx ends, and hands each to welcome, which
// must not block. It closes ln and returns ctx.Err(); another error is one of
// ln that will not pass.
func Accept(ctx context.Context, ln net.Listener, welcome func(nc net.Conn)) error {
	defer ln.Close()
	defer context.AfterFunc(ctx, func() { ln.Close() })()
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
			welcome(nc)
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

// Stranger is a connection of which nobody knows yet who is behind it.
type Stranger interface {
	comparable
	LastSeen() time.Time // when its peer last sent anything
	Close() error
}

// Strangers bounds the connections whose peer is not known: there are at most
// 4,096, and 512 from one address. When one too many comes, the one that was
// silent longest is closed, if that was at least 2 s, else the newcomer has to
// go. The zero value is ready; its methods may be called from several
// goroutines.
type Strangers[C Stranger] struct {
	mu    sync.Mutex           // guards what follows
	where map[C]netip.Addr     // of each
	from  map[netip.Addr]int32 // how many from there
}

// Room reports whether a newcomer from the address given may stay, for whom
// another may have had to go.
func (s *Strangers[C]) Room(from net.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.room(origin(from))
}

// Add counts c, which came from the address given, among strangers.
func (s *Strangers[C]) Add(c C, from net.Addr) {
	addr := origin(from)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.where == nil {
		s.where, s.from = make(map[C]netip.Addr), make(map[netip.Addr]int32)
	}
	s.where[c] = addr
	s.from[addr]++
}

// Remove says that c is known now, or gone.
func (s *Strangers[C]) Remove(c C) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(c)
}

// Has reports whether c is a stranger.
func (s *Strangers[C]) Has(c C) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.where[c]
	return ok
}

func (s *Strangers[C]) remove(c C) {
	addr, ok := s.where[c]
	if !ok {
		return
	}
	delete(s.where, c)
	if s.from[addr]--; s.from[addr] == 0 {
		delete(s.from, addr)
	}
}

// room is Room. s.mu is held.
func (s *Strangers[C]) room(from netip.Addr) bool {
	crowded := from != nowhere && s.from[from] >= maxPerAddress
	if !crowded && len(s.where) < maxStrangers {
		return true
	}
	var silent C
	var since time.Time
	for c, addr := range s.where {
		if crowded && addr != from {
			continue
		}
		if seen := c.LastSeen(); since.IsZero() || seen.Before(since) {
			silent, since = c, seen
		}
	}
	if since.IsZero() || time.Since(since) < strangerGrace {
		return false
	}
	s.remove(silent)
	silent.Close()
	return true
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
