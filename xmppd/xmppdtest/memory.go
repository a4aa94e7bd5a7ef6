package xmppdtest

import (
	"context"
	"net"
	"net/netip"
	"sync"
)

// pipes is a listener without sockets.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	close func()
}

func newPipes() *pipes {
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	p.close = sync.OnceFunc(func() { close(p.done) })
	return p
}

// here is where both ends of a pipe seem to be.
var here = net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:5222"))

// Accept is that of a net.Listener.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case nc := <-p.conns:
		return nc, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// Close is that of a net.Listener.
func (p *pipes) Close() error { p.close(); return nil }

// Addr is that of a net.Listener.
func (p *pipes) Addr() net.Addr { return here }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- pipe{server}:
		return pipe{client}, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pipe is an end of a pipe that has an address.
type pipe struct{ net.Conn }

func (pipe) LocalAddr() net.Addr  { return here }
func (pipe) RemoteAddr() net.Addr { return here }
