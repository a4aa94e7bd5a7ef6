package coap_test

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/simnet"
)

var group = netip.MustParseAddrPort("224.0.1.187:5683")

// member is a GroupConn of a network in memory.
func member(n *simnet.Net, addr string) *coap.GroupConn {
	s := n.Listen(addr)
	s.Join(group)
	return coap.NewGroupConn(s)
}

// Who asks a group hears each device once, from its own address, within the
// leisure, and no errors (RFC 7252, section 8.2).
func TestAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(simnet.Config{})
		var mu sync.Mutex
		served := map[string]int{}
		for _, host := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"} {
			endpoint(t, n.Listen(host+":40000"), coap.EndpointConfig{
				Groups: []*coap.GroupConn{member(n, host+":5683")},
				Handler: coap.HandlerFunc(func(x *coap.Exchange) {
					mu.Lock()
					served[host]++
					mu.Unlock()
					if host == "10.0.0.3" {
						x.Reply(&coap.Message{Code: coap.NotFound})
						return
					}
					x.Reply(&coap.Message{Code: coap.Content, Payload: make([]byte, 500)})
				}),
			})
		}
		asker := endpoint(t, n.Listen("10.0.0.9:40000"), coap.EndpointConfig{})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		var heard []string
		err := asker.Ask(ctx, []netip.AddrPort{group}, get("/oic/res"), func(from netip.AddrPort, m *coap.Message) {
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("%v after %v", from, took)
			}
			heard = append(heard, from.String())
		})
		if err != nil {
			t.Error(err)
		}
		slices.Sort(heard)
		if !slices.Equal(heard, []string{"10.0.0.1:40000", "10.0.0.2:40000"}) {
			t.Errorf("heard %v", heard)
		}
		mu.Lock()
		defer mu.Unlock()
		if served["10.0.0.1"] != 1 || served["10.0.0.3"] != 1 {
			t.Errorf("served %v, want once each though it was asked three times", served)
		}
	})
}

// What a group must not be answered: pings, what is malformed, Confirmable
// requests with an acknowledgement; and observations begin with unicast only.
func TestGroupSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(simnet.Config{})
		endpoint(t, n.Listen("10.0.0.1:5683"), coap.EndpointConfig{
			Groups:  []*coap.GroupConn{member(n, "10.0.0.1:1")},
			Handler: observable(nil), Closed: true,
		})
		far := &station{t, n.Listen("10.0.0.2:5683"), group}
		defer far.Close()
		far.tell(datagram(coap.Confirmable, 1, coap.Empty, "", ""))
		far.WriteToUDPAddrPort([]byte{0x49, 1, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9}, group) // TKL 9
		far.tell(&coap.Message{Type: coap.Confirmable, ID: 3, Code: coap.Content, Token: coap.TokenFrom(1)})
		far.tell(datagram(coap.Confirmable, 4, coap.Code(0x1f), "t", "/no/such/method"))
		far.silence(time.Minute)
		far.tell(watching(5, "o", 0))
		if m := far.hear(); m.Type != coap.NonConfirmable || m.Options.Has(coap.Observe) {
			t.Errorf("%v %v", m.Type, m)
		}
		far.silence(time.Minute)
	})
}

// No more than 64 answers to groups wait at once.
func TestGroupAnswersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(simnet.Config{})
		endpoint(t, n.Listen("10.0.0.1:5683"), coap.EndpointConfig{
			Groups: []*coap.GroupConn{member(n, "10.0.0.1:1")}, Handler: echo,
		})
		far := &station{t, n.Listen("10.0.0.2:5683"), group}
		defer far.Close()
		for i := range uint16(1000) {
			far.tell(datagram(coap.NonConfirmable, i, coap.GET, "t", "/"))
		}
		answers := 0
		for far.next(10*time.Second) != nil {
			answers++
		}
		if answers != 64 {
			t.Errorf("%d answers, want 64", answers)
		}
	})
}

// Groups of the kernel, in both families.
func TestListenGroups(t *testing.T) {
	for _, c := range []struct{ network, group string }{
		{"udp4", "224.0.1.187:35683"}, {"udp6", "[ff02::158]:35683"}, {"udp", "224.0.1.187:35683"},
	} {
		t.Run(c.network+" "+c.group, func(t *testing.T) {
			group := netip.MustParseAddrPort(c.group)
			groups, err := coap.ListenGroups(group)
			if err != nil {
				t.Skip(err)
			}
			listen := func() *net.UDPConn {
				pc, err := net.ListenUDP(c.network, nil)
				if err != nil {
					t.Skip(err)
				}
				return pc
			}
			pc := listen()
			endpoint(t, pc, coap.EndpointConfig{Groups: groups, Handler: echo, Leisure: -1})
			asker := endpoint(t, listen(), coap.EndpointConfig{})
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			var from netip.AddrPort
			err = asker.Ask(ctx, []netip.AddrPort{group}, get("/alive"), func(addr netip.AddrPort, m *coap.Message) {
				from = addr
				cancel()
			})
			if err != nil || !from.IsValid() {
				t.Skipf("no multicast here: %v", err)
			}
			if want := pc.LocalAddr().(*net.UDPAddr).Port; from.Port() != uint16(want) {
				t.Errorf("answered from %v, want port %d", from, want)
			}
			if _, err := asker.Do(t.Context(), netip.AddrPortFrom(from.Addr(), group.Port()), get("/alive")); err != nil {
				t.Errorf("unicast to the port of the group: %v", err)
			}
		})
	}
}

// A request to a group never has the Message ID of one to a member, who would
// take the later one for a copy and not answer (RFC 7252, section 4.4).
func TestGroupMessageIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ids := map[bool]map[uint16]bool{true: {}, false: {}} // IDs, by whether it was to the group
		_, e, far := lan(t, simnet.Config{Filter: func(_, dst netip.AddrPort, b []byte) bool {
			ids[dst == group][binary.BigEndian.Uint16(b[2:])] = true
			return false
		}}, coap.EndpointConfig{})
		for range 1 << 16 {
			if err := e.Peer(far.Addr()).Send(t.Context(), &coap.Message{Type: coap.NonConfirmable, Code: coap.GET}); err != nil {
				t.Fatal(err)
			}
		}
		for range 300 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			if err := e.AskOnce(ctx, []netip.AddrPort{group}, get("/oic/res"), func(netip.AddrPort, *coap.Message) {}); err != nil {
				t.Error(err)
			}
			cancel()
		}
		for id := range ids[true] {
			if ids[false][id] {
				t.Errorf("%#x is of both", id)
			}
		}
		if len(ids[true]) != 256 || len(ids[false]) != 1<<16-256 {
			t.Errorf("%d Message IDs to the group, %d to a member", len(ids[true]), len(ids[false]))
		}
	})
}
