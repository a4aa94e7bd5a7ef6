package simnet_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/internal/simnet"
)

// drain reads what has arrived.
func drain(t *testing.T, s *simnet.Socket) (got []string) {
	t.Helper()
	synctest.Wait()
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 100)
		for {
			n, _, err := s.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			got = append(got, string(b[:n]))
		}
	}()
	synctest.Wait()
	s.Close()
	<-done
	return got
}

func TestDatagrams(t *testing.T) {
	cases := []struct {
		name  string
		cfg   simnet.Config
		least int
		most  int
		order bool
	}{
		{"plain", simnet.Config{}, 100, 100, true},
		{"delay", simnet.Config{Delay: time.Second}, 100, 100, false},
		{"loss", simnet.Config{Loss: 0.5}, 30, 70, true},
		{"all lost", simnet.Config{Loss: 1}, 0, 0, true},
		{"twice", simnet.Config{Duplicate: 0.5}, 130, 170, true},
		{"jitter", simnet.Config{Jitter: time.Second}, 100, 100, false},
		{"filter", simnet.Config{Filter: func(_, _ netip.AddrPort, b []byte) bool { return b[0] != '9' }}, 89, 89, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := simnet.New(c.cfg)
				a, b := n.Listen("10.0.0.1:1"), n.Listen("10.0.0.2:0")
				for i := range 100 {
					a.WriteToUDPAddrPort(fmt.Append(nil, i), b.Addr())
				}
				time.Sleep(3 * time.Second)
				got := drain(t, b)
				if len(got) < c.least || len(got) > c.most {
					t.Errorf("%d arrived, want %d to %d", len(got), c.least, c.most)
				}
				last := -1
				for _, s := range got {
					var i int
					fmt.Sscan(s, &i)
					if c.order && i < last {
						t.Errorf("%d behind %d", i, last)
					}
					last = i
				}
				a.Close()
			})
		})
	}
}

func TestGroupsAndClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(simnet.Config{})
		group := netip.MustParseAddrPort("224.0.1.187:5683")
		a, b, c := n.Listen("10.0.0.1:1"), n.Listen("10.0.0.2:1"), n.Listen("10.0.0.3:1")
		b.Join(group)
		c.Join(group)
		a.WriteToUDPAddrPort([]byte("all"), group)
		for _, s := range []*simnet.Socket{b, c} {
			if got := drain(t, s); len(got) != 1 || got[0] != "all" {
				t.Errorf("%v got %q", s.Addr(), got)
			}
		}
		a.Close()
		if _, err := a.WriteToUDPAddrPort([]byte("x"), group); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write after close: %v", err)
		}
		n.Listen("10.0.0.1:1").Close() // the address is free again
	})
}
