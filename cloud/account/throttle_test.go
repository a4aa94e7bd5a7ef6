package account

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/oic"
)

var (
	alice = netip.MustParseAddr("192.0.2.1")
	bob   = netip.MustParseAddr("192.0.2.2")
)

// guess tries and fails n times, and returns how long each try had to wait.
func guess(t *testing.T, th *throttle, principal string, peer netip.Addr, n int) (waits []time.Duration) {
	t.Helper()
	for range n {
		start := time.Now()
		if err := th.admit(t.Context(), principal, peer); err != nil {
			t.Fatalf("try %d: %v", len(waits)+1, err)
		}
		waits = append(waits, time.Since(start))
		th.failed(principal, peer)
	}
	return waits
}

func TestGuessingBecomesSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var th throttle
		const s = time.Second
		want := []time.Duration{0, 0, 0, 1 * s, 2 * s, 4 * s, 8 * s, 10 * s, 10 * s}
		if got := guess(t, &th, "home", alice, len(want)); !slices.Equal(got, want) {
			t.Errorf("waited %v\n  want %v", got, want)
		}
		if got := guess(t, &th, "home", bob, 1); got[0] != 0 {
			t.Errorf("another address waited %v: an account is never locked", got[0])
		}
		if got := guess(t, &th, "barn", alice, 1); got[0] != 0 {
			t.Errorf("another account waited %v", got[0])
		}
		time.Sleep(waitForgotten + s)
		if got := guess(t, &th, "home", alice, 1); got[0] != 0 {
			t.Errorf("waited %v after %v of peace", got[0], waitForgotten)
		}
	})
}

func TestSuccessEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var th throttle
		guess(t, &th, "home", alice, 5)
		th.proved("home", alice)
		if got := guess(t, &th, "home", alice, 1); got[0] != 0 {
			t.Errorf("waited %v after a success", got[0])
		}
	})
}

// TestGuessesAtOnceQueueUp: many connections are no way around the wait, and
// none waits longer than the longest wait.
func TestGuessesAtOnceQueueUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var th throttle
		guess(t, &th, "home", alice, 3)
		start, results := time.Now(), make(chan error)
		for range 100 {
			go func() { results <- th.admit(t.Context(), "home", alice) }()
		}
		admitted := 0
		for range 100 {
			if err := <-results; err == nil {
				admitted++
			} else if status, _ := oic.StatusOf(err); status != oic.TooMany {
				t.Fatalf("admit = %v, want a 4.29", err)
			}
		}
		if took := time.Since(start); took > longestWait || admitted != int(took/time.Second) {
			t.Errorf("%d admitted in %v, want one a second and %v at most", admitted, took, longestWait)
		}
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var th throttle
		guess(t, &th, "home", alice, 3)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := th.admit(ctx, "home", alice); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("admit = %v, want the context's error", err)
		}
	})
}

// TestFloodOfOneAddress: 60 failures a minute refuse an address, but not those
// who had logged in from it.
func TestFloodOfOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var th throttle
		th.proved("home", alice)
		for i := range floodFailures {
			th.failed(fmt.Sprint("guess", i), alice)
		}
		err := th.admit(t.Context(), "barn", alice)
		if status, diag := oic.StatusOf(err); status != oic.TooMany || diag == "" {
			t.Errorf("admit = %v, want a 4.29 with a time", err)
		}
		if err := th.admit(t.Context(), "home", alice); err != nil {
			t.Errorf("who had logged in from there: %v", err)
		}
		if err := th.admit(t.Context(), "barn", bob); err != nil {
			t.Errorf("another address: %v", err)
		}
		time.Sleep(floodWindow + time.Second)
		if err := th.admit(t.Context(), "barn", alice); err != nil {
			t.Errorf("a minute later: %v", err)
		}
	})
}

func TestAddressesOfOneHouseholdAreOne(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"2001:db8::1", "2001:db8::ffff:1", true},
		{"fe80::1%eth0", "fe80::2%eth1", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
	} {
		if got := network(netip.MustParseAddr(c.a)) == network(netip.MustParseAddr(c.b)); got != c.same {
			t.Errorf("%s and %s: same = %v", c.a, c.b, got)
		}
	}
	if network(netip.Addr{}) != (netip.Prefix{}) {
		t.Error("unknown addresses are not one")
	}
}

// TestThrottleForgetsTheOldest: threats section 3.5, memory is bounded.
func TestThrottleForgetsTheOldest(t *testing.T) {
	var th throttle
	for i := range 3 * throttleSize {
		th.failed(fmt.Sprint("name", i), netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	if n := len(th.principals.entries); n != throttleSize || th.principals.order.Len() != n {
		t.Errorf("%d principals in %d places, want %d", n, th.principals.order.Len(), throttleSize)
	}
	if n := len(th.addresses.entries); n != throttleSize {
		t.Errorf("%d addresses, want %d", n, throttleSize)
	}
	if k := (guesser{clip(string(make([]byte, 1<<20))), network(alice)}); len(k.principal) > 128 {
		t.Errorf("a name of 1 MiB takes %d bytes", len(k.principal))
	}
}
