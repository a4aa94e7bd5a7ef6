package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"syscall"
)

// newClient returns a client that dials only addresses of the internet, or
// private ones as well, follows no redirect, and waits no longer than patience.
// Each request has a connection of its own, so that each address is looked at.
// Roots are the authorities of the targets; nil: those of the system.
func newClient(private bool, roots *x509.CertPool) *http.Client {
	d := &dialer{roots: roots, Dialer: net.Dialer{Timeout: patience, Control: func(_, address string, _ syscall.RawConn) error {
		if private {
			return nil
		}
		return outside(address)
	}}}
	transport := &http.Transport{ // no proxy: it would dial what we must not
		DialContext: d.dial, DialTLSContext: d.dialTLS, ResponseHeaderTimeout: patience,
		MaxResponseHeaderBytes: 32 << 10, DisableKeepAlives: true, DisableCompression: true,
	}
	return &http.Client{Transport: transport, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

type dialer struct {
	net.Dialer
	roots *x509.CertPool
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return quiet(c), nil
}

func (d *dialer) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	t := tls.Dialer{NetDialer: &d.Dialer, Config: &tls.Config{ServerName: host, RootCAs: d.roots, MinVersion: tls.VersionTLS12}}
	c, err := t.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return quiet(c), nil
}

// unasked is a connection on which nobody is heard before something was asked:
// net/http would write what it says to the log of the process.
type unasked struct {
	net.Conn
	ask   func()        // closes asked
	asked chan struct{} // also at the end
}

func quiet(c net.Conn) net.Conn {
	u := &unasked{Conn: c, asked: make(chan struct{})}
	u.ask = sync.OnceFunc(func() { close(u.asked) })
	return u
}

// Read implements net.Conn.
func (u *unasked) Read(b []byte) (int, error) {
	<-u.asked
	return u.Conn.Read(b)
}

// Write implements net.Conn.
func (u *unasked) Write(b []byte) (int, error) {
	u.ask()
	return u.Conn.Write(b)
}

// Close implements net.Conn.
func (u *unasked) Close() error {
	err := u.Conn.Close()
	u.ask()
	return err
}

// inside are the networks that are nobody's outside, beside those that netip
// knows.
var inside = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"), // these hold others
}

// outside refuses an address that may lead to this machine or its networks.
func outside(address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	a := ap.Addr().Unmap().WithZone("")
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || slices.ContainsFunc(inside, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return fmt.Errorf("%s is not an address of the internet", a)
	}
	return nil
}
