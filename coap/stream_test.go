package coap_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/coap"
)

// echo answers every request with 2.05 and the path of the request.
var echo = coap.HandlerFunc(func(x *coap.Exchange) {
	x.Reply(&coap.Message{Code: coap.Content, Payload: []byte(x.Request().Options.Path())})
})

// run runs c until the test ends.
func run(t testing.TB, c *coap.Conn) *coap.Conn {
	t.Helper()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.Run(context.Background())
	}()
	t.Cleanup(func() {
		c.Close()
		<-ended
	})
	return c
}

// pair returns the two ends of a TCP connection over loopback.
func pair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// ends runs the two ends of a connection.
func ends(t testing.TB, wire string, cfg coap.Config) (client, server *coap.Conn) {
	t.Helper()
	var a, b net.Conn
	switch wire {
	case "pipe":
		a, b = net.Pipe()
	case "ws", "wss":
		a, b = webSockets(t, wire)
	default:
		a, b = pair(t)
	}
	ccfg, scfg := cfg, cfg
	if wire == "tls" {
		ccfg.TLS, scfg.TLS = clientTLS(), serverTLS()
	}
	return run(t, coap.Client(a, ccfg)), run(t, coap.Server(b, scfg))
}

func get(path string) *coap.Message {
	m := &coap.Message{Code: coap.GET}
	m.SetPath(path)
	return m
}

// Both ends ask on one connection, over each kind of wire.
func TestDoBothWays(t *testing.T) {
	for _, wire := range everyWire {
		t.Run(wire, func(t *testing.T) {
			client, server := ends(t, wire, coap.Config{Handler: echo})
			for _, c := range []*coap.Conn{client, server} {
				for _, path := range []string{"/a/light", "/oic/res"} {
					resp, err := c.Do(t.Context(), get(path))
					if err != nil || resp.Code != coap.Content || string(resp.Payload) != path {
						t.Fatalf("Do(%s) = %v, %v", path, resp, err)
					}
				}
				if _, err := c.Custody(t.Context()); err != nil {
					t.Errorf("Ping: %v", err)
				}
				if c.LocalAddr() == nil || c.RemoteAddr() == nil || (c.TLS() != nil) != (wire == "tls" || wire == "wss") {
					t.Errorf("addresses %v, %v, TLS %v", c.LocalAddr(), c.RemoteAddr(), c.TLS())
				}
			}
			if err := client.Shutdown(t.Context()); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			<-server.Done()
			if _, ok := errors.AsType[*coap.ReleaseError](server.Err()); !ok {
				t.Errorf("server ended because of %v, want *ReleaseError", server.Err())
			}
		})
	}
}

// Waiting ends with the context.
func TestContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t, "pipe", coap.Config{}, coap.Client)
		p.expect(coap.CSM)
		taken := make(chan struct{})
		go func() {
			p.expect(coap.GET)
			p.expect(coap.Ping)
			close(taken)
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.conn.Do(ctx, get("/")); err != context.DeadlineExceeded {
			t.Errorf("Do: %v", err)
		}
		again, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.conn.Ping(again); err != context.DeadlineExceeded {
			t.Errorf("Ping: %v", err)
		}
		<-taken
		pinged := make(chan error, 1)
		go func() {
			_, err := p.conn.Ping(t.Context())
			pinged <- err
		}()
		p.expect(coap.Ping)
		p.nc.Close()
		if err := <-pinged; !errors.Is(err, coap.ErrClosed) {
			t.Errorf("Ping: %v, want ErrClosed", err)
		}
	})
}

// Everything at once: requests both ways, answered at once and later, given up,
// observed, cancelled; Pings; and then the end in the middle of it. Every
// answer is the right one, and everybody gets one.
func TestEverythingAtOnce(t *testing.T) {
	slow := slowHandler(time.Millisecond)
	h := coap.HandlerFunc(func(x *coap.Exchange) {
		if path := x.Request().Options.Path(); path[1] == 's' {
			slow.Serve(x)
		} else {
			echo(x)
		}
	})
	for _, wire := range everyWire {
		t.Run(wire, func(t *testing.T) {
			client, server := ends(t, wire, coap.Config{Handler: h})
			var wg sync.WaitGroup
			for _, c := range []*coap.Conn{client, server} {
				for g := range 8 {
					wg.Go(func() { askAnything(t, c, g) })
				}
			}
			wg.Wait()
			for _, c := range []*coap.Conn{client, server} {
				for range 8 {
					wg.Go(func() {
						for {
							if _, err := c.Do(context.Background(), get("/slow/end")); err != nil {
								return
							}
						}
					})
				}
			}
			if wire == "pipe" {
				client.Shutdown(t.Context())
			} else {
				server.Close()
			}
			wg.Wait()
		})
	}
}

func askAnything(t *testing.T, c *coap.Conn, g int) {
	for i := range 200 {
		path := fmt.Sprintf("/%c/%d/%d", "qs"[rand.IntN(2)], g, i)
		ctx, cancel := context.WithCancel(t.Context())
		switch rand.IntN(10) {
		case 0:
			go cancel()
		case 1:
			if _, err := c.Custody(ctx); err != nil {
				t.Errorf("Ping: %v", err)
			}
		case 2:
			heard := make(chan struct{})
			o, err := c.Observe(get(path), func(m *coap.Message, err error) {
				if err == nil && string(m.Payload) != path {
					t.Errorf("observed %s, heard %q", path, m.Payload)
				}
				if err != nil {
					close(heard)
				}
			})
			if err != nil {
				t.Errorf("Observe: %v", err)
			} else if rand.IntN(2) == 0 {
				o.Cancel()
			} else {
				<-heard
			}
		}
		m, err := c.Do(ctx, get(path))
		if err == nil && string(m.Payload) != path || err != nil && err != context.Canceled {
			t.Errorf("Do(%s) = %v, %v", path, m, err)
		}
		cancel()
	}
}
