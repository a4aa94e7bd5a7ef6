package lan

import (
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/simnet"
)

// The groups are asked at growing gaps, and from the start again when an
// interface has come.
func TestRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		group := netip.MustParseAddrPort("224.0.1.187:5683")
		var asked atomic.Int32
		n := simnet.New(simnet.Config{Filter: func(_, to netip.AddrPort, _ []byte) bool {
			if to == group {
				asked.Add(1)
			}
			return true
		}})
		w, err := newWatcher(Config{Groups: []netip.AddrPort{group}, Listen: func(to netip.Addr) (coap.PacketConn, error) {
			if !to.Is4() {
				return nil, errors.New("no IPv6")
			}
			return n.Listen("10.0.0.1:0"), nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		var now atomic.Pointer[string]
		up := "eth0"
		now.Store(&up)
		w.network = func() string { return *now.Load() }
		w.ctx = t.Context()
		if err := w.open(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			w.askLoop(t.Context())
		}()
		time.Sleep(10 * time.Minute)
		if got := asked.Load(); got < 4*2+10 || got > 4*2+16 {
			t.Errorf("asked %d times in 10 minutes", got)
		}
		before := asked.Load()
		more := "eth0 wlan0"
		now.Store(&more)
		time.Sleep(20 * time.Second)
		if got := asked.Load() - before; got < 6 {
			t.Errorf("asked %d times after a change of the network", got)
		}
		t.Cleanup(func() {
			<-ended
			w.close()
		})
	})
}
