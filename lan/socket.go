package lan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/farreach/farreach/coap"
)

// Socket is an endpoint that runs until Close.
type Socket struct {
	*coap.Endpoint
	cancel context.CancelFunc
	ended  chan struct{}
}

// Run runs an endpoint on pc, which it closes at the end.
func Run(pc coap.PacketConn, cfg coap.EndpointConfig) *Socket {
	s := &Socket{Endpoint: coap.NewEndpoint(pc, cfg), ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go func() {
		defer close(s.ended)
		s.Endpoint.Run(ctx)
	}()
	return s
}

// farewell is how long devices are given to acknowledge that nobody observes them
// any more: long enough for one retransmission (RFC 7252, section 4.2: within 3 s).
const farewell = 4 * time.Second

// Close ends the endpoint. Devices that were observed hear of it before, if they
// answer within 4 s.
func (s *Socket) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	s.Part(ctx)
	cancel()
	s.cancel()
	<-s.ended
	return nil
}

// Listen opens a socket from which to is reached.
func Listen(to netip.Addr) (coap.PacketConn, error) {
	network := "udp6"
	if to.Is4() {
		network = "udp4"
	}
	pc, err := net.ListenUDP(network, nil)
	if err != nil {
		return nil, err // not pc, which is not nil as a PacketConn
	}
	return pc, nil
}

// Lookup returns the address of a host; IPv4 goes before IPv6, which leads out
// of fewer networks.
func Lookup(ctx context.Context, host string, port uint16) (netip.AddrPort, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return netip.AddrPortFrom(ip.Unmap(), port), nil
	}
	for _, network := range []string{"ip4", "ip6"} {
		if found, err := net.DefaultResolver.LookupNetIP(ctx, network, host); err == nil && len(found) > 0 {
			return netip.AddrPortFrom(found[0].Unmap(), port), nil
		}
	}
	return netip.AddrPort{}, errors.Join(fmt.Errorf("no address of %s is known", host), ctx.Err())
}

// sockets are what all devices without credentials are asked by: one socket for
// each family.
type sockets struct {
	v4, v6 *Socket // nil: the host has no such network
}

// openSockets has handle answer requests that come in, also at groups.
func openSockets(listen func(netip.Addr) (coap.PacketConn, error), cfg coap.EndpointConfig) (sockets, error) {
	if listen == nil {
		listen = Listen
	}
	cfg.Log = cmp.Or(cfg.Log, slog.Default())
	var groups4, groups6 []*coap.GroupConn
	for _, g := range cfg.Groups {
		if at, ok := g.LocalAddr().(*net.UDPAddr); ok && at.IP.To4() == nil {
			groups6 = append(groups6, g)
		} else {
			groups4 = append(groups4, g)
		}
	}
	var s sockets
	four, err4 := listen(netip.IPv4Unspecified())
	if err4 == nil {
		cfg.Groups = groups4
		s.v4 = Run(four, cfg)
	}
	six, err6 := listen(netip.IPv6Unspecified())
	if err6 == nil {
		cfg.Groups = groups6
		s.v6 = Run(six, cfg)
	}
	if s.v4 == nil && s.v6 == nil {
		return s, errors.Join(err4, err6)
	}
	return s, nil
}

func (s sockets) close() {
	var closing sync.WaitGroup
	for _, one := range s.all() {
		closing.Go(func() { one.Close() })
	}
	closing.Wait()
}

func (s sockets) all() (list []*Socket) {
	for _, one := range []*Socket{s.v4, s.v6} {
		if one != nil {
			list = append(list, one)
		}
	}
	return list
}

// peer is who is at an address; nil: there is no way to it.
func (s sockets) peer(at netip.AddrPort) *coap.Peer {
	one := s.v6
	if at.Addr().Unmap().Is4() {
		one = s.v4
	}
	if one == nil {
		return nil
	}
	return one.Peer(at)
}

// groups are those of the family of one of the sockets.
func (s sockets) groups(one *Socket, all []netip.AddrPort) (list []netip.AddrPort) {
	for _, g := range all {
		if g.Addr().Unmap().Is4() == (one == s.v4) {
			list = append(list, g)
		}
	}
	return list
}
