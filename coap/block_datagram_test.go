package coap_test

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/simnet"
)

// Bodies of any length go over datagrams, also where many are lost, come twice
// or late (RFC 7959).
func TestBlockwiseDatagrams(t *testing.T) {
	for _, v := range []struct {
		name string
		net  simnet.Config
		most int
	}{
		{"good", simnet.Config{}, coap.MaxBlockBody},
		{"bad", simnet.Config{Seed: 7, Loss: 0.1, Duplicate: 0.1, Delay: 10 * time.Millisecond, Jitter: 50 * time.Millisecond}, 40_000},
	} {
		t.Run(v.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := simnet.New(v.net)
				l := newLibrary()
				server := n.Listen("10.0.0.1:5683")
				endpoint(t, server, coap.EndpointConfig{Handler: l, Closed: true})
				client := endpoint(t, n.Listen("10.0.0.2:5683"), coap.EndpointConfig{})
				for _, size := range []int{1, 1024, 1025, 5000, v.most} {
					body := letters(size)
					m, err := client.Do(t.Context(), server.Addr(), put("/book", body))
					if err != nil || m.Code != coap.Changed {
						t.Fatalf("PUT of %d bytes: %v, %v", size, m, err)
					}
					m, err = client.Do(t.Context(), server.Addr(), get("/book"))
					if err != nil || !bytes.Equal(m.Payload, body) || m.Options.Has(coap.Block2) {
						t.Fatalf("GET of %d bytes: %v, %v", size, m, err)
					}
					m, err = client.Do(t.Context(), server.Addr(), &coap.Message{Code: coap.POST, Payload: body})
					if err != nil || len(m.Payload) != size {
						t.Fatalf("POST of %d bytes: %v, %v", size, m, err)
					}
				}
			})
		})
	}
}

// Who has not proved its address has nothing kept for it, and gets no blocks
// that would be more than three times its request (rows 37 and 39).
func TestBad37UnprovedUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, far := lan(t, simnet.Config{}, coap.EndpointConfig{Handler: newLibrary()})
		up := datagram(coap.Confirmable, 1, coap.PUT, "u", "/book")
		up.Payload = letters(1024)
		up.AddBlock(coap.Block1, coap.Block{More: true, SZX: 6})
		far.tell(up)
		m := far.hear()
		echo, ok := m.Options.Get(coap.Echo)
		if m.Code != coap.Unauthorized || !ok {
			t.Fatalf("got %v, want 4.01 with an Echo option", m)
		}
		up.ID = 2
		up.Add(coap.Echo, bytes.Clone(echo.Value))
		far.tell(up)
		if m := far.hear(); m.Code != coap.Continue {
			t.Errorf("got %v, want 2.31", m)
		}
		last := datagram(coap.Confirmable, 3, coap.PUT, "v", "/book") // the key has no Echo in it
		last.Payload = []byte("end")
		last.AddBlock(coap.Block1, coap.Block{Num: 1, SZX: 6})
		far.tell(last)
		if m := far.hear(); m.Code != coap.Changed {
			t.Errorf("got %v, want 2.04", m)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		_, _, far := lan(t, simnet.Config{}, coap.EndpointConfig{Handler: newLibrary()})
		ask := datagram(coap.Confirmable, 1, coap.GET, "g", "/size/100000")
		ask.AddBlock(coap.Block2, coap.Block{SZX: 6})
		far.tell(ask)
		if m := far.hear(); m.Code != coap.Unauthorized || len(m.Payload) > 0 {
			t.Errorf("got %v, want 4.01", m)
		}
	})
}

// A notification too long for a datagram brings its first block; the rest is
// fetched, and the observer sees all of it (RFC 7959, section 2.6).
func TestObserveBlockwiseDatagrams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(simnet.Config{Delay: time.Millisecond})
		h := &growing{}
		server := n.Listen("10.0.0.1:5683")
		endpoint(t, server, coap.EndpointConfig{Handler: h, Closed: true})
		client := endpoint(t, n.Listen("10.0.0.2:5683"), coap.EndpointConfig{})
		h.observed(t, client.Peer(server.Addr()).Observe)
	})
}

// The same over each kind of connection.
func TestObserveBlockwise(t *testing.T) {
	for _, wire := range everyWire {
		t.Run(wire, func(t *testing.T) {
			h := &growing{}
			client, _ := blockEnds(t, wire, h, 1500)
			h.observed(t, client.Observe)
		})
	}
}

// growing is a resource that is longer with every change.
type growing struct {
	count   atomic.Int32
	changes chan struct{}
}

// state is what it is after n changes.
func (h *growing) state(n int) []byte { return letters(100 + 2500*n) }

func (h *growing) Serve(x *coap.Exchange) {
	m := &coap.Message{Code: coap.Content, Payload: h.state(int(h.count.Load()))}
	if v, ok := x.Request().Options.Uint(coap.Observe); !ok || v != 0 {
		x.Reply(m)
		return
	}
	x.Go(func(ctx context.Context) {
		for n := 0; ; n++ {
			h.count.Store(int32(n))
			m := &coap.Message{Code: coap.Content, Payload: h.state(n)}
			m.AddUint(coap.Observe, uint32(n+1))
			if x.Send(ctx, m) != nil {
				return
			}
			select {
			case <-h.changes:
			case <-ctx.Done():
				return
			}
		}
	})
}

// observed observes it through five changes, each of which the observer sees
// whole, and then cancels.
func (h *growing) observed(t *testing.T, observe func(*coap.Message, func(*coap.Message, error)) (*coap.Observation, error)) {
	t.Helper()
	h.changes = make(chan struct{})
	seen := make(chan string, 9)
	o, err := observe(get("/book"), func(m *coap.Message, err error) {
		if err != nil {
			seen <- err.Error()
			return
		}
		seen <- fmt.Sprint(len(m.Payload), m.Options.Has(coap.Block2), bytes.Equal(m.Payload, letters(len(m.Payload))))
	})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 6 {
		if n > 0 {
			h.changes <- struct{}{}
		}
		if got, want := <-seen, fmt.Sprint(len(h.state(n)), false, true); got != want {
			t.Fatalf("change %d: saw %s, want %s", n, got, want)
		}
	}
	o.Cancel()
	if len(seen) > 0 {
		t.Errorf("saw %s after Cancel", <-seen)
	}
}
