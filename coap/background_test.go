package coap_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/coap"
)

// What runs in the background takes none of the 64 places of a connection and
// does not hold up an orderly end; but Run returns after it has ended.
func TestBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const running = 100
		ended := make(chan bool, running)
		h := coap.HandlerFunc(func(x *coap.Exchange) {
			x.Background(func(ctx context.Context) {
				x.Reply(&coap.Message{Code: coap.Content})
				<-ctx.Done()
				time.Sleep(time.Minute)
				ended <- true
			})
		})
		near, far := net.Pipe()
		server := coap.Server(near, coap.Config{Handler: h, KeepAlive: -1})
		client := coap.Client(far, coap.Config{KeepAlive: -1})
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan struct{})
		go func() { client.Run(ctx); close(gone) }()
		go func() {
			for range running {
				if _, err := client.Do(ctx, get("/")); err != nil {
					t.Error(err)
				}
			}
			cancel()
		}()
		start := time.Now()
		server.Run(context.Background())
		if n := len(ended); n != running {
			t.Errorf("Run has returned, and %d of %d functions have ended", n, running)
		}
		if took := time.Since(start); took > time.Minute+time.Second {
			t.Errorf("it took %v, want no wait before the end of the connection", took)
		}
		<-gone
	})
}
