package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/device/sim"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/lan"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/xcproxy"
	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
)

// beBehindProxy is a simulated device that knows nothing but CoAP at an address
// of this machine, and the XC-Proxy that shows it at the account and in the
// cloud, until ctx ends. The proxy asks that address and nobody else.
func (b *booted) beBehindProxy(ctx context.Context, d *demo, m member, pool *x509.CertPool) error {
	state, err := m.identity()
	if err != nil {
		return err
	}
	var mu sync.Mutex // guards shown
	shown := map[string]bool{}
	proxy, err := b.demoProxy(ctx, m, state.Device, pool, func(c xcproxy.Change) {
		mu.Lock()
		defer mu.Unlock()
		shown[c.Device] = c.Cloud.Registered && c.XMPP.Status == rae.Connected
		d.changed(m.name, len(shown) == 2 && !slices.Contains(slices.Collect(maps.Values(shown)), false)) // the device and the proxy
	})
	if err != nil {
		return err
	}
	memory, err := remember(m.state)
	if err != nil {
		return err
	}
	thing, err := sim.New(m.kind, device.Config{ID: state.Device, Name: m.name, Settings: memory.settings(), Keep: memory.keepSettings, Log: m.log})
	if err != nil {
		return err
	}
	pc, err := onLoopback(netip.IPv4Unspecified())
	if err != nil {
		return err
	}
	socket := lan.Run(pc, coap.EndpointConfig{Log: m.log, Accept: answersTo(thing.Host(), anybody)})
	defer socket.Close()
	uri := oic.EndpointURI("coap", netip.MustParseAddrPort(pc.LocalAddr().String()))
	d.answers(uri)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return thing.Run(ctx) })
	group.Go(func() error { return proxy.Run(ctx) })
	group.Go(func() error {
		return lan.Watch(ctx, lan.Config{Addresses: []string{uri}, Groups: groupsNone, Listen: onLoopback, Log: m.log}, shows(proxy))
	})
	return group.Wait()
}

// demoProxy is the XC-Proxy of the home, which shows the device di and nothing
// else. What the cloud gives the device is where m remembers it.
func (b *booted) demoProxy(ctx context.Context, m member, di string, pool *x509.CertPool, changed func(xcproxy.Change)) (*xcproxy.Proxy, error) {
	password, err := b.login(ctx, filepath.Join("demo", "proxy.password"), "proxy", "OIC/1.0/*")
	if err != nil {
		return nil, err
	}
	where := b.where()
	account, err := jid.Parse(where.JID())
	if err != nil {
		return nil, err
	}
	own := cloudlink.FileState(b.file(filepath.Join("demo", "proxy.grant.json")))
	if err := b.rejoin(ctx, own); err != nil {
		return nil, err
	}
	trust := func() *tls.Config { return trusting(pool) }
	addr, direct := where.XMPPAddr()
	return xcproxy.New(xcproxy.Config{
		Policy: xcproxy.Policy{{Device: di}},
		XMPP:   xmpp.Config{JID: account, Password: password, Addr: addr, Direct: direct, TLS: trust(), Backoff: here, Log: m.log},
		Cloud: &xcproxy.Cloud{
			Client: func(of string) cloudlink.Config {
				state := own
				if of == di {
					state = m.state
				}
				return cloudlink.Config{Servers: m.servers, App: "farreach", TLS: trust(), State: state, Backoff: here}
			},
			Code: func(ctx context.Context, _ string) (secret.String, error) { return m.code(ctx) },
		},
		State: xcproxy.FileState(b.file(filepath.Join("demo", "proxy.json"))),
		Retry: here, OnChange: changed, Log: m.log,
	})
}

// onLoopback opens a socket for this machine alone.
func onLoopback(to netip.Addr) (coap.PacketConn, error) {
	if !to.Is4() {
		return nil, errors.New("only IPv4 here")
	}
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err // not pc, which is not nil as a PacketConn
	}
	return pc, nil
}

// answers notes where the device answers that knows the local network alone.
func (d *demo) answers(uri string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lan = uri
}

// onLAN is what answers was told; "" if there is no such device.
func (d *demo) onLAN() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lan
}
