package oiccoap

import (
	"net"
	"net/netip"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
)

// datagram notes what is different with a request that came as a datagram.
func datagram(x *coap.Exchange, req *oic.Request) {
	req.Group = x.Group()
	req.Whole = true
	if path, _ := oic.SplitHref(req.Href); path == "/oic/res" {
		req.Reached = reached(x)
	}
}

// reached is where the peer finds us: at the address and by the scheme of its
// request. There is none if that cannot be said; then it is where the answer
// comes from.
func reached(x *coap.Exchange) []oic.Endpoint {
	peer := x.Peer()
	local, ok := peer.LocalAddr().(*net.UDPAddr)
	if !ok {
		return nil
	}
	at := local.AddrPort()
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	if at.Addr().IsMulticast() {
		return nil
	}
	if at.Addr().IsUnspecified() {
		if at, ok = facing(peer.Addr(), at.Port()); !ok {
			return nil
		}
	}
	scheme := "coap"
	if peer.Security() != nil {
		scheme = "coaps"
	}
	return []oic.Endpoint{{URI: oic.EndpointURI(scheme, netip.AddrPortFrom(at.Addr().WithZone(""), at.Port()))}}
}

// facing is the address of ours that the routes lead from to a peer. Nothing
// is sent: the socket is only connected.
func facing(peer netip.AddrPort, port uint16) (netip.AddrPort, bool) {
	nc, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(peer))
	if err != nil {
		return netip.AddrPort{}, false
	}
	defer nc.Close()
	local, ok := nc.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(local.AddrPort().Addr().Unmap(), port), true
}
