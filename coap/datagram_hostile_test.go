package coap_test

import (
	"context"
	"encoding/binary"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/simnet"
	"github.com/farreach/farreach/internal/vector"
)

// thousand answers with 1,000 bytes.
var thousand = coap.HandlerFunc(func(x *coap.Exchange) {
	x.Reply(&coap.Message{Code: coap.Content, Payload: make([]byte, 1000)})
})

// TestBad33Datagrams: each datagram that cannot be a message is refused by
// itself: with a Reset if it was Confirmable, with the code if it is known what
// to refuse. The next one of the same peer is served (TestBad38).
func TestBad33Datagrams(t *testing.T) {
	for _, v := range vector.Refusals() {
		if v.Transport != "udp" {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, _, far := lan(t, simnet.Config{}, coap.EndpointConfig{Handler: echo})
				far.WriteToUDPAddrPort(v.Wire, far.to)
				switch m := far.next(time.Minute); {
				case m == nil:
				case v.Answer != 0:
					if m.Code != coap.Code(v.Answer) {
						t.Errorf("answered %v, want %v", m, coap.Code(v.Answer))
					}
				case m.Type != coap.Reset || m.ID != binary.BigEndian.Uint16(v.Wire[2:]):
					t.Errorf("answered %v %v", m.Type, m)
				}
				far.tell(datagram(coap.Confirmable, 999, coap.GET, "t", "/alive"))
				if m := far.hear(); m.Code != coap.Content {
					t.Errorf("the next got %v", m)
				}
			})
		})
	}
}

// TestBad34DatagramOptions: 4.02 for what Parse refuses, and nothing is kept:
// a datagram of 8,192 bytes full of options takes no more time than it has
// bytes.
func TestBad34DatagramOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, far := lan(t, simnet.Config{}, coap.EndpointConfig{Handler: echo})
		wire := []byte{0x41, 1, 0, 1, 't'}
		for len(wire) < 8192 {
			wire = append(wire, 0x00) // option 0, of no length
		}
		far.WriteToUDPAddrPort(wire, far.to)
		if m := far.hear(); m.Code != coap.BadOption || m.Type != coap.Acknowledgement {
			t.Errorf("%v %v", m.Type, m)
		}
		far.WriteToUDPAddrPort(append(wire, 0), far.to) // one byte too long
		far.silence(time.Minute)
	})
}

// TestBad38OneMalformed: what one peer sends costs neither its own session nor
// that of others.
func TestBad38OneMalformed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, e, far := lan(t, simnet.Config{}, coap.EndpointConfig{Handler: echo})
		honest := endpoint(t, n.Listen("10.0.0.3:5683"), coap.EndpointConfig{})
		done := make(chan error, 1)
		go func() {
			_, err := e.Do(t.Context(), far.Addr(), get("/slow"))
			done <- err
		}()
		req := far.hear()
		for _, v := range vector.Refusals() {
			far.WriteToUDPAddrPort(v.Wire, far.to)
		}
		for far.next(time.Second) != nil {
		}
		if m, err := honest.Do(t.Context(), far.to, get("/alive")); err != nil || m.Code != coap.Content {
			t.Errorf("the honest one got %v, %v", m, err)
		}
		far.tell(&coap.Message{Type: coap.NonConfirmable, Code: coap.Content, ID: 77, Token: req.Token})
		if err := <-done; err != nil {
			t.Errorf("Do = %v", err)
		}
	})
}

// TestBad39Amplification: to an address that is not proved go three times its
// request at most, no notifications, and an Echo option to prove it with (RFC
// 9175).
func TestBad39Amplification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, far := lan(t, simnet.Config{}, coap.EndpointConfig{Handler: thousand})
		req := datagram(coap.Confirmable, 1, coap.GET, "t", "/big")
		wire, _ := req.Append(coap.UDP, nil)
		far.tell(req)
		b, _, _ := far.Within(time.Minute)
		var m coap.Message
		m.Parse(coap.UDP, b, 8192)
		proof, ok := m.Options.Get(coap.Echo)
		if m.Code != coap.Unauthorized || !ok || len(b) > 3*len(wire) {
			t.Fatalf("%d bytes for %d: %v", len(b), len(wire), &m)
		}
		for name, value := range map[string][]byte{"guessed": make([]byte, 12), "short": proof.Value[:4], "altered": append(append([]byte{}, proof.Value[:11]...), proof.Value[11]^1)} {
			req.ID++
			req = datagram(coap.Confirmable, req.ID, coap.GET, "t", "/big")
			req.Add(coap.Echo, value)
			far.tell(req)
			if m := far.hear(); m.Code != coap.Unauthorized {
				t.Errorf("%s: %v", name, m)
			}
		}
		// Of another address it proves nothing.
		other := netip.MustParseAddrPort("10.0.0.77:5683")
		victim := &station{t, simnetListen(far, other), far.to}
		defer victim.Close()
		req = datagram(coap.Confirmable, 50, coap.GET, "t", "/big")
		req.Add(coap.Echo, proof.Value)
		victim.tell(req)
		if m := victim.hear(); m.Code != coap.Unauthorized {
			t.Errorf("with the proof of another: %v", m)
		}
		time.Sleep(61 * time.Second)
		req = datagram(coap.Confirmable, 60, coap.GET, "t", "/big")
		req.Add(coap.Echo, proof.Value)
		far.tell(req)
		again := far.hear()
		if again.Code != coap.Unauthorized {
			t.Errorf("with an old proof: %v", again)
		}
		fresh, _ := again.Options.Get(coap.Echo)
		req = datagram(coap.Confirmable, 61, coap.GET, "t", "/big")
		req.Add(coap.Echo, fresh.Value)
		far.tell(req)
		if m := far.hear(); m.Code != coap.Content || len(m.Payload) != 1000 {
			t.Errorf("with the proof: %v", m)
		}
		far.tell(datagram(coap.Confirmable, 62, coap.GET, "t", "/big"))
		if m := far.hear(); m.Code != coap.Content {
			t.Errorf("proved: %v", m)
		}
		// What is done already is not asked for again.
		victim.tell(datagram(coap.Confirmable, 70, coap.POST, "t", "/big"))
		if m := victim.hear(); m.Code != coap.Content || len(m.Payload) != 0 {
			t.Errorf("POST: %v", m)
		}
		victim.tell(datagram(coap.Confirmable, 71, coap.GET, "", ""))
		if m := victim.hear(); m.Code != coap.Unauthorized {
			t.Errorf("the shortest request: %v", m)
		}
	})
}

// simnetListen is another socket of the network that s belongs to.
func simnetListen(s *station, at netip.AddrPort) *simnet.Socket { return s.Net().Listen(at.String()) }

// Our client proves itself when asked; and nothing of this is needed in a
// closed network.
func TestEcho(t *testing.T) {
	for _, closed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			n, _, far := lan(t, simnet.Config{}, coap.EndpointConfig{Handler: thousand, Closed: closed})
			e := endpoint(t, n.Listen("10.0.0.3:5683"), coap.EndpointConfig{})
			before := n.Sent()
			for range 3 {
				if m, err := e.Do(t.Context(), far.to, get("/big")); err != nil || m.Code != coap.Content {
					t.Errorf("Do = %v, %v", m, err)
				}
			}
			if sent, want := n.Sent()-before, map[bool]int{false: 8, true: 6}[closed]; sent != want {
				t.Errorf("%d datagrams, want %d", sent, want)
			}
		})
	}
}

// TestBad39NoObserver: an address that is not proved has to prove itself before
// it may observe, and gets no notifications.
func TestBad39NoObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		change := make(chan struct{}, 10)
		_, _, far := lan(t, simnet.Config{}, coap.EndpointConfig{Handler: observable(change)})
		far.tell(watching(1, "tok", 0))
		m := far.hear()
		if m.Code != coap.Unauthorized || m.Options.Has(coap.Observe) || !m.Options.Has(coap.Echo) || len(m.Payload) > 0 {
			t.Errorf("%v", m)
		}
		change <- struct{}{}
		far.silence(time.Minute)
	})
}

// TestBad40DatagramTokens: a response counts only from the peer that was asked,
// with the token and, in an acknowledgement, the Message ID of the request.
func TestBad40DatagramTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, e, far := lan(t, simnet.Config{}, coap.EndpointConfig{})
		other := &station{t, n.Listen("10.0.0.3:5683"), far.to}
		defer other.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		done := make(chan *coap.Message, 1)
		go func() {
			m, _ := e.Do(ctx, far.Addr(), get("/"))
			done <- m
		}()
		req := far.hear()
		ack, non := coap.Acknowledgement, coap.NonConfirmable
		other.tell(&coap.Message{Type: ack, ID: req.ID, Token: req.Token, Code: coap.Content, Payload: []byte("other peer")})
		other.tell(&coap.Message{Type: non, ID: 1, Token: req.Token, Code: coap.Content, Payload: []byte("other peer")})
		other.tell(datagram(coap.Reset, req.ID, coap.Empty, "", ""))
		far.tell(&coap.Message{Type: ack, ID: req.ID + 1, Token: req.Token, Code: coap.Content, Payload: []byte("other ID")})
		far.tell(&coap.Message{Type: ack, ID: req.ID, Token: coap.TokenFrom(1), Code: coap.Content, Payload: []byte("other token")})
		far.tell(&coap.Message{Type: non, ID: 2, Code: coap.Content, Payload: []byte("no token")})
		far.tell(datagram(coap.Reset, req.ID+1, coap.Empty, "", ""))
		synctest.Wait()
		if len(done) > 0 {
			t.Fatalf("took %q", (<-done).Payload)
		}
		far.tell(&coap.Message{Type: non, ID: 3, Token: req.Token, Code: coap.Content, Payload: []byte("good")})
		if m := <-done; m == nil || string(m.Payload) != "good" {
			t.Errorf("got %v", m)
		}
		for id := range uint16(3) { // twice and late: refused, or not heard
			far.tell(&coap.Message{Type: coap.Confirmable, ID: 10 + id, Token: req.Token, Code: coap.Content})
			if m := far.hear(); m.Type != coap.Reset || m.ID != 10+id {
				t.Errorf("%v %v", m.Type, m)
			}
		}
	})
}

// TestBad40TokensDiffer: no two requests have the same token, nor one that can
// be guessed from the one before.
func TestBad40TokensDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, e, far := lan(t, simnet.Config{}, coap.EndpointConfig{})
		seen := map[coap.Token]bool{}
		for range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			e.Do(ctx, far.Addr(), get("/"))
			cancel()
			m := far.hear()
			b := m.Token.Append(nil)
			next := coap.TokenFrom(binary.BigEndian.Uint64(b) + 1)
			if seen[m.Token] || seen[next] || m.Token.Len() != 8 {
				t.Errorf("token %v", m.Token)
			}
			seen[m.Token] = true
		}
	})
}

// A peer that sends requests and does not wait for answers has 64 of them
// served at once; the others it has to send again.
func TestBad25DatagramFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		running := 0
		handler := coap.HandlerFunc(func(x *coap.Exchange) {
			running++
			x.Go(func(ctx context.Context) {
				select {
				case <-release:
				case <-ctx.Done():
				}
				x.Reply(&coap.Message{Code: coap.Content})
			})
		})
		_, _, far := lan(t, simnet.Config{}, coap.EndpointConfig{Handler: handler})
		for i := range uint16(1000) {
			far.tell(datagram(coap.NonConfirmable, i, coap.GET, "t", "/"))
		}
		synctest.Wait()
		if running != 64 {
			t.Errorf("%d run at once, want 64", running)
		}
		close(release)
		synctest.Wait()
		far.tell(datagram(coap.NonConfirmable, 999, coap.GET, "again", "/"))
		synctest.Wait()
		if running != 65 {
			t.Errorf("%d were run, want 65", running)
		}
	})
}

// FuzzEndpoint: whatever arrives, there is no panic, what is sent back is a
// message, no more than three times as long, and the next request is answered.
func FuzzEndpoint(f *testing.F) {
	seeds(f, "udp")
	f.Fuzz(func(t *testing.T, b []byte) {
		synctest.Test(t, func(t *testing.T) {
			_, e, far := lan(t, simnet.Config{}, coap.EndpointConfig{Handler: thousand, Leisure: -1})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			go e.Do(ctx, far.Addr(), get("/"))
			far.hear()
			for range 2 { // the second is a duplicate
				far.WriteToUDPAddrPort(b, far.to)
				synctest.Wait()
			}
			got := 0
			for {
				answer, _, ok := far.Within(100 * time.Millisecond)
				if !ok {
					break
				}
				if _, err := new(coap.Message).Parse(coap.UDP, answer, 8192); err != nil {
					t.Fatalf("%x got %x: %v", b, answer, err)
				}
				got += len(answer)
			}
			if got > 2*3*max(len(b), 4) {
				t.Fatalf("%x got %d bytes", b, got)
			}
			m := datagram(coap.Confirmable, 0, coap.POST, "alive", "/alive")
			for id := range uint16(2) { // b may have had one of these
				m.ID = id
				far.tell(m)
			}
			for {
				if m := far.hear(); m.Token == coap.MakeToken([]byte("alive")) {
					break
				}
			}
		})
	})
}
