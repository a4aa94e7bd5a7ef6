package backoff_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/internal/backoff"
)

// CI-012: base 1 s, doubled to 5 min, full jitter.
func TestNextDoublesUpToMax(t *testing.T) {
	bounds := []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300}
	longest := make([]time.Duration, len(bounds))
	for range 2000 {
		var b backoff.Backoff
		for i, bound := range bounds {
			d := b.Next()
			if d < 0 || d > bound*time.Second {
				t.Fatalf("wait %d is %v, want at most %v", i, d, bound*time.Second)
			}
			longest[i] = max(longest[i], d)
		}
	}
	for i, d := range longest { // the jitter fills its whole range
		if d < bounds[i]*time.Second*9/10 {
			t.Errorf("longest of 2000 waits %d is %v, of at most %v", i, d, bounds[i]*time.Second)
		}
	}
}

func TestSteadyWaitsForTheBound(t *testing.T) {
	b := backoff.Backoff{Base: time.Minute, Max: time.Hour, Steady: true}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		if d := b.Next(); d < want*time.Minute || d > want*time.Minute*11/10 {
			t.Errorf("the wait is %v, want %v and up to a tenth more", d, want*time.Minute)
		}
	}
}

func TestServedStartsAgainOnlyAfterGoodService(t *testing.T) {
	b := backoff.Backoff{Base: time.Hour, Max: 1000 * time.Hour}
	first := func() bool { // is the next wait bounded by Base?
		for range 40 {
			c := b
			if c.Next() > time.Hour {
				return false
			}
		}
		return true
	}
	b.Next()
	b.Next()
	if b.Served(59 * time.Second); first() {
		t.Error("59 s of service were enough")
	}
	if b.Served(60 * time.Second); !first() {
		t.Error("60 s of service were not enough")
	}
}

func TestGoodbyeIsSpread(t *testing.T) {
	var b backoff.Backoff
	var longest time.Duration
	for range 1000 {
		longest = max(longest, b.Goodbye())
	}
	if longest > 10*time.Second || longest < 9*time.Second {
		t.Errorf("longest of 1000 waits is %v, want nearly 10 s", longest)
	}
}

func TestSleepEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if err := backoff.Sleep(t.Context(), time.Minute); err != nil || time.Since(start) != time.Minute {
			t.Errorf("Sleep = %v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := backoff.Sleep(ctx, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Sleep = %v, want the context's error", err)
		}
		if err := backoff.Sleep(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Sleep with an ended context = %v", err)
		}
	})
}
