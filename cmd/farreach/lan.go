package main

import (
	"context"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/coap/dtls"
	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
)

// serveLAN answers on the local network until ctx ends, on free ports. The
// groups of all CoAP nodes lead there. With a key of the owner all but discovery
// is for him alone, by coaps.
func (m member) serveLAN(ctx context.Context, host *device.Host) error {
	pc, err := net.ListenUDP("udp", nil)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	var plain oic.Observer = host
	if m.owner.known() {
		secured, err := m.secured(host.ID())
		if err != nil {
			return err
		}
		plain = hall{host, portOf(secured)}
		group.Go(func() error {
			return coap.NewEndpoint(secured, coap.EndpointConfig{Log: m.log, Accept: answersTo(host, m.owner.prove)}).Run(ctx)
		})
		m.tell("coaps", secured)
	}
	e := coap.NewEndpoint(pc, coap.EndpointConfig{Groups: m.groups(), Log: m.log, Accept: answersTo(plain, anybody)})
	m.tell("coap", pc)
	group.Go(func() error { return e.Run(ctx) })
	return group.Wait()
}

// tell says where the device answers.
func (m member) tell(scheme string, pc coap.PacketConn) {
	if m.listening != nil {
		m.listening(scheme, portOf(pc))
	}
}

func portOf(pc coap.PacketConn) uint16 {
	return netip.MustParseAddrPort(pc.LocalAddr().String()).Port()
}

// answersTo serves each peer with h, as whom prove takes it for.
func answersTo(h oic.Observer, prove func(*coap.Security) oic.Identity) func(*coap.Peer) coap.Handler {
	return func(*coap.Peer) coap.Handler {
		asks := new(oiccoap.Server)
		return coap.HandlerFunc(func(x *coap.Exchange) { asks.Serve(x, h, prove(x.Peer().Security())) })
	}
}

// anybody is whom one takes peers for that prove nothing.
func anybody(*coap.Security) oic.Identity { return oic.Identity{} }

// secured is a socket on which only those are heard that have the owner's key.
func (m member) secured(di string) (coap.PacketConn, error) {
	pc, err := net.ListenUDP("udp", nil)
	if err != nil {
		return nil, err
	}
	return dtls.New(pc, dtls.Config{Listen: true, PSK: m.owner.psk, PSKIdentity: identityOf("uuid:" + di), Log: m.log}), nil
}

// hall is what a device shows to everybody on the local network: what it is, and
// at which port it answers its owner.
type hall struct {
	device oic.Observer
	port   uint16
}

// Handle is that of an oic.Handler.
func (h hall) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	if err := h.admit(req); err != nil {
		return nil, err
	}
	return h.device.Handle(ctx, req)
}

// Observe is that of an oic.Observer.
func (h hall) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	if err := h.admit(req); err != nil {
		return err
	}
	return h.device.Observe(ctx, req, each)
}

// admit refuses what is more than discovery, and tells of the port.
func (h hall) admit(req *oic.Request) error {
	path, query := oic.SplitHref(req.Href)
	if req.Op != oic.Retrieve || !slices.Contains([]string{"/oic/res", "/oic/d", "/oic/p"}, path) || oic.QueryValue(query, "if") == oic.IfBatch {
		return oic.Errorf(oic.Forbidden, "only over a secured link: coaps://")
	}
	for _, e := range req.Reached {
		if _, at, ok := e.AddrPort(); ok {
			req.Reached = append(slices.Clip(req.Reached), oic.Endpoint{URI: oic.EndpointURI("coaps", netip.AddrPortFrom(at.Addr(), h.port))})
			break
		}
	}
	return nil
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
