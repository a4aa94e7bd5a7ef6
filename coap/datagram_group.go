package coap

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// AllCoAPNodes are the multicast groups in which OIC devices are found: all CoAP
// nodes of IPv4 (RFC 7252, section 12.8), and those of OCF for the link, the
// realm and the site of IPv6.
func AllCoAPNodes() []netip.AddrPort {
	return []netip.AddrPort{
		netip.MustParseAddrPort("224.0.1.187:5683"),
		netip.MustParseAddrPort("[ff02::158]:5683"),
		netip.MustParseAddrPort("[ff03::158]:5683"),
		netip.MustParseAddrPort("[ff05::158]:5683"),
	}
}

// askAgain are the times at which a request to groups is sent, since Ask began:
// what is lost once is not lost three times.
var askAgain = []time.Duration{0, time.Second, 3 * time.Second}

// ask is an Ask.
type ask struct {
	mu    sync.Mutex // held during each; guards ended
	ended bool
	each  func(from netip.AddrPort, resp *Message)
}

func (a *ask) deliver(from netip.AddrPort, m *Message) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.ended {
		a.each(from, m)
	}
}

// end returns when each is not called any more.
func (a *ask) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
}

// Ask sends req to multicast groups on every interface, three times within 3 s,
// always with the same token and Message ID, so that a device that gets it more
// than once answers once. It calls each for the responses that come until ctx
// ends, on the endpoint's goroutine, where resp is valid; and returns nil then,
// or an error if req could be sent to none. An address may be that of one peer
// too. each is not called any more when Ask returns.
func (e *Endpoint) Ask(ctx context.Context, groups []netip.AddrPort, req *Message, each func(from netip.AddrPort, resp *Message)) error {
	return e.ask(ctx, askAgain, groups, req, each)
}

// AskOnce is Ask that sends req once, for those who ask again themselves.
func (e *Endpoint) AskOnce(ctx context.Context, groups []netip.AddrPort, req *Message, each func(from netip.AddrPort, resp *Message)) error {
	return e.ask(ctx, askAgain[:1], groups, req, each)
}

func (e *Endpoint) ask(ctx context.Context, again []time.Duration, groups []netip.AddrPort, req *Message, each func(netip.AddrPort, *Message)) error {
	m := *req
	m.Type, m.Token = NonConfirmable, randomToken()
	e.mu.Lock()
	if e.closed() {
		defer e.mu.Unlock()
		return e.closedErr()
	}
	e.nextID++
	m.ID = groupIDs | uint16(e.nextID)
	wire, err := encode(&m)
	if err != nil {
		e.mu.Unlock()
		return err
	}
	if e.asks == nil {
		e.asks = map[Token]*ask{}
	}
	a := &ask{each: each}
	e.asks[m.Token] = a
	e.mu.Unlock()
	defer func() {
		a.end()
		e.mu.Lock()
		delete(e.asks, m.Token)
		e.mu.Unlock()
	}()

	start := e.now()
	for _, at := range again {
		t := time.NewTimer(start + at - e.now())
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-e.done:
			t.Stop()
			return closedError{e.Err()}
		}
		if err := e.spread(wire, groups); err != nil {
			return err
		}
	}
	select {
	case <-ctx.Done():
		return nil
	case <-e.done:
		return closedError{e.Err()}
	}
}

// spread sends a datagram to groups. The error is nil if one got it.
func (e *Endpoint) spread(wire []byte, groups []netip.AddrPort) error {
	var errs []error
	for _, to := range groups {
		if err := multicast(e.socks[0], wire, to, e.cfg.Interfaces); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) < len(groups) {
		return nil
	}
	return errors.Join(errs...)
}

// multicast sends a datagram to a group: on every interface that can, if pc is
// a socket of the kernel, and is one of only, if that is not nil.
func multicast(pc PacketConn, wire []byte, to netip.AddrPort, only []string) error {
	c, ok := pc.(*net.UDPConn)
	if !ok || !to.Addr().IsMulticast() {
		_, err := pc.WriteToUDPAddrPort(wire, to)
		return err
	}
	interfaces, err := groupInterfaces(only)
	if err != nil {
		return err
	}
	sent := false
	for _, i := range interfaces {
		at, control := to, []byte(nil)
		if to.Addr().Is4() {
			control = (&ipv4.ControlMessage{IfIndex: i.Index}).Marshal()
		} else {
			control = (&ipv6.ControlMessage{IfIndex: i.Index}).Marshal()
			at = netip.AddrPortFrom(to.Addr().WithZone(i.Name), to.Port())
		}
		if _, _, e := c.WriteMsgUDPAddrPort(wire, control, at); e != nil {
			err = e
		} else {
			sent = true
		}
	}
	if sent {
		return nil
	}
	return err
}

// errNoInterface says that nobody can be reached by multicast.
var errNoInterface = errors.New("coap: no network interface is up")

// groupInterfaces are the interfaces for multicast: the loopback one only if
// there is no other, since what is sent on another comes back too. If only is
// not nil, it names those that count.
func groupInterfaces(only []string) ([]net.Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var good, loopback []net.Interface
	for _, i := range all {
		switch {
		case i.Flags&net.FlagUp == 0 || only != nil && !slices.Contains(only, i.Name):
		case i.Flags&net.FlagLoopback != 0:
			loopback = append(loopback, i)
		case i.Flags&net.FlagMulticast != 0:
			good = append(good, i)
		}
	}
	if len(good) == 0 {
		good = loopback
	}
	if len(good) == 0 {
		return nil, errNoInterface
	}
	return good, nil
}

// Group reports whether the request was sent to a multicast group: others have
// it too, an error is not answered, and nothing follows the answer.
func (x *Exchange) Group() bool { return x.conn == nil && x.in.arrival.multicast }
