package oiccoap_test

import (
	"context"
	"net"
	"testing"

	"go.uber.org/goleak"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// me is who the connection of these tests has proved its peer to be.
var me = oic.Identity{Account: "home", Device: "d"}

// serving answers with h, as a cloud or a device does.
func serving(h oic.Handler) coap.Handler {
	s := new(oiccoap.Server)
	return coap.HandlerFunc(func(x *coap.Exchange) { s.Serve(x, h, me) })
}

// connect returns the asking end of a connection in memory whose other end has
// a handler. Both run until the test ends.
func connect(t testing.TB, h coap.Handler) *coap.Conn {
	t.Helper()
	a, b := net.Pipe()
	client, server := coap.Client(a, coap.Config{KeepAlive: -1}), coap.Server(b, coap.Config{Handler: h, KeepAlive: -1})
	ended := make(chan struct{}, 2)
	for _, c := range []*coap.Conn{client, server} {
		go func() {
			c.Run(context.Background())
			ended <- struct{}{}
		}()
	}
	t.Cleanup(func() {
		client.Close()
		<-ended
		<-ended
	})
	return client
}

// message makes one: "GET", "/a?b=c", then options by number.
func message(code coap.Code, href string, options ...coap.Option) *coap.Message {
	m := &coap.Message{Code: code}
	path, query := oic.SplitHref(href)
	m.SetPath(path)
	m.SetQuery(query)
	for _, o := range options {
		m.Add(o.Number, o.Value)
	}
	return m
}

// option is an option with an unsigned integer.
func option(n coap.Number, value uint32) coap.Option {
	var m coap.Message
	m.AddUint(n, value)
	return m.Options[0]
}
