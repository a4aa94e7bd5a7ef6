// Package listen opens the ports of a server, all or none, and finds out who
// holds a port that is taken.
//
//	--listen, --port-offset ──▶ Open ──▶ HTTP 8080, CoAP 5683, CoAPS 5684, XMPP 5222, XMPPS 5223
//	                              │       each plus the offset
//	                              └─ taken ──▶ /proc ──▶ "coap-server (pid 4711)"
package listen

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// The ports without an offset. CoAP's are those of RFC 8323, section 8, and
// XMPP's that of RFC 6120, section 14.7, and the customary one for TLS from the
// first byte.
const (
	portHTTP  = 8080
	portHTTPS = 8443
	portCoAP  = 5683
	portCoAPS = 5684
	portXMPP  = 5222
	portXMPPS = 5223
)

// An automatic offset is taken from this range, which keeps clear of the ports that
// systems hand out for outgoing connections (from 32,768 on).
const (
	autoLeast = 2_000
	autoSpan  = 22_000
	autoTries = 40
)

// Config says where to listen. The zero Config is this machine alone.
type Config struct {
	Host   string // name or address of all listeners; "": 127.0.0.1, and HTTP and CoAP in clear
	Offset Offset
	NoCoAP bool
	XMPP   bool
}

// Offset shifts all ports. The zero Offset shifts none.
type Offset struct {
	N    int
	Auto bool // if the ports at N are taken, or N is 0, find an offset where none is
}

// ParseOffset reads a number or "auto".
func ParseOffset(s string) (Offset, error) {
	if s == "auto" {
		return Offset{Auto: true}, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || portHTTPS+n > 65_535 {
		return Offset{}, fmt.Errorf("not a number from 0 to %d, nor auto", 65_535-portHTTPS)
	}
	return Offset{N: n}, nil
}

// ParseHost reads the name or address of --listen; that of IPv6 may stand in brackets.
func ParseHost(s string) (string, error) {
	if _, _, err := net.SplitHostPort(s); err == nil {
		return "", errors.New("an address without a port; --port-offset shifts all ports")
	}
	return strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"), nil
}

// Set is the open listeners. What is off is nil.
type Set struct {
	HTTP, CoAP, CoAPS, XMPP, XMPPS net.Listener
	Secure                         bool // HTTP is for TLS
	Offset                         int
}

// TakenError is a port that another program holds.
type TakenError struct {
	Addr   string // host:port
	Holder string // name and pid, "" if they cannot be seen
}

func (e *TakenError) Error() string {
	if e.Holder == "" {
		return e.Addr + " is taken by another program"
	}
	return fmt.Sprintf("%s is taken by %s", e.Addr, e.Holder)
}

// Open opens all listeners of cfg. The error is a *TakenError if one of the
// ports is in use.
func Open(ctx context.Context, cfg Config) (*Set, error) {
	if !cfg.Offset.Auto {
		return openAt(ctx, cfg, cfg.Offset.N)
	}
	offset := cfg.Offset.N
	for try := 0; ; try++ {
		if offset > 0 {
			set, err := openAt(ctx, cfg, offset)
			if _, taken := errors.AsType[*TakenError](err); !taken || try == autoTries {
				return set, err
			}
		}
		offset = autoLeast + rand.IntN(autoSpan)
	}
}

func openAt(ctx context.Context, cfg Config, offset int) (*Set, error) {
	host, web := cfg.Host, portHTTPS
	set := &Set{Secure: host != "", Offset: offset}
	if !set.Secure {
		host, web = "127.0.0.1", portHTTP
	}
	var err error
	open := func(port int) net.Listener {
		if err != nil {
			return nil
		}
		var ln net.Listener
		ln, err = listen(ctx, net.JoinHostPort(host, strconv.Itoa(port+offset)))
		return ln
	}
	set.HTTP = open(web)
	if !cfg.NoCoAP {
		set.CoAPS = open(portCoAPS)
		if !set.Secure {
			set.CoAP = open(portCoAP)
		}
	}
	if cfg.XMPP {
		set.XMPP, set.XMPPS = open(portXMPP), open(portXMPPS)
	}
	if err != nil {
		set.Close()
		return nil, err
	}
	return set, nil
}

func listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, &TakenError{Addr: addr, Holder: holder("/proc", addr)}
	}
	return ln, err
}

// Close closes what is open. What a server has closed already is no error.
func (s *Set) Close() {
	for _, ln := range []net.Listener{s.HTTP, s.CoAP, s.CoAPS, s.XMPP, s.XMPPS} {
		if ln != nil {
			_ = ln.Close() // nothing was accepted, so nothing can be lost
		}
	}
}

// Dialable returns the address of ln, which listens on host, as somebody on this
// machine dials it; "" for nil. A name is kept, because that is what the certificate
// says, and a listener on all addresses is reached at the loopback one.
func Dialable(ln net.Listener, host string) string { return address(ln, host, "127.0.0.1") }

// Outward is Dialable for somebody on another machine: a listener on all addresses is
// reached at the first one that is no loopback address, if there is any.
func Outward(ln net.Listener, host string) string {
	all := Hosts(host)
	i := slices.IndexFunc(all, func(h string) bool { ip := net.ParseIP(h); return ip != nil && !ip.IsLoopback() })
	if i < 0 {
		return Dialable(ln, host)
	}
	return address(ln, host, all[i])
}

// address is that of ln, or any for one on all addresses.
func address(ln net.Listener, host, everywhere string) string {
	if ln == nil {
		return ""
	}
	at, ok := ln.Addr().(*net.TCPAddr)
	if !ok {
		return ln.Addr().String()
	}
	switch {
	case at.IP.IsUnspecified():
		host = everywhere
	case host == "" || net.ParseIP(host) != nil:
		host = at.IP.String()
	}
	return net.JoinHostPort(host, strconv.Itoa(at.Port))
}

// Hosts returns the names and addresses under which a server that listens on
// host is reached, for its certificate.
func Hosts(host string) []string {
	ip := net.ParseIP(host)
	if host == "" || ip != nil && !ip.IsUnspecified() || ip == nil {
		return []string{host}
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil // the loopback address is always there
	}
	var hosts []string
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLinkLocalUnicast() {
			hosts = append(hosts, n.IP.String())
		}
	}
	return hosts
}
