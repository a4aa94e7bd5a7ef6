package coap_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/farreach/farreach/coap"
)

// Config.Ended is called once, with what Run returns, however it ends.
func TestEnded(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(c *coap.Conn, peer net.Conn, cancel func())
		want error
	}{
		{"closed from this side", func(c *coap.Conn, _ net.Conn, _ func()) { c.Close() }, coap.ErrClosed},
		{"closed by the peer", func(_ *coap.Conn, peer net.Conn, _ func()) { peer.Close() }, nil},
		{"context", func(_ *coap.Conn, _ net.Conn, cancel func()) { cancel() }, context.Canceled},
	} {
		t.Run(test.name, func(t *testing.T) {
			ours, peer := net.Pipe()
			defer peer.Close()
			go func() { // takes what comes until the end
				buf := make([]byte, 64)
				for {
					if _, err := peer.Read(buf); err != nil {
						return
					}
				}
			}()
			var said []error
			c := coap.Server(ours, coap.Config{Ended: func(_ *coap.Conn, err error) { said = append(said, err) }})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- c.Run(ctx) }()
			<-c.Ready()
			test.end(c, peer, cancel)
			err := <-ended
			if len(said) != 1 || said[0] != err {
				t.Errorf("Run = %v, Ended heard %v", err, said)
			}
			if test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("Run = %v, want %v", err, test.want)
			}
		})
	}
}
