package coap_test

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/coap"
)

// peer is the far end of a connection, in the hands of a test: it sends any
// bytes and sees every message.
type peer struct {
	t  testing.TB
	nc net.Conn
	in []byte

	wait time.Duration // for a message at most; 0: 40 s

	conn  *coap.Conn // the end under test
	ended chan error // what its Run returned
}

// wires are the kinds of connection that a test can run over.
var wires = []string{"tcp", "tls", "pipe"}

// overEachWire runs f against a Server with cfg over every kind of connection.
func overEachWire(t *testing.T, cfg coap.Config, f func(t *testing.T, p *peer)) {
	for _, wire := range wires {
		t.Run(wire, func(t *testing.T) { f(t, servePeer(t, wire, cfg)) })
	}
}

// servePeer runs a Server with cfg and returns its peer.
func servePeer(t testing.TB, wire string, cfg coap.Config) *peer {
	return newPeer(t, wire, cfg, coap.Server)
}

func newPeer(t testing.TB, wire string, cfg coap.Config, end func(net.Conn, coap.Config) *coap.Conn) *peer {
	t.Helper()
	var far, near net.Conn
	if wire == "pipe" {
		far, near = net.Pipe()
	} else {
		far, near = pair(t)
	}
	if wire == "tls" {
		cfg.TLS = serverTLS()
		far = tls.Client(far, clientTLS())
	}
	p := &peer{t: t, nc: far, conn: end(near, cfg), ended: make(chan error, 1)}
	go func() { p.ended <- p.conn.Run(context.Background()) }()
	t.Cleanup(func() {
		far.Close()
		p.conn.Close()
		if p.ended != nil {
			<-p.ended
		}
	})
	return p
}

// send writes hex bytes, spaces free.
func (p *peer) send(hexBytes string) {
	p.t.Helper()
	p.write(unhex(hexBytes))
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	if _, err := p.nc.Write(b); err != nil {
		p.t.Fatalf("peer cannot write: %v", err)
	}
}

// tell sends m.
func (p *peer) tell(m *coap.Message) {
	p.t.Helper()
	b, err := m.Append(coap.TCP, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	p.write(b)
}

// sendCSM makes the peer one of those that send a CSM.
func (p *peer) sendCSM() {
	p.t.Helper()
	p.tell(&coap.Message{Code: coap.CSM, Token: coap.TokenFrom(1)})
}

// next returns the next message, and fails the test when none comes.
func (p *peer) next() *coap.Message {
	p.t.Helper()
	m, err := p.read()
	if err != nil {
		p.t.Fatalf("peer reads no message: %v", err)
	}
	return m
}

// expect is next for a message with that code.
func (p *peer) expect(code coap.Code) *coap.Message {
	p.t.Helper()
	m := p.next()
	if m.Code != code {
		p.t.Fatalf("peer got %v %q, want %v", m, m.Payload, code)
	}
	return m
}

// read returns the next message or why there is none.
func (p *peer) read() (*coap.Message, error) {
	p.nc.SetReadDeadline(time.Now().Add(max(p.wait, 40*time.Second)))
	for {
		var m coap.Message
		n, err := m.Parse(coap.TCP, p.in, 1<<20)
		if err == nil {
			p.in = p.in[n:]
			return m.Clone(), nil
		}
		if !errors.Is(err, coap.ErrShort) {
			return nil, err
		}
		b := make([]byte, 64<<10)
		n, err = p.nc.Read(b)
		p.in = append(p.in, b[:n]...)
		if n == 0 && err != nil {
			return nil, err
		}
	}
}

// closed fails the test unless the connection ends with no further message.
func (p *peer) closed() {
	p.t.Helper()
	m, err := p.read()
	if err == nil {
		p.t.Fatalf("peer got %v, want the end", m)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatal("connection was not closed")
	}
	p.nc.Close()
}

// reason is what Run returned.
func (p *peer) reason() error {
	err := <-p.ended
	p.ended = nil
	return err
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// request is a GET with an eight-byte token.
func request(token uint64, path string) *coap.Message {
	m := get(path)
	m.Token = coap.TokenFrom(token)
	return m
}
