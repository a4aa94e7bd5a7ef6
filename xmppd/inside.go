package xmppd

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/farreach/farreach/xmpp/jid"
)

// Inside is how parts of this process are on the server, each as an account, as
// others are over sockets:
//
//	in := srv.Inside()
//	srv.Serve(ctx, in)
//	nc, err := in.Dial(ctx, "ann", pass)
//
// Nobody proves anything on such a connection, and nothing of it is on a network:
// whoever holds the Inside says who it is, and the Pass for how long. The stream
// begins with binding a resource (xmpp.Config.Inside). Serve closes it.
type Inside struct {
	srv   *Server
	conns chan net.Conn
	done  chan struct{}
	close func()
}

// Inside returns such a way in.
func (s *Server) Inside() *Inside {
	in := &Inside{srv: s, conns: make(chan net.Conn), done: make(chan struct{})}
	in.close = sync.OnceFunc(func() { close(in.done) })
	return in
}

// insideAddr is where both ends of such a connection seem to be.
var insideAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.IPv6Loopback(), 0))

// insider is the server's end of a connection from inside.
type insider struct {
	insidePipe
	user jid.JID // bare
	pass Pass
}

// insidePipe is an end of a pipe that has an address.
type insidePipe struct{ net.Conn }

func (insidePipe) LocalAddr() net.Addr  { return insideAddr }
func (insidePipe) RemoteAddr() net.Addr { return insideAddr }

// Dial opens a connection on which the account called name is logged in, as far
// and as long as pass holds. It waits until Serve takes it; the error is that of
// ctx, net.ErrClosed, or says that no account has that name.
func (in *Inside) Dial(ctx context.Context, name string, pass Pass) (net.Conn, error) {
	user, err := jid.New(name, in.srv.cfg.Domain, "")
	if err != nil {
		return nil, fmt.Errorf("xmppd: %w", err)
	}
	near, far := net.Pipe()
	select {
	case in.conns <- &insider{insidePipe{far}, user, pass}:
		return insidePipe{near}, nil
	case <-in.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept is that of a net.Listener.
func (in *Inside) Accept() (net.Conn, error) {
	select {
	case nc := <-in.conns:
		return nc, nil
	case <-in.done:
		return nil, net.ErrClosed
	}
}

// Close is that of a net.Listener.
func (in *Inside) Close() error { in.close(); return nil }

// Addr is that of a net.Listener.
func (in *Inside) Addr() net.Addr { return insideAddr }
