// Package simnet is a network in memory for tests: datagrams that are lost,
// doubled, delayed and overtaken as a test wants it, and none that is not.
//
//	Socket.Write ──▶ Filter ──▶ fate: lost? twice? when? ──▶ queue of the receiver ──▶ Socket.Read
//
// It has no goroutine and uses no clock of its own, so that in a bubble of
// testing/synctest hours pass at once.
package simnet

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Config says what a network does to datagrams. The zero value delivers each
// at once, in order, and once.
type Config struct {
	Loss      float64       // how many of them are lost, 0 to 1
	Duplicate float64       // how many arrive twice
	Delay     time.Duration // how long each is under way
	Jitter    time.Duration // and how much longer at random: what makes them overtake each other
	Seed      uint64        // of the chance: the same gives the same

	// Filter sees each datagram first and may let it disappear. Nil: all pass.
	Filter func(from, to netip.AddrPort, b []byte) bool
}

// queued is how many datagrams a socket holds that nobody reads. Beyond, they
// are lost, as in a socket's buffer.
const queued = 1024

// Net is a network. Its methods may be called from several goroutines.
type Net struct {
	cfg Config

	mu      sync.Mutex // guards what follows
	rand    *rand.Rand
	sockets map[netip.AddrPort]*Socket
	groups  map[netip.AddrPort][]*Socket
	port    uint16
	sent    int
}

// New returns a network without sockets.
func New(cfg Config) *Net {
	return &Net{cfg: cfg, rand: rand.New(rand.NewPCG(cfg.Seed, 1)), port: 49152,
		sockets: map[netip.AddrPort]*Socket{}, groups: map[netip.AddrPort][]*Socket{}}
}

// Listen returns a socket at addr; without a port at a free one. It panics if
// the address is taken, which is a mistake of the test.
func (n *Net) Listen(addr string) *Socket {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		panic(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if at.Port() == 0 {
		n.port++
		at = netip.AddrPortFrom(at.Addr(), n.port)
	}
	if n.sockets[at] != nil {
		panic(fmt.Sprintf("simnet: %v is taken", at))
	}
	s := &Socket{net: n, addr: at, in: make(chan datagram, queued), closed: make(chan struct{})}
	n.sockets[at] = s
	return s
}

// Sent is how many datagrams were written so far, those included that got
// lost.
func (n *Net) Sent() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sent
}

type datagram struct {
	from netip.AddrPort
	b    []byte
}

// Socket is one socket of a Net. It has the methods of a *net.UDPConn that
// package coap needs.
type Socket struct {
	net  *Net
	addr netip.AddrPort
	in   chan datagram

	once   sync.Once
	closed chan struct{}
}

// Join makes the socket receive what is sent to a multicast group.
func (s *Socket) Join(group netip.AddrPort) {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	s.net.groups[group] = append(s.net.groups[group], s)
}

// Net is the network that the socket belongs to.
func (s *Socket) Net() *Net { return s.net }

// Addr is the address of the socket.
func (s *Socket) Addr() netip.AddrPort { return s.addr }

// LocalAddr is the address of the socket.
func (s *Socket) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(s.addr) }

// ReadFromUDPAddrPort waits for a datagram, which is cut off at the length of
// b. After Close the error is net.ErrClosed.
func (s *Socket) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	select {
	case d := <-s.in:
		return copy(b, d.b), d.from, nil
	case <-s.closed:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

// Within returns the next datagram, if one comes within a time.
func (s *Socket) Within(d time.Duration) (b []byte, from netip.AddrPort, ok bool) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case d := <-s.in:
		return d.b, d.from, true
	case <-t.C:
	case <-s.closed:
	}
	return nil, netip.AddrPort{}, false
}

// WriteToUDPAddrPort sends a datagram. Whether it arrives the caller does not
// learn.
func (s *Socket) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	return s.Forge(s.addr, b, to)
}

// Forge sends a datagram that claims to come from another address.
func (s *Socket) Forge(from netip.AddrPort, b []byte, to netip.AddrPort) (int, error) {
	select {
	case <-s.closed:
		return 0, net.ErrClosed
	default:
	}
	n := s.net
	if n.cfg.Filter != nil && !n.cfg.Filter(from, to, b) {
		return len(b), nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sent++
	receivers := n.groups[to]
	if r := n.sockets[to]; r != nil {
		receivers = []*Socket{r}
	}
	for _, r := range receivers {
		n.carry(datagram{from, bytes.Clone(b)}, r)
	}
	return len(b), nil
}

// carry lets chance decide about a datagram. n.mu is held.
func (n *Net) carry(d datagram, to *Socket) {
	copies := 1
	if n.rand.Float64() < n.cfg.Duplicate {
		copies = 2
	}
	if n.rand.Float64() < n.cfg.Loss {
		copies = 0
	}
	for range copies {
		wait := n.cfg.Delay
		if n.cfg.Jitter > 0 {
			wait += time.Duration(n.rand.Int64N(int64(n.cfg.Jitter)))
		}
		if wait == 0 {
			to.put(d)
		} else {
			time.AfterFunc(wait, func() { to.put(d) })
		}
	}
}

func (s *Socket) put(d datagram) {
	select {
	case s.in <- d:
	default:
	}
}

// Close ends the socket and frees its address.
func (s *Socket) Close() error {
	s.once.Do(func() {
		close(s.closed)
		s.net.mu.Lock()
		defer s.net.mu.Unlock()
		delete(s.net.sockets, s.addr)
	})
	return nil
}
