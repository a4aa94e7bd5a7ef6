package rae

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
)

// Dial opens the connections of an xmpp.Config with these settings. Whoever runs
// the server that a device is on can say anything in the name of the account. So
// a server that was set from afar is not looked for at addresses that only this
// machine or its network has, unless the one that worked before is at such an
// address; it has to prove its name all the same (threats rule 20).
func (s Settings) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	if s.Before != (Server{}) && !isInside(ctx, s.Before.Address) {
		d.Control = outside
	}
	return d.DialContext(ctx, network, address)
}

var errInside = errors.New("an address inside the device's own network, set from afar")

// outside refuses to connect to an address inside, whatever name led there.
func outside(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || inside(at.Addr()) {
		return errInside
	}
	return nil
}

// isInside reports whether a host has an address inside.
func isInside(ctx context.Context, host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return inside(ip)
	}
	ips, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	for _, ip := range ips {
		if inside(ip) {
			return true
		}
	}
	return false
}

// shared is what providers number their customers with (RFC 6598).
var shared = netip.MustParsePrefix("100.64.0.0/10")

func inside(ip netip.Addr) bool {
	ip = ip.Unmap()
	return !ip.IsGlobalUnicast() || ip.IsPrivate() || shared.Contains(ip)
}
