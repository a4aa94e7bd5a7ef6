package coap_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/farreach/farreach/coap"
)

// silence is long enough for a connection to count as idle after it.
const silence = 1100 * time.Millisecond

// waiting counts the goroutines that wait for bytes of a connection of Serve.
func waiting() int {
	buf := make([]byte, 1<<20)
	return strings.Count(string(buf[:runtime.Stack(buf, true)]), "coap.(*server).carryOn(")
}

// parked runs Serve with cfg and returns n peers whose connections are parked.
func parked(t *testing.T, cfg coap.Config, n int) (peers []*peer, stop func() error) {
	t.Helper()
	conns := make(chan *coap.Conn, n)
	addr, stop := serving(t, func(nc net.Conn) *coap.Conn {
		c := coap.Server(nc, cfg)
		conns <- c
		return c
	})
	for range n {
		p := dial(t, addr)
		if cfg.TLS != nil {
			p.nc = tls.Client(p.nc, clientTLS())
		}
		p.expect(coap.CSM)
		p.conn = <-conns
		p.sendCSM()
		peers = append(peers, p)
	}
	<-time.After(silence)
	for _, p := range peers {
		p.send("08e2 0000000000000001")
		p.expect(coap.Pong)
	}
	for start := time.Now(); waiting() > 0; runtime.Gosched() {
		if time.Since(start) > time.Minute {
			t.Fatalf("%d goroutines wait for idle connections", waiting())
		}
	}
	return peers, stop
}

// whileParked is what may happen to an idle connection, and why it ends then;
// nil: it does not.
var whileParked = []struct {
	name    string
	happens func(t *testing.T, p *peer)
	ends    func(err error) bool
}{
	{"the peer asks", func(_ *testing.T, p *peer) {
		for range 3 {
			p.tell(request(1, "/a"))
			p.expect(coap.Content)
		}
	}, nil},
	{"the peer is asked", func(t *testing.T, p *peer) {
		answered := make(chan error, 1)
		go func() {
			_, err := p.conn.Do(t.Context(), get("/a"))
			answered <- err
		}()
		p.tell(&coap.Message{Code: coap.Content, Token: p.expect(coap.GET).Token})
		if err := <-answered; err != nil {
			t.Error(err)
		}
	}, nil},
	{"a message in two halves", func(t *testing.T, p *peer) {
		<-time.After(silence)
		p.send("08e2 00000000")
		<-time.After(silence) // parked again, with the first half
		p.send("00000002")
		p.expect(coap.Pong)
	}, nil},
	{"the peer goes", func(_ *testing.T, p *peer) { p.nc.Close() }, is(io.EOF)},
	{"a reset", func(_ *testing.T, p *peer) {
		nc := p.nc
		if secure, ok := nc.(*tls.Conn); ok {
			nc = secure.NetConn()
		}
		nc.(*net.TCPConn).SetLinger(0)
		nc.Close()
	}, is(syscall.ECONNRESET)},
	{"Close", func(_ *testing.T, p *peer) { p.conn.Close(); p.closed() }, is(coap.ErrClosed)},
	{"Abort", func(_ *testing.T, p *peer) { p.conn.Abort("x"); p.expect(coap.Abort); p.closed() }, is(coap.ErrClosed)},
	{"the peer releases", func(_ *testing.T, p *peer) { p.send("08e4 0000000000000001"); p.closed() }, func(err error) bool {
		_, ok := errors.AsType[*coap.ReleaseError](err)
		return ok
	}},
	{"no sign of life", func(_ *testing.T, p *peer) { p.conn.SetKeepAlive(time.Millisecond); p.expect(coap.Ping); p.closed() }, is(coap.ErrSilent)},
	{"wrong bytes", func(_ *testing.T, p *peer) { p.send("0f01"); p.expect(coap.Abort); p.closed() }, func(err error) bool {
		_, ok := errors.AsType[*coap.FormatError](err)
		return ok
	}},
}

func is(want error) func(error) bool { return func(err error) bool { return errors.Is(err, want) } }

// An idle connection has no goroutine, and all that can happen to one happens
// all the same: whatever ends the silence, whoever ends the connection.
func TestParked(t *testing.T) {
	for _, wire := range []string{"tcp", "tls"} {
		cfg := coap.Config{Handler: coap.HandlerFunc(echo), KeepAlive: time.Hour, Patience: 100 * time.Millisecond}
		if wire == "tls" {
			cfg.TLS = serverTLS()
		}
		t.Run(wire, func(t *testing.T) {
			peers, stop := parked(t, cfg, len(whileParked)+1)
			for i, test := range whileParked {
				p := peers[i]
				test.happens(t, p)
				if test.ends == nil {
					if err := p.conn.Err(); err != nil {
						t.Errorf("%s: the connection ended: %v", test.name, err)
					}
					continue
				}
				<-p.conn.Done()
				if err := p.conn.Err(); !test.ends(err) {
					t.Errorf("%s: the connection ended with %v", test.name, err)
				}
			}
			last := peers[len(whileParked)]
			go func() {
				for _, p := range peers[:3] {
					p.nc.Close()
				}
				last.expect(coap.Release)
				last.nc.Close()
			}()
			if err := stop(); err != context.Canceled {
				t.Errorf("Serve = %v", err)
			}
		})
	}
}
