package rae

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/farreach/farreach/xmpp/ibb"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmppd/xmppdtest"
)

// What is answered promptly is answered by whoever reads, until an answer does
// not fit into a block, or nothing more can be sent just now: such an answer
// waits, and others do not wait for it.
func TestServePromptly(t *testing.T) {
	for _, block := range []int{0, 4096} {
		inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
			always := func(*Call) bool { return true }
			lamp := join(t, srv, lampName, exchangeConfig{serve: sized, prompt: always})
			phone := join(t, srv, phoneName, exchangeConfig{serve: echo, block: block})
			var asking sync.WaitGroup
			for _, n := range []int{10, 3000, 5000, 20, 100_000, 30, 200_000, 40} {
				asking.Go(func() {
					if got := sizeOf(phone.ask(t.Context(), phone.s, lamp.s.JID(), get(fmt.Sprint("/", n)))); got != fmt.Sprint(n) {
						t.Errorf("%d: %s", n, got)
					}
				})
			}
			asking.Wait()
			if n := phone.broken.Load() + lamp.broken.Load() + phone.strays.Load(); n != 0 {
				t.Errorf("%d sessions or answers were broken", n)
			}
			lamp.mu.Lock()
			defer lamp.mu.Unlock()
			if lamp.held != 0 {
				t.Errorf("%d bytes are held", lamp.held)
			}
		})
	}
}

// A prompt answer to a peer whose session waits for each block waits elsewhere:
// whoever reads has to read what it waits for.
func TestServePromptlyIQ(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		served := make(chan int, 1)
		serve := func(ctx context.Context, from jid.JID, c *Call, reply func(*Answer) error) {
			echo(ctx, from, c, reply)
			served <- 1
		}
		lamp := join(t, srv, lampName, exchangeConfig{serve: serve, prompt: func(*Call) bool { return true }})
		f := joinForeign(t, srv, phoneName, ibb.Config{})
		c, err := f.ibb.Open(t.Context(), f.s, lamp.s.JID(), ibb.IQ)
		if err != nil {
			t.Fatal(err)
		}
		for _, token := range []string{"00000001", "00000002"} {
			f.write(c, `<rest xmlns="rest.oic.org"><url method="GET">/a/light</url><headers><header name="OIC-Token">%s</header></headers></rest>`, token)
			<-served
			if got := f.read(c); !strings.Contains(got, "OIC-Token") || !strings.Contains(got, ">"+token+"<") {
				t.Errorf("the answer with token %s is %s", token, got)
			}
		}
	})
}
