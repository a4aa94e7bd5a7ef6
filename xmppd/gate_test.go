package xmppd

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestGate: whoever comes when it is full waits, and slow ones hold nobody up
// for long.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := make(gate, 2)
		start := time.Now()
		first, _ := g.enter(nil)
		g.enter(nil) // never leaves
		first()
		first() // once is enough
		g.enter(nil)
		if d := time.Since(start); d != 0 {
			t.Errorf("a free place took %v", d)
		}
		g.enter(nil)
		if d := time.Since(start); d != gateTime {
			t.Errorf("a place that a slow one held took %v", d)
		}
		g.enter(nil)
		done := make(chan struct{})
		close(done)
		if _, ok := g.enter(done); ok && len(g) > cap(g) {
			t.Error("more have entered than there are places")
		}
		time.Sleep(2 * gateTime)
		if len(g) != 0 {
			t.Errorf("%d places are taken", len(g))
		}
	})
}
