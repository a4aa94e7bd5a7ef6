package bench

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// The aims for the whole.
const (
	aimReady   = 300 // ms
	aimMemory  = 80  // MiB
	aimEvents  = 50_000
	aimCommand = 0.3 // ms
)

// starts is how often a server is started; its median counts.
const starts = 3

// cloud measures a whole server: its start, events and commands.
func (r *run) cloud(ctx context.Context) error {
	r.Progress("farreach up, %d times", starts)
	var took []time.Duration
	for i := range starts {
		s, err := r.up(ctx, fmt.Sprint("up", i))
		if err != nil {
			return err
		}
		took = append(took, s.ready)
		if i == starts-1 {
			defer s.stop()
			r.addReady(took)
			return r.fleet(ctx, s)
		}
		s.stop()
	}
	return nil
}

func (r *run) addReady(took []time.Duration) {
	slowest := slices.Max(took)
	r.add(Figure{Name: "ready", What: "farreach up, first start", Unit: "ms", Aim: aimReady, AtMost: true,
		Measured: millis(quantile(took, 0.5)), Note: fmt.Sprintf("median of %d; slowest %.0f ms", starts, millis(slowest))})
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// calm is how long a server is left alone before its memory is looked at.
const calm = 3 * time.Second

// demo measures the memory of a simulated home that nobody asks anything.
func (r *run) demo(ctx context.Context) error {
	r.Progress("farreach up --demo, left alone for %v", min(calm, 2*r.For))
	s, err := r.up(ctx, "demo", "--demo")
	if err != nil {
		return err
	}
	defer s.stop()
	select {
	case <-time.After(min(calm, 2*r.For)):
	case <-ctx.Done():
		return ctx.Err()
	}
	n, err := resident(s.cmd.Process.Pid)
	if err != nil {
		return err
	}
	r.add(Figure{Name: "demo-memory", What: "farreach up --demo, idle", Unit: "MiB resident", Aim: aimMemory, AtMost: true,
		Measured: float64(n) / (1 << 20), Note: "as the system sees it"})
	return nil
}
