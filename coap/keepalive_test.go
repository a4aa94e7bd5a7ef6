package coap_test

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/coap"
)

// After 20 s of silence a Ping, after 10 s more the end.
func TestSilentPeer(t *testing.T) {
	for _, v := range []struct {
		name           string
		cfg            coap.Config
		ping, patience time.Duration
	}{
		{"default", coap.Config{}, 20 * time.Second, 10 * time.Second},
		{"configured", coap.Config{KeepAlive: time.Minute, Patience: 3 * time.Second}, time.Minute, 3 * time.Second},
	} {
		t.Run(v.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				p := servePeer(t, "pipe", v.cfg)
				p.wait = time.Hour
				p.expect(coap.CSM)
				if m := p.expect(coap.Ping); m.Token.Len() != 8 || time.Since(start) != v.ping {
					t.Errorf("%v after %v, want a Ping after %v", m, time.Since(start), v.ping)
				}
				p.closed()
				if err := p.reason(); err != coap.ErrSilent || time.Since(start) != v.ping+v.patience {
					t.Errorf("Run = %v after %v, want ErrSilent after %v", err, time.Since(start), v.ping+v.patience)
				}
			})
		})
	}
}

// Any message is a sign of life: a Pong without the token, a response nobody
// waits for, Empty. And without silence there is no Ping.
func TestSignsOfLife(t *testing.T) {
	for _, sign := range []string{"10e3 20", "00e3", "01450a", "0000", "4101 07 b161 0161"} {
		synctest.Test(t, func(t *testing.T) {
			p := servePeer(t, "pipe", coap.Config{})
			p.expect(coap.CSM)
			for range 10 {
				p.expect(coap.Ping)
				time.Sleep(9 * time.Second)
				p.send(sign)
				if seen := p.conn.LastSeen(); time.Since(seen) != 0 {
					synctest.Wait()
					if seen = p.conn.LastSeen(); time.Since(seen) != 0 {
						t.Errorf("%s: last seen %v ago", sign, time.Since(seen))
					}
				}
				if sign[:2] == "41" {
					p.expect(coap.NotFound)
				}
			}
			for range 20 {
				time.Sleep(19 * time.Second)
				p.send(sign)
				if sign[:2] == "41" {
					p.expect(coap.NotFound)
				}
			}
			p.send("08e2 0000000000000001")
			p.expect(coap.Pong) // and no Ping in front of it
		})
	}
}

// Without KeepAlive a peer may be silent for ever.
func TestNoKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := servePeer(t, "pipe", coap.Config{KeepAlive: -1, Handler: echo})
		p.expect(coap.CSM)
		time.Sleep(100 * time.Hour)
		p.tell(request(1, "/"))
		p.expect(coap.Content)
	})
}

// It is not the peer's silence when we do not read.
func TestBusyIsNotSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		p := servePeer(t, "pipe", coap.Config{Handler: coap.HandlerFunc(func(x *coap.Exchange) {
			<-release
			echo(x)
		})})
		p.expect(coap.CSM)
		p.tell(request(1, "/"))
		time.Sleep(5 * time.Minute)
		close(release)
		for answers := 0; answers < 2; { // there may be a Ping now
			if p.next().Code == coap.Content {
				answers++
				p.tell(request(2, "/"))
			}
		}
	})
}

// A TLS handshake may take 15 s (threats 3.2).
func TestSlowHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far, near := net.Pipe()
		defer far.Close()
		start := time.Now()
		c := coap.Server(near, coap.Config{TLS: serverTLS()})
		go far.Write([]byte{22, 3, 1})
		if err := c.Run(t.Context()); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 15*time.Second {
			t.Errorf("Run = %v after %v, want a time-out after 15s", err, time.Since(start))
		}
	})
}

// What was asked before Run or Ready ends with the connection too.
func TestCallsEndWithoutRun(t *testing.T) {
	far, near := net.Pipe()
	defer far.Close()
	c := coap.Client(near, coap.Config{})
	asked := make(chan error, 1)
	go func() {
		_, err := c.Do(context.Background(), get("/"))
		asked <- err
	}()
	c.Close()
	if err := <-asked; !errors.Is(err, coap.ErrClosed) {
		t.Errorf("Do: %v, want ErrClosed", err)
	}
	if err := c.Run(t.Context()); err != coap.ErrClosed {
		t.Errorf("Run = %v, want ErrClosed", err)
	}
}
