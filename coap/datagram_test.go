package coap_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/simnet"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// endpoint runs an Endpoint on pc until the test ends.
func endpoint(t testing.TB, pc coap.PacketConn, cfg coap.EndpointConfig) *coap.Endpoint {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = quiet
	}
	e := coap.NewEndpoint(pc, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != context.Canceled {
			t.Errorf("Run = %v", err)
		}
	})
	return e
}

// station is a socket of a network in memory by which a test speaks bytes.
type station struct {
	t *testing.T
	*simnet.Socket
	to netip.AddrPort
}

// lan is a network with an Endpoint at 10.0.0.1:5683 and a station at
// 10.0.0.2.
func lan(t *testing.T, net simnet.Config, cfg coap.EndpointConfig) (*simnet.Net, *coap.Endpoint, *station) {
	n := simnet.New(net)
	s := n.Listen("10.0.0.1:5683")
	e := endpoint(t, s, cfg)
	far := n.Listen("10.0.0.2:5683")
	t.Cleanup(func() { far.Close() })
	return n, e, &station{t, far, s.Addr()}
}

func (s *station) tell(m *coap.Message) {
	s.t.Helper()
	wire, err := m.Append(coap.UDP, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.WriteToUDPAddrPort(wire, s.to)
}

// hear waits for a datagram, at most an hour.
func (s *station) hear() *coap.Message {
	s.t.Helper()
	m := s.next(time.Hour)
	if m == nil {
		s.t.Fatal("heard nothing")
	}
	return m
}

// next is the next datagram; nil: none came for so long.
func (s *station) next(patience time.Duration) *coap.Message {
	s.t.Helper()
	b, from, ok := s.Within(patience)
	if !ok {
		return nil
	}
	m := new(coap.Message)
	if _, err := m.Parse(coap.UDP, b, 8192); err != nil {
		s.t.Fatalf("heard %x from %v: %v", b, from, err)
	}
	return m
}

func (s *station) silence(d time.Duration) {
	s.t.Helper()
	if m := s.next(d); m != nil {
		s.t.Fatalf("heard %v %v", m.Type, m)
	}
}

func datagram(typ coap.Type, id uint16, code coap.Code, token string, path string) *coap.Message {
	m := &coap.Message{Type: typ, ID: id, Code: code, Token: coap.MakeToken([]byte(token))}
	if path != "" {
		m.SetPath(path)
	}
	return m
}

// counter answers with how often it was asked.
type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) Serve(x *coap.Exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	x.Reply(&coap.Message{Code: coap.Content, Payload: strconv.AppendInt(nil, int64(c.n), 10)})
}

// A request that comes twice is carried out once; its answer is the same (RFC
// 7252, section 4.5), for 247 s.
func TestDuplicates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, far := lan(t, simnet.Config{}, coap.EndpointConfig{Handler: new(counter)})
		for range 3 {
			far.tell(datagram(coap.Confirmable, 7, coap.POST, "a", "/"))
			if m := far.hear(); m.Type != coap.Acknowledgement || m.ID != 7 || string(m.Payload) != "1" {
				t.Fatalf("%v %v %q", m.Type, m, m.Payload)
			}
		}
		far.tell(datagram(coap.NonConfirmable, 8, coap.POST, "b", "/"))
		if m := far.hear(); m.Type != coap.NonConfirmable || string(m.Payload) != "2" {
			t.Fatalf("%v %v %q", m.Type, m, m.Payload)
		}
		far.tell(datagram(coap.NonConfirmable, 8, coap.POST, "b", "/"))
		far.silence(time.Second)
		for i := range 30 { // the peer stays, and is remembered
			far.tell(datagram(coap.Confirmable, uint16(100+i), coap.POST, "c", "/"))
			far.hear()
			time.Sleep(8 * time.Second)
		}
		far.tell(datagram(coap.Confirmable, 7, coap.POST, "a", "/"))
		if m := far.hear(); string(m.Payload) != "1" {
			t.Errorf("after 241 s: %q", m.Payload)
		}
		time.Sleep(10 * time.Second)
		far.tell(datagram(coap.Confirmable, 7, coap.POST, "a", "/"))
		if m := far.hear(); string(m.Payload) != "33" {
			t.Errorf("after 251 s: %q", m.Payload)
		}
	})
}

// Only 64 messages of a peer are remembered; the oldest makes room.
func TestDuplicatesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, far := lan(t, simnet.Config{}, coap.EndpointConfig{Handler: new(counter)})
		ask := func(id uint16) string {
			far.tell(datagram(coap.Confirmable, id, coap.POST, "a", "/"))
			return string(far.hear().Payload)
		}
		for i := range uint16(65) {
			ask(i)
		}
		if got := ask(1); got != "2" {
			t.Errorf("message 1 again: %s", got)
		}
		if got := ask(0); got != "66" {
			t.Errorf("message 0 again: %s", got)
		}
	})
}

// What answers slowly is acknowledged first, and answered in a message of its
// own, which is sent until it is acknowledged (RFC 7252, section 5.2.2).
func TestSeparateResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := coap.HandlerFunc(func(x *coap.Exchange) {
			x.Go(func(ctx context.Context) {
				time.Sleep(time.Second)
				x.Reply(&coap.Message{Code: coap.Changed})
			})
		})
		_, _, far := lan(t, simnet.Config{}, coap.EndpointConfig{Handler: slow})
		start := time.Now()
		far.tell(datagram(coap.Confirmable, 7, coap.PUT, "tok", "/"))
		if m := far.hear(); m.Type != coap.Acknowledgement || m.ID != 7 || m.Code != coap.Empty || time.Since(start) != 250*time.Millisecond {
			t.Fatalf("after %v: %v %v", time.Since(start), m.Type, m)
		}
		far.tell(datagram(coap.Confirmable, 7, coap.PUT, "tok", "/")) // the acknowledgement got lost
		if m := far.hear(); m.Type != coap.Acknowledgement || m.Code != coap.Empty {
			t.Fatalf("%v %v", m.Type, m)
		}
		var id uint16
		for i := range 3 {
			m := far.hear()
			if m.Type != coap.Confirmable || m.Code != coap.Changed || m.Token != coap.MakeToken([]byte("tok")) || i > 0 && m.ID != id {
				t.Fatalf("%v %v", m.Type, m)
			}
			id = m.ID
		}
		far.tell(datagram(coap.Acknowledgement, id, coap.Empty, "", ""))
		far.silence(5 * time.Minute)

		far.tell(datagram(coap.NonConfirmable, 8, coap.PUT, "tok", "/"))
		if m := far.hear(); m.Type != coap.NonConfirmable || m.Code != coap.Changed {
			t.Fatalf("%v %v", m.Type, m)
		}
	})
}

// The times of RFC 7252, section 4.8: five transmissions, 2 to 3 s and then
// doubled, 93 s at most.
func TestRetransmission(t *testing.T) {
	for range 10 {
		synctest.Test(t, func(t *testing.T) {
			_, e, far := lan(t, simnet.Config{}, coap.EndpointConfig{})
			start := time.Now()
			ended := make(chan error, 1)
			go func() {
				_, err := e.Do(context.Background(), far.Addr(), get("/"))
				ended <- err
			}()
			var at []time.Duration
			first := far.hear()
			for range 4 {
				m := far.hear()
				at = append(at, time.Since(start))
				if m.ID != first.ID || m.Token != first.Token || m.Token.Len() != 8 || m.Type != coap.Confirmable {
					t.Fatalf("%v %v, first was %v", m.Type, m, first)
				}
			}
			far.silence(5 * time.Minute)
			if d := at[0]; d < 2*time.Second || d > 3*time.Second || at[1] != 3*d || at[2] != 7*d || at[3] != 15*d {
				t.Errorf("sent again at %v", at)
			}
			if err := <-ended; !errors.Is(err, coap.ErrSilent) {
				t.Errorf("Do = %v", err)
			}
		})
	}
}

// Each way in which a peer may answer, and silence afterwards.
func TestResponses(t *testing.T) {
	cases := []struct {
		name   string
		answer func(far *station, req *coap.Message)
		err    error
	}{
		{"piggybacked", func(far *station, req *coap.Message) {
			far.tell(&coap.Message{Type: coap.Acknowledgement, ID: req.ID, Token: req.Token, Code: coap.Content})
		}, nil},
		{"separate", func(far *station, req *coap.Message) {
			far.tell(datagram(coap.Acknowledgement, req.ID, coap.Empty, "", ""))
			time.Sleep(time.Minute)
			for range 3 { // acknowledged each time, taken once
				far.tell(&coap.Message{Type: coap.Confirmable, ID: 1, Token: req.Token, Code: coap.Content})
				if m := far.hear(); m.Type != coap.Acknowledgement || m.ID != 1 || m.Code != coap.Empty {
					far.t.Errorf("%v %v", m.Type, m)
				}
			}
		}, nil},
		{"before its acknowledgement", func(far *station, req *coap.Message) {
			far.tell(&coap.Message{Type: coap.NonConfirmable, ID: 1, Token: req.Token, Code: coap.Content})
			far.tell(datagram(coap.Acknowledgement, req.ID, coap.Empty, "", ""))
		}, nil},
		{"reset", func(far *station, req *coap.Message) {
			far.tell(datagram(coap.Reset, req.ID, coap.Empty, "", ""))
		}, coap.ErrReset},
		{"acknowledged and forgotten", func(far *station, req *coap.Message) {
			far.tell(datagram(coap.Acknowledgement, req.ID, coap.Empty, "", ""))
		}, coap.ErrSilent},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, e, far := lan(t, simnet.Config{}, coap.EndpointConfig{})
				done := make(chan error, 1)
				go func() {
					_, err := e.Do(context.Background(), far.Addr(), get("/"))
					done <- err
				}()
				req := far.hear()
				c.answer(far, req)
				if err := <-done; !errors.Is(err, c.err) {
					t.Errorf("Do = %v, want %v", err, c.err)
				}
				far.silence(5 * time.Minute)
			})
		})
	}
}

// NSTART: one Confirmable message at a time to a peer, the others in order
// behind it; and another peer does not wait.
func TestOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, e, far := lan(t, simnet.Config{}, coap.EndpointConfig{})
		other := &station{t, n.Listen("10.0.0.3:5683"), far.to}
		defer other.Close()
		ctx, cancel := context.WithCancel(t.Context())
		var calls sync.WaitGroup
		for i := range 100 {
			calls.Go(func() { e.Do(ctx, far.Addr(), get("/"+strconv.Itoa(i))) })
			synctest.Wait()
		}
		first := far.hear()
		far.silence(time.Second)
		go e.Do(ctx, other.Addr(), get("/other"))
		if m := other.hear(); m.Options.Path() != "/other" {
			t.Errorf("other heard %v", m)
		}
		if first.Options.Path() != "/0" {
			t.Errorf("first heard %v", first.Options.Path())
		}
		for i := 1; i < 65; i++ { // in order, as far as they fit the queue
			far.tell(&coap.Message{Type: coap.Acknowledgement, ID: first.ID, Token: first.Token, Code: coap.Content})
			if first = far.hear(); first.Options.Path() != "/"+strconv.Itoa(i) {
				t.Errorf("%d is %v", i, first.Options.Path())
			}
		}
		cancel()
		calls.Wait()
		for far.next(time.Second) != nil { // what was let go before it was cancelled itself
		}
		far.silence(5 * time.Minute)
	})
}

// What is cancelled is not sent any more, and does not hold up the next.
func TestCancelledRequestMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, e, far := lan(t, simnet.Config{}, coap.EndpointConfig{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := e.Do(ctx, far.Addr(), get("/1")); err != context.DeadlineExceeded {
			t.Errorf("Do = %v", err)
		}
		far.hear()
		go e.Do(t.Context(), far.Addr(), get("/2"))
		if m := far.hear(); m.Options.Path() != "/2" {
			t.Errorf("heard %v", m.Options.Path())
		}
	})
}

func TestPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, e, far := lan(t, simnet.Config{Delay: 50 * time.Millisecond}, coap.EndpointConfig{})
		far.tell(datagram(coap.Confirmable, 9, coap.Empty, "", ""))
		if m := far.hear(); m.Type != coap.Reset || m.ID != 9 {
			t.Errorf("%v %v", m.Type, m)
		}
		other := endpoint(t, n.Listen("10.0.0.3:5683"), coap.EndpointConfig{})
		if d, err := other.Peer(far.to).Ping(t.Context()); d != 100*time.Millisecond || err != nil {
			t.Errorf("Ping = %v, %v", d, err)
		}
		if _, err := e.Peer(far.Addr()).Ping(context.Background()); !errors.Is(err, coap.ErrSilent) {
			t.Errorf("Ping = %v", err)
		}
	})
}

// Both ends ask each other, over a network that loses, doubles and delays;
// what is asked once is done once.
func TestBadNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(simnet.Config{Loss: 0.25, Duplicate: 0.25, Delay: 10 * time.Millisecond, Jitter: 300 * time.Millisecond, Seed: 42})
		a, b := n.Listen("10.0.0.1:5683"), n.Listen("10.0.0.2:5683")
		var mu sync.Mutex
		done := map[string]int{}
		handler := coap.HandlerFunc(func(x *coap.Exchange) {
			path := x.Request().Options.Path()
			mu.Lock()
			done[path]++
			mu.Unlock()
			resp := &coap.Message{Code: coap.Changed, Payload: []byte(path)}
			if len(path)%2 == 0 {
				x.Reply(resp)
				return
			}
			x.Go(func(context.Context) {
				time.Sleep(time.Second)
				x.Reply(resp)
			})
		})
		ends := []*coap.Endpoint{
			endpoint(t, a, coap.EndpointConfig{Handler: handler}), endpoint(t, b, coap.EndpointConfig{Handler: handler})}
		var asking sync.WaitGroup
		failed, asked := 0, 0
		for from, to := range []netip.AddrPort{b.Addr(), a.Addr()} {
			for worker := range 3 {
				asking.Go(func() {
					for i := range 40 {
						path := fmt.Sprintf("/%d/%d/%d", from, worker, i)
						m, err := ends[from].Do(t.Context(), to, &coap.Message{Code: coap.POST, Options: get(path).Options})
						mu.Lock()
						asked++
						if err != nil {
							failed++
						} else if string(m.Payload) != path {
							t.Errorf("%s: %q", path, m.Payload)
						}
						mu.Unlock()
					}
				})
			}
		}
		asking.Wait()
		if failed > asked/10 {
			t.Errorf("%d of %d failed", failed, asked)
		}
		for path, times := range done {
			if times != 1 {
				t.Errorf("%s was done %d times", path, times)
			}
		}
	})
}

// A socket of the kernel does too, in both families, and in one for both.
func TestEndpointOverSockets(t *testing.T) {
	for _, c := range []struct{ network, address, to string }{
		{"udp4", "127.0.0.1:0", "127.0.0.1"}, {"udp6", "[::1]:0", "::1"}, {"udp", ":0", "127.0.0.1"}, {"udp", ":0", "::1"},
	} {
		t.Run(c.network+" "+c.to, func(t *testing.T) {
			listen := func() *net.UDPConn {
				pc, err := net.ListenPacket(c.network, c.address)
				if err != nil {
					t.Skip(err)
				}
				return pc.(*net.UDPConn)
			}
			spc := listen()
			endpoint(t, spc, coap.EndpointConfig{Handler: echo})
			client := endpoint(t, listen(), coap.EndpointConfig{})
			to := netip.AddrPortFrom(netip.MustParseAddr(c.to), uint16(spc.LocalAddr().(*net.UDPAddr).Port))
			for range 100 {
				m, err := client.Do(t.Context(), to, get("/alive"))
				if err != nil || m.Code != coap.Content {
					t.Fatalf("Do = %v, %v", m, err)
				}
			}
		})
	}
}

// Options that are longer than a datagram are not sent, and something shorter
// may be.
func TestDatagramTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler := coap.HandlerFunc(func(x *coap.Exchange) {
			m := &coap.Message{Code: coap.Created}
			for range 6 {
				m.Add(coap.LocationPath, make([]byte, 255))
			}
			if err := x.Reply(m); !errors.Is(err, coap.ErrTooLarge) {
				t.Errorf("Reply = %v", err)
			}
			x.Reply(&coap.Message{Code: coap.RequestEntityTooLarge})
		})
		_, e, far := lan(t, simnet.Config{}, coap.EndpointConfig{Handler: handler, Closed: true})
		far.tell(datagram(coap.Confirmable, 9, coap.GET, "t", "/"))
		if m := far.hear(); m.Type != coap.Acknowledgement || m.Code != coap.RequestEntityTooLarge {
			t.Errorf("%v %v", m.Type, m)
		}
		req := &coap.Message{Code: coap.PUT}
		for range 6 {
			req.Add(coap.URIQuery, make([]byte, 255))
		}
		if _, err := e.Do(t.Context(), far.Addr(), req); !errors.Is(err, coap.ErrTooLarge) {
			t.Errorf("Do = %v", err)
		}
		far.silence(time.Minute)
	})
}

// The end of an endpoint ends what waits for it.
func TestEndpointEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(simnet.Config{})
		e := coap.NewEndpoint(n.Listen("10.0.0.1:1"), coap.EndpointConfig{Log: quiet})
		ctx, cancel := context.WithCancel(t.Context())
		to := netip.MustParseAddrPort("10.0.0.9:1")
		var errs [4]error
		var waiting sync.WaitGroup
		waiting.Go(func() { errs[0] = e.Run(ctx) })
		waiting.Go(func() { _, errs[1] = e.Do(t.Context(), to, get("/")) })
		waiting.Go(func() { _, errs[2] = e.Peer(to).Ping(t.Context()) })
		waiting.Go(func() { errs[3] = e.Ask(t.Context(), []netip.AddrPort{to}, get("/"), nil) })
		heard := make(chan error, 1)
		e.Observe(to, get("/"), func(_ *coap.Message, err error) { heard <- err })
		synctest.Wait()
		cancel()
		waiting.Wait()
		if errs[0] != context.Canceled {
			t.Errorf("Run = %v", errs[0])
		}
		for i, err := range append(slices.Clone(errs[1:]), <-heard) {
			if !errors.Is(err, coap.ErrClosed) || !errors.Is(err, context.Canceled) {
				t.Errorf("%d: %v", i, err)
			}
		}
		if _, err := e.Do(t.Context(), to, get("/")); !errors.Is(err, coap.ErrClosed) {
			t.Errorf("Do after the end: %v", err)
		}
	})
}

// A panic costs the one request.
func TestDatagramPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler := coap.HandlerFunc(func(x *coap.Exchange) {
			if x.Request().Options.Path() == "/go" {
				x.Go(func(context.Context) { panic("in Go") })
				return
			}
			panic("in Serve")
		})
		_, _, far := lan(t, simnet.Config{}, coap.EndpointConfig{Handler: handler})
		for i, path := range []string{"/", "/go", "/"} {
			far.tell(datagram(coap.Confirmable, uint16(i), coap.GET, "t", path))
			if m := far.hear(); m.Code != coap.InternalServerError {
				t.Errorf("%s: %v", path, m)
			}
		}
	})
}

// Peers are forgotten after a minute, and 4,096 are the most.
func TestPeersAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		accepted := 0
		_, _, far := lan(t, simnet.Config{}, coap.EndpointConfig{Accept: func(p *coap.Peer) coap.Handler {
			accepted++
			return echo
		}})
		ask := func(i int) {
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 5683)
			wire, _ := datagram(coap.NonConfirmable, 1, coap.GET, "t", "/").Append(coap.UDP, nil)
			far.Forge(from, wire, far.to)
			synctest.Wait()
		}
		ask(1)
		ask(1)
		if accepted != 1 {
			t.Errorf("%d accepted, want 1", accepted)
		}
		time.Sleep(75 * time.Second)
		ask(1)
		if accepted != 2 {
			t.Errorf("%d accepted, want 2", accepted)
		}
		for i := range 4100 {
			ask(i + 2)
		}
		ask(4101) // there still
		if accepted != 4102 {
			t.Errorf("%d accepted, want 4102", accepted)
		}
		ask(1) // the oldest was forgotten
		if accepted != 4103 {
			t.Errorf("%d accepted, want 4103", accepted)
		}
	})
}

func TestExchangeSaysWhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := make(chan string, 1)
		_, _, far := lan(t, simnet.Config{}, coap.EndpointConfig{Handler: coap.HandlerFunc(func(x *coap.Exchange) {
			if x.Conn() != nil {
				t.Error("there is a Conn")
			}
			asked <- strings.Join([]string{x.Peer().Addr().String(), x.Caller().RemoteAddr().String(), x.Caller().LocalAddr().String()}, " ")
		})})
		far.tell(datagram(coap.Confirmable, 9, coap.GET, "t", "/"))
		if got := <-asked; got != "10.0.0.2:5683 10.0.0.2:5683 10.0.0.1:5683" {
			t.Error(got)
		}
		if m := far.hear(); m.Type != coap.Acknowledgement || m.Code != coap.Empty { // nobody answers
			t.Errorf("%v %v", m.Type, m)
		}
	})
}
