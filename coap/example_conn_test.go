package coap_test

import (
	"context"
	"fmt"
	"net"

	"github.com/farreach/farreach/coap"
)

// A server for one lamp, and a client that reads it.
func Example() {
	lamp := coap.HandlerFunc(func(x *coap.Exchange) {
		if x.Request().Options.Path() != "/a/light" {
			x.Reply(&coap.Message{Code: coap.NotFound})
			return
		}
		x.Reply(&coap.Message{Code: coap.Content, Payload: []byte("on")})
	})
	ctx, cancel := context.WithCancel(context.Background())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	served := make(chan error)
	go func() {
		served <- coap.Serve(ctx, ln, func(nc net.Conn) *coap.Conn {
			return coap.Server(nc, coap.Config{Handler: lamp})
		})
	}()

	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		panic(err)
	}
	c := coap.Client(nc, coap.Config{})
	go c.Run(ctx)
	req := &coap.Message{Code: coap.GET}
	req.SetPath("/a/light")
	resp, err := c.Do(ctx, req)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%v: %s\n", resp.Code, resp.Payload)

	cancel()
	<-served
	<-c.Done()
	// Output: 2.05 Content: on
}
