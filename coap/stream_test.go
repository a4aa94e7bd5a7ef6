package coap_test

import (
	"context"
	"net"
	"testing"

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

func get(path string) *coap.Message {
	m := &coap.Message{Code: coap.GET}
	m.SetPath(path)
	return m
}

func TestDoBothWays(t *testing.T) {
	a, b := pair(t)
	client := run(t, coap.Client(a, coap.Config{Handler: echo}))
	server := run(t, coap.Server(b, coap.Config{Handler: echo}))
	for _, c := range []*coap.Conn{client, server} {
		for _, path := range []string{"/a/light", "/oic/res"} {
			resp, err := c.Do(t.Context(), get(path))
			if err != nil || resp.Code != coap.Content || string(resp.Payload) != path {
				t.Fatalf("Do(%s) = %v, %v", path, resp, err)
			}
		}
		if _, err := c.Ping(t.Context(), true); err != nil {
			t.Errorf("Ping: %v", err)
		}
	}
	if err := client.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	<-server.Done()
	if err := server.Err(); err == nil {
		t.Error("server has no reason for its end")
	}
}
