package coap

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// rejoinEvery is how often groups are joined on interfaces that may be new.
const rejoinEvery = 30 * time.Second

// GroupConn is a socket on which requests to multicast groups arrive.
type GroupConn struct {
	PacketConn
	udp     *net.UDPConn // nil: all that arrives was sent to a group
	groups  []net.IP
	v4      *ipv4.PacketConn // one of these two is set if udp is
	v6      *ipv6.PacketConn
	control []byte // memory for read
}

// NewGroupConn returns a GroupConn on pc, on which all that arrives counts as
// sent to a group.
func NewGroupConn(pc PacketConn) *GroupConn { return &GroupConn{PacketConn: pc} }

// ListenGroups returns sockets that have joined groups on every interface, one
// for each port and family of addresses; other programs may join them too. An
// Endpoint joins them again on interfaces that come up later. The error is that
// of a group that could be joined on none.
func ListenGroups(groups ...netip.AddrPort) ([]*GroupConn, error) {
	type kind struct {
		v4   bool
		port uint16
	}
	at := map[kind]*GroupConn{}
	var conns []*GroupConn
	var failed error
	for _, group := range groups {
		k := kind{group.Addr().Is4(), group.Port()}
		g := at[k]
		if g == nil {
			var err error
			if g, err = listenGroup(group); err != nil {
				failed = err
				break
			}
			at[k] = g
			conns = append(conns, g)
		}
		g.groups = append(g.groups, net.IP(group.Addr().AsSlice()))
	}
	for _, g := range conns {
		if err := g.join(); err != nil && failed == nil {
			failed = err
		}
	}
	if failed != nil {
		for _, g := range conns {
			g.Close()
		}
		return nil, failed
	}
	return conns, nil
}

// listenGroup opens the socket for a group.
func listenGroup(group netip.AddrPort) (*GroupConn, error) {
	interfaces, err := groupInterfaces(nil)
	if err != nil {
		return nil, err
	}
	network := "udp6"
	if group.Addr().Is4() {
		network = "udp4"
	}
	var udp *net.UDPConn
	for _, i := range interfaces {
		if udp, err = net.ListenMulticastUDP(network, &i, net.UDPAddrFromAddrPort(group)); err == nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("coap: group %v: %w", group, err)
	}
	g := &GroupConn{PacketConn: udp, udp: udp, control: make([]byte, 256)}
	if group.Addr().Is4() {
		g.v4 = ipv4.NewPacketConn(udp)
		err = g.v4.SetControlMessage(ipv4.FlagDst, true)
	} else {
		g.v6 = ipv6.NewPacketConn(udp)
		err = g.v6.SetControlMessage(ipv6.FlagDst, true)
	}
	if err != nil {
		udp.Close()
		return nil, fmt.Errorf("coap: group %v: %w", group, err)
	}
	return g, nil
}

// join joins the groups on all interfaces. The error is nil if that did
// something for each group, now or before.
func (g *GroupConn) join() error {
	interfaces, err := groupInterfaces(nil)
	if err != nil || g.udp == nil {
		return err
	}
	var failed []error
	for _, group := range g.groups {
		joined := false
		for _, i := range interfaces {
			if g.v4 != nil {
				err = g.v4.JoinGroup(&i, &net.UDPAddr{IP: group})
			} else {
				err = g.v6.JoinGroup(&i, &net.UDPAddr{IP: group})
			}
			joined = joined || err == nil || isJoined(err)
		}
		if !joined {
			failed = append(failed, fmt.Errorf("coap: group %v: %w", group, err))
		}
	}
	return errors.Join(failed...)
}

// joinGroups joins the groups on interfaces that have come up. e.mu is held.
func (e *Endpoint) joinGroups() {
	for _, g := range e.cfg.Groups {
		e.calls = append(e.calls, func() { _ = g.join() }) // again in half a minute
	}
	e.set(&e.rejoin, rejoinEvery)
}

// read is ReadFromUDPAddrPort that tells whether the datagram was sent to a
// group. One goroutine at a time calls it.
func (g *GroupConn) read(b []byte) (n int, from netip.AddrPort, multicast bool, err error) {
	if g.udp == nil {
		n, from, err = g.ReadFromUDPAddrPort(b)
		return n, from, true, err
	}
	n, control, _, from, err := g.udp.ReadMsgUDPAddrPort(b, g.control)
	if err != nil {
		return n, from, false, err
	}
	return n, from, g.toGroup(g.control[:control]), nil
}

// toGroup reports whether a datagram was sent to a group. What says nothing of
// it counts as such: then too much silence is the worst that comes of it.
func (g *GroupConn) toGroup(control []byte) bool {
	var to net.IP
	if g.v4 != nil {
		var m ipv4.ControlMessage
		if m.Parse(control) == nil {
			to = m.Dst
		}
	} else {
		var m ipv6.ControlMessage
		if m.Parse(control) == nil {
			to = m.Dst
		}
	}
	return to == nil || to.IsMulticast()
}
