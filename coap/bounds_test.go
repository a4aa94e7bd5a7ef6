package coap_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/simnet"
)

// An answer to an address that is not proved is three times its request at
// most; one byte more, and it has to be proved first (threats section 3.2).
func TestBad39ThreeTimes(t *testing.T) {
	req := datagram(coap.Confirmable, 1, coap.GET, "t", "/a/light/that/has/a/long/name")
	wire, _ := req.Append(coap.UDP, nil)
	empty, _ := (&coap.Message{Code: coap.Content, Token: req.Token}).Append(coap.UDP, nil)
	fits := 3*len(wire) - len(empty) - 1 // and the payload marker
	for size, want := range map[int]coap.Code{fits: coap.Content, fits + 1: coap.Unauthorized} {
		synctest.Test(t, func(t *testing.T) {
			h := coap.HandlerFunc(func(x *coap.Exchange) {
				x.Reply(&coap.Message{Code: coap.Content, Payload: make([]byte, size)})
			})
			_, _, far := lan(t, simnet.Config{}, coap.EndpointConfig{Handler: h})
			far.tell(req)
			if m := far.hear(); m.Code != want {
				t.Errorf("answer of %d bytes to a request of %d: %v, want %v", size+len(empty)+1, len(wire), m.Code, want)
			}
		})
	}
}

// Of all peers together an endpoint serves 1,024 requests at once, whatever the
// sources say.
func TestBad25DatagramFloodOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running := 0
		handler := coap.HandlerFunc(func(x *coap.Exchange) {
			running++
			x.Go(func(ctx context.Context) { <-ctx.Done() })
		})
		n, _, far := lan(t, simnet.Config{}, coap.EndpointConfig{Handler: handler})
		for peer := range 32 {
			one := &station{t, n.Listen(fmt.Sprintf("10.0.1.%d:5683", peer)), far.to}
			for i := range uint16(64) {
				one.tell(datagram(coap.NonConfirmable, i, coap.GET, "t", "/"))
			}
			synctest.Wait()
			one.Close()
		}
		if running != 1024 {
			t.Errorf("%d requests run at once, want 1,024", running)
		}
	})
}

// The answers that are kept for duplicates of a peer take 8 KiB at most: a GET
// whose answer is not kept any more is carried out again.
func TestKeptAnswersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		h := coap.HandlerFunc(func(x *coap.Exchange) {
			asked++
			x.Reply(&coap.Message{Code: coap.Content, Payload: make([]byte, 1000)})
		})
		_, _, far := lan(t, simnet.Config{}, coap.EndpointConfig{Handler: h, Closed: true})
		ask := func(id uint16) {
			far.tell(datagram(coap.Confirmable, id, coap.GET, "t", "/"))
			if m := far.hear(); len(m.Payload) != 1000 {
				t.Errorf("request %d: %v", id, m)
			}
		}
		for id := range uint16(20) {
			ask(id)
		}
		ask(19)
		if asked != 20 {
			t.Errorf("the handler was asked %d times for 20 requests", asked)
		}
		if ask(0); asked != 21 {
			t.Errorf("20 answers of 1,000 bytes are kept")
		}
	})
}

// A peer observes 64 resources by datagrams at most; what is beyond is answered
// once, without the Observe option.
func TestBad25FloodOfObservations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := coap.HandlerFunc(func(x *coap.Exchange) {
			x.Background(func(ctx context.Context) {
				m := &coap.Message{Code: coap.Content}
				m.AddUint(coap.Observe, 1)
				x.Send(ctx, m)
				<-ctx.Done()
			})
		})
		_, _, far := lan(t, simnet.Config{}, coap.EndpointConfig{Handler: h, Closed: true})
		observed := 0
		for i := range uint16(70) {
			far.tell(watching(i, fmt.Sprint(i), 0))
			if far.hear().Options.Has(coap.Observe) {
				observed++
			}
		}
		if observed != 64 {
			t.Errorf("%d observations, want 64", observed)
		}
	})
}

// For a peer that acknowledges nothing 64 requests wait, and no more.
func TestRequestsWaitInBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, e, far := lan(t, simnet.Config{}, coap.EndpointConfig{})
		waiting := 0
		for range 100 {
			if _, err := e.Peer(far.Addr()).Observe(get("/"), func(*coap.Message, error) {}); err == nil {
				waiting++
			}
		}
		if waiting < 64 || waiting > 65 { // one of them is on its way
			t.Errorf("%d requests wait, want 64", waiting)
		}
	})
}

// What waits for a peer that reads nothing is 1 MiB at most, however few
// messages that are.
func TestSendIsBoundedInBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := servePeer(t, "pipe", coap.Config{KeepAlive: -1})
		p.expect(coap.CSM)
		csm := &coap.Message{Code: coap.CSM, Token: coap.TokenFrom(1)}
		csm.AddUint(coap.CSMMaxMessageSize, 1<<20)
		p.tell(csm)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		n := 0
		for ; n < 200; n++ {
			err := p.conn.Send(ctx, &coap.Message{Code: coap.Content, Token: coap.TokenFrom(1), Payload: make([]byte, 100_000)})
			if errors.Is(err, context.DeadlineExceeded) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if n > 12 {
			t.Errorf("%d messages of 100,000 bytes were queued", n)
		}
	})
}
