package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

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

// load is a child under load, with what it has done so far.
type load struct {
	child    *child
	kind     loadKind
	conns    []client
	requests int64
	cpu      time.Duration // of the child
	took     time.Duration
}

// perCore is how many requests the child answers with a second of a processor.
func (l *load) perCore() float64 { return float64(l.requests) / l.cpu.Seconds() }

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
func (l *load) drive(ctx context.Context, d time.Duration) error {
	before, err := l.child.ask(askCPU)
	if err != nil {
		return err
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var all sync.WaitGroup
	counts, errs := make([]int64, len(l.conns)), make([]error, len(l.conns))
	for i, nc := range l.conns {
		all.Go(func() {
			batch := bytes.Repeat(lightGET(), l.kind.inFlight)
			in := make([]byte, len(batch))
			for ctx.Err() == nil && errs[i] == nil {
				errs[i] = nc.ask(batch, in)
				counts[i] += int64(l.kind.inFlight)
			}
		})
	}
	all.Wait()
	after, err := l.child.ask(askCPU)
	for i, n := range counts {
		l.requests += n
		if err == nil {
			err = errs[i]
		}
	}
	l.cpu += time.Duration(after - before)
	l.took += time.Since(start)
	return err
}
