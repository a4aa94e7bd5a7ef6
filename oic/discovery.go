package oic

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// ParseDiscovery reads the answer to a request for /oic/res that came from an
// address over "coap", "coaps", "coap+tcp" or "coaps+tcp": in any form that
// ParseLinks reads, out of which comes the one of OCF, complete. The Links of
// a set have its Device in their Anchor, and Endpoints with addresses: what
// the link says; or what the ports that OIC 1.x has in their place and the
// address say; or the address.
//
// Endpoints that lead nowhere from here are left out: names, groups, other
// machines' loopback. A link-local address gets the zone of from. A set whose
// Device is "" comes from a device that did not say its di here; /oic/d does.
func ParseDiscovery(f ContentFormat, b []byte, scheme string, from netip.AddrPort) ([]LinkSet, error) {
	b, err := cborOf(f, b)
	if err != nil {
		return nil, err
	}
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	p := linkParser{s: scanner{b: b}, from: &origin{scheme, from}}
	sets, err := p.document()
	for i := range sets {
		sets[i].Device = plainID(sets[i].Device)
	}
	return sets, err
}

// origin is where an answer came from.
type origin struct {
	scheme string
	addr   netip.AddrPort
}

// ports are what p of a link says of them in OIC 1.x.
type ports struct {
	secure         bool
	dtls, tcp, tls uint16
}

// maxEndpoints is how many endpoints a link may have: a host has a few
// addresses, with four ports each.
const maxEndpoints = 32

// complete gives link an anchor and endpoints, and returns the di of its device.
func (o *origin) complete(link *Link, di string, p ports) string {
	di = plainID(di)
	link.Device = ""
	if link.Anchor == "" && di != "" {
		link.Anchor = ocfScheme + di
	}
	if link.Endpoints == nil {
		link.Endpoints = o.endpoints(p)
		return di
	}
	kept := link.Endpoints[:0]
	for _, e := range link.Endpoints {
		if uri, ok := o.reachable(e.URI); ok && len(kept) < maxEndpoints {
			kept = append(kept, Endpoint{uri, e.Priority})
		}
	}
	link.Endpoints = kept
	return di
}

// endpoints are those of a link that names none. One that is secure has none
// without security.
func (o *origin) endpoints(p ports) (list []Endpoint) {
	add := func(scheme string, port uint16) {
		list = append(list, Endpoint{URI: EndpointURI(scheme, netip.AddrPortFrom(o.addr.Addr(), port))})
	}
	if p.secure && p.dtls != 0 {
		add("coaps", p.dtls)
	}
	if p.tls != 0 {
		add("coaps+tcp", p.tls)
	}
	if !p.secure || list == nil {
		add(o.scheme, o.addr.Port())
		if p.tcp != 0 {
			add("coap+tcp", p.tcp)
		}
	}
	return list
}

// reachable returns uri as it can be used here, if it can.
func (o *origin) reachable(uri string) (string, bool) {
	scheme, addr, ok := (Endpoint{URI: uri}).AddrPort()
	ip, here := addr.Addr(), o.addr.Addr()
	switch {
	case !ok, ip.IsMulticast(), ip.IsUnspecified(), ip.IsLoopback() && !here.IsLoopback():
		return "", false
	case ip.Is6() && ip.IsLinkLocalUnicast():
		ip = ip.WithZone(here.Zone())
	}
	return EndpointURI(scheme, netip.AddrPortFrom(ip, addr.Port())), true
}

// EndpointURI is the URI of an Endpoint.
func EndpointURI(scheme string, at netip.AddrPort) string {
	return scheme + "://" + strings.Replace(at.String(), "%", "%25", 1) // RFC 6874
}

// AddrPort returns where e is, and by which scheme; 5683 and 5684 are the ports
// that need not be said. ok is false if e is not an address and of a scheme of
// CoAP.
func (e Endpoint) AddrPort() (scheme string, at netip.AddrPort, ok bool) {
	scheme, port, host := e.split()
	ip, err := netip.ParseAddr(host)
	if port == 0 || err != nil {
		return "", netip.AddrPort{}, false
	}
	return scheme, netip.AddrPortFrom(ip.Unmap(), port), true
}

// SchemePort returns the scheme of e, and the port; 0 if e makes no sense.
func (e Endpoint) SchemePort() (scheme string, port uint16) {
	scheme, port, _ = e.split()
	return scheme, port
}

func (e Endpoint) split() (scheme string, port uint16, host string) {
	u, err := url.Parse(e.URI)
	if err != nil || u.User != nil {
		return "", 0, ""
	}
	switch u.Scheme {
	case "coap", "coap+tcp":
		port = 5683
	case "coaps", "coaps+tcp":
		port = 5684
	}
	if text := u.Port(); text != "" && port != 0 {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return "", 0, ""
		}
		port = uint16(n)
	}
	return u.Scheme, port, u.Hostname()
}

// plainID is a di as it is compared: UUIDs are written in small letters.
func plainID(di string) string {
	if len(di) == 36 {
		return strings.ToLower(di)
	}
	return di
}
