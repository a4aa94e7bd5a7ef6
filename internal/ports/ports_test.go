package ports_test

import (
	"net"
	"strconv"
	"testing"

	"github.com/farreach/farreach/internal/ports"
)

// TestHold: no port is given twice while it is held, and each can be bound.
func TestHold(t *testing.T) {
	const n, times = 3, 50
	given := map[int]bool{}
	for range times {
		h, err := ports.Hold(n)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.Release)
		for port := h.First; port < h.First+n; port++ {
			if given[port] || port < 61_000 || port > 65_535 {
				t.Errorf("port %d", port)
			}
			given[port] = true
			ln, err := net.Listen("tcp4", "127.0.0.1:"+strconv.Itoa(port))
			if err != nil {
				t.Fatal(err)
			}
			ln.Close()
		}
	}
}
