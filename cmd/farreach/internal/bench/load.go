package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/farreach/farreach/coap"
)

// Request and answer are 18 bytes long each, so that a server that writes back
// the request moves the same bytes.
func lightGET() []byte {
	m := &coap.Message{Code: coap.GET, Token: coap.TokenFrom(7)}
	m.SetPath("/a/light")
	return frame(m)
}

// frame is m as it stands on the wire. m is one of ours, so it can be written.
func frame(m *coap.Message) []byte {
	b, err := m.Append(coap.TCP, nil)
	if err != nil {
		panic(err)
	}
	return b
}

// loadConnections is how many connections carry the load.
const loadConnections = 64

// client is a connection to a child.
type client struct{ net.Conn }

// dial connects to a child; a CoAP client exchanges CSMs.
func (c *child) dial(ctx context.Context, kind loadKind, from net.Addr) (client, error) {
	nc, err := (&net.Dialer{LocalAddr: from}).DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return client{}, err
	}
	nc.SetDeadline(time.Now().Add(patience))
	if kind.secure {
		// The child has made its own certificate a moment ago, and nothing
		// of worth is said.
		nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{coap.ALPN}})
	}
	if kind.server != kindEcho {
		_, err = nc.Write(frame(&coap.Message{Code: coap.CSM, Token: coap.TokenFrom(1)}))
		if err == nil {
			_, err = io.ReadFull(nc, make([]byte, csmLen))
		}
	}
	if err != nil {
		nc.Close()
		return client{}, err
	}
	return client{nc}, nil
}

const (
	csmLen   = 14               // bytes of the server's first CSM
	patience = 20 * time.Second // for any one answer
)

// ask sends a batch of requests and reads the answers into in.
func (c client) ask(batch, in []byte) error {
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(batch); err != nil {
		return err
	}
	_, err := io.ReadFull(c, in)
	return err
}

// loadKind is a server and how it is asked.
type loadKind struct {
	server   string
	secure   bool
	inFlight int // requests on each connection
}

func (k loadKind) child() string {
	if k.secure {
		return k.server + overTLS
	}
	return k.server
}

// load is a child under load.
type load struct {
	child *child
	kind  loadKind
	conns []client
}

// rate is how many requests a child answers in a second.
type rate struct {
	perCore float64 // of the child's processor time
	inAll   float64
}

func (r *run) newLoad(ctx context.Context, kind loadKind) (*load, error) {
	c, err := r.start(ctx, kind.child())
	if err != nil {
		return nil, err
	}
	l := &load{child: c, kind: kind}
	for range loadConnections {
		nc, err := c.dial(ctx, kind, nil)
		if err != nil {
			l.stop()
			return nil, fmt.Errorf("connect: %w", err)
		}
		l.conns = append(l.conns, nc)
	}
	return l, nil
}

func (l *load) stop() {
	for _, nc := range l.conns {
		nc.Close()
	}
	l.child.stop()
}

// drive loads the child for d.
func (l *load) drive(ctx context.Context, d time.Duration) (rate, error) {
	before, err := l.child.ask(askCPU)
	if err != nil {
		return rate{}, err
	}
	start := time.Now()
	requests, err := l.send(ctx, d)
	if err != nil {
		return rate{}, err
	}
	took := time.Since(start)
	after, err := l.child.ask(askCPU)
	if err != nil {
		return rate{}, err
	}
	return rate{requests / time.Duration(after-before).Seconds(), requests / took.Seconds()}, nil
}

// send sends requests on all connections for d, and returns how many were
// answered.
func (l *load) send(ctx context.Context, d time.Duration) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var all errgroup.Group
	var requests atomic.Int64
	for _, nc := range l.conns {
		all.Go(func() error {
			batch := bytes.Repeat(lightGET(), l.kind.inFlight)
			in := make([]byte, len(batch))
			n := 0
			defer func() { requests.Add(int64(n)) }()
			for ; ctx.Err() == nil; n += l.kind.inFlight {
				if err := nc.ask(batch, in); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := all.Wait()
	return float64(requests.Load()), err
}
