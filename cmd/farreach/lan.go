package main

import (
	"context"
	"net"
	"net/netip"
	"slices"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
)

// serveLAN answers on the local network until ctx ends, on a free port. The
// groups of all CoAP nodes lead there.
func (m member) serveLAN(ctx context.Context, host *device.Host) error {
	pc, err := net.ListenUDP("udp", nil)
	if err != nil {
		return err
	}
	e := coap.NewEndpoint(pc, coap.EndpointConfig{
		Groups: m.groups(), Log: m.log,
		Accept: func(*coap.Peer) coap.Handler {
			asks := new(oiccoap.Server)
			return coap.HandlerFunc(func(x *coap.Exchange) { asks.Serve(x, host, oic.Identity{}) })
		},
	})
	if m.listening != nil {
		m.listening(netip.MustParseAddrPort(pc.LocalAddr().String()))
	}
	return e.Run(ctx)
}

// groups are the sockets on which a search by multicast arrives. Many hosts
// lack one of the two families of addresses, which is no reason not to be found
// by the other.
func (m member) groups() (groups []*coap.GroupConn) {
	all := coap.AllCoAPNodes()
	for _, v4 := range []bool{true, false} {
		some := slices.DeleteFunc(slices.Clone(all), func(g netip.AddrPort) bool { return g.Addr().Is4() != v4 })
		conns, err := coap.ListenGroups(some...)
		if err != nil {
			m.log.Warn("not to be found by multicast", "groups", some, "err", err)
		}
		groups = append(groups, conns...)
	}
	return groups
}
