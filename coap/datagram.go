package coap

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// PacketConn is a socket for datagrams. *net.UDPConn is one; package coap/dtls
// has another, over DTLS. Its methods may be called from several goroutines.
type PacketConn interface {
	ReadFromUDPAddrPort(b []byte) (n int, from netip.AddrPort, err error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (n int, err error)
	LocalAddr() net.Addr
	Close() error
}

// EndpointConfig says how an Endpoint behaves. Zero values work.
type EndpointConfig struct {
	Handler Handler               // answers requests; nil: 4.04 to all
	Accept  func(p *Peer) Handler // the Handler for one peer, asked at its first request; nil: Handler for all
	Groups  []netip.AddrPort      // multicast groups to answer on, by ListenGroups; nil: none
	Leisure time.Duration         // answers to multicast wait a random part of it; 0: 2 s
	Closed  bool                  // a closed network: every source address counts as proved
	Log     *slog.Logger          // nil: slog.Default()
}

// Errors of datagrams, beside ErrSilent for a peer that does not acknowledge.
var (
	// ErrReset says that the peer refused a message with a Reset: it does not
	// know what it is about, having restarted, perhaps.
	ErrReset = errors.New("coap: reset by the peer")
)

// Endpoint is both client and server on one socket for datagrams.
type Endpoint struct{}

// NewEndpoint returns an Endpoint on pc. It does nothing on the network: Run
// does.
func NewEndpoint(pc PacketConn, cfg EndpointConfig) *Endpoint { return nil }

// Run reads and answers until ctx ends or the socket fails, closes the socket,
// and returns why, after all goroutines of the endpoint have ended.
func (e *Endpoint) Run(ctx context.Context) error { return errors.ErrUnsupported }

// Peer is the peer at addr.
func (e *Endpoint) Peer(addr netip.AddrPort) *Peer { return nil }

// Do is Peer(to).Do.
func (e *Endpoint) Do(ctx context.Context, to netip.AddrPort, req *Message) (*Message, error) {
	return e.Peer(to).Do(ctx, req)
}

// Observe is Peer(at).Observe.
func (e *Endpoint) Observe(at netip.AddrPort, req *Message, each func(resp *Message, err error)) (*Observation, error) {
	return e.Peer(at).Observe(req, each)
}

// Ask sends req to groups, and calls each for the answers that come until ctx
// ends, and returns ctx.Err().
func (e *Endpoint) Ask(ctx context.Context, groups []netip.AddrPort, req *Message, each func(from netip.AddrPort, resp *Message)) error {
	return errors.ErrUnsupported
}

// LocalAddr is the address of the socket.
func (e *Endpoint) LocalAddr() net.Addr { return nil }

// Peer is another endpoint, by its address.
type Peer struct{}

// Do sends req, with a token of its own, and returns the response.
func (p *Peer) Do(ctx context.Context, req *Message) (*Message, error) {
	return nil, errors.ErrUnsupported
}

// Observe sends req with a token of its own and the Observe option, and does
// not wait.
func (p *Peer) Observe(req *Message, each func(resp *Message, err error)) (*Observation, error) {
	return nil, errors.ErrUnsupported
}

// Send sends m as it is.
func (p *Peer) Send(ctx context.Context, m *Message) error { return errors.ErrUnsupported }

// Ping asks for a sign of life, and returns how long it took.
func (p *Peer) Ping(ctx context.Context) (time.Duration, error) { return 0, errors.ErrUnsupported }

// Addr is the address of the peer.
func (p *Peer) Addr() netip.AddrPort { return netip.AddrPort{} }

// LocalAddr is the address of the endpoint's socket.
func (p *Peer) LocalAddr() net.Addr { return nil }

// RemoteAddr is the address of the peer.
func (p *Peer) RemoteAddr() net.Addr { return nil }
