package reach

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/coap/dtls"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
)

// datagrams is a line of datagrams: a socket that speaks with one peer.
type datagrams struct {
	*endpoint
	peer   *coap.Peer
	client *oiccoap.Client
}

// directDatagram is Direct for a coap or coaps URI.
func directDatagram(ctx context.Context, u coap.URI, cfg Config) (*Server, error) {
	to, err := lookup(ctx, u.Host, u.Port)
	if err != nil {
		return nil, &Error{Kind: NoConnect, Err: fmt.Errorf("find %s: %w", u.Host, err), Hint: "is this its name?"}
	}
	pc, err := listen(to.Addr())
	if err != nil {
		return nil, &Error{Kind: NoConnect, Err: err}
	}
	log := cmp.Or(cfg.Log, slog.Default())
	if u.Secure {
		pc = dtls.New(pc, dtls.Config{TLS: clientTLS(cfg.TLS, u.Host), Log: log})
	}
	e := runEndpoint(pc, log)
	peer := e.Peer(to)
	return &Server{&datagrams{e, peer, oiccoap.NewClient(peer)}}, nil
}

func clientTLS(cfg *tls.Config, host string) *tls.Config {
	if cfg == nil {
		cfg = &tls.Config{}
	}
	cfg = cfg.Clone()
	cfg.ServerName = cmp.Or(cfg.ServerName, host)
	return cfg
}

// lookup returns the address of a host; IPv4 goes before IPv6, which leads out
// of fewer networks.
func lookup(ctx context.Context, host string, port uint16) (netip.AddrPort, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return netip.AddrPortFrom(ip.Unmap(), port), nil
	}
	for _, network := range []string{"ip4", "ip6"} {
		if found, err := net.DefaultResolver.LookupNetIP(ctx, network, host); err == nil && len(found) > 0 {
			return netip.AddrPortFrom(found[0].Unmap(), port), nil
		}
	}
	return netip.AddrPort{}, errors.Join(fmt.Errorf("no address of %s is known", host), ctx.Err())
}

// listen opens a socket from which to is reached.
func listen(to netip.Addr) (coap.PacketConn, error) {
	network := "udp6"
	if to.Is4() {
		network = "udp4"
	}
	pc, err := net.ListenUDP(network, nil)
	if err != nil {
		return nil, err // not pc, which is not nil as a PacketConn
	}
	return pc, nil
}

func (d *datagrams) Peer() oic.Observer { return d.client }

func (d *datagrams) Ping(ctx context.Context) (time.Duration, error) { return d.peer.Ping(ctx) }

// endpoint is one that runs until Close.
type endpoint struct {
	*coap.Endpoint
	cancel context.CancelFunc
	ended  chan struct{}
}

func runEndpoint(pc coap.PacketConn, log *slog.Logger) *endpoint {
	e := &endpoint{Endpoint: coap.NewEndpoint(pc, coap.EndpointConfig{Log: log}), ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	e.cancel = cancel
	go func() {
		defer close(e.ended)
		e.Run(ctx)
	}()
	return e
}

// Close ends the endpoint.
func (e *endpoint) Close() error {
	e.cancel()
	<-e.ended
	return nil
}
