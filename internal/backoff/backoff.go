// Package backoff says how long to wait before trying again.
//
//	lost ──▶ Next ──▶ Sleep ──▶ try ──┬─▶ failed: Next, twice as far
//	                                 └─▶ served: Served, from the start again
//
// The waits are uniform between nothing and a bound that doubles ("full
// jitter"): a thousand devices that lost the same server at the same moment do
// not come back at the same moment.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// The defaults of a Backoff.
const (
	DefaultBase   = time.Second
	DefaultMax    = 5 * time.Minute
	DefaultGood   = 60 * time.Second
	DefaultSpread = 10 * time.Second
)

// Backoff is the state of one endeavour. Its zero value is ready, with the
// defaults. It is not for several goroutines at once.
type Backoff struct {
	Base   time.Duration // bound of the first wait; 0: 1 s
	Max    time.Duration // bound of the longest wait; 0: 5 min
	Good   time.Duration // service this long counts as success; 0: 60 s
	Spread time.Duration // bound of the wait after a clean goodbye; 0: 10 s

	// Steady has Next wait for the bound itself, and up to a tenth longer: for
	// what nobody puts right within seconds.
	Steady bool

	bound time.Duration // of the latest Next; 0: none yet
}

// Next returns how long to wait before the next attempt: between nothing and
// Base at first, then twice as far each time, at most Max.
func (b *Backoff) Next() time.Duration {
	if b.bound == 0 {
		b.bound = or(b.Base, DefaultBase)
	} else {
		b.bound *= 2
	}
	b.bound = min(b.bound, or(b.Max, DefaultMax))
	if b.Steady {
		return b.bound + jitter(b.bound/10)
	}
	return jitter(b.bound)
}

// Goodbye returns how long to wait after the server ended the service
// properly, as it does before a restart. It leaves Next where it was.
func (b *Backoff) Goodbye() time.Duration {
	return jitter(or(b.Spread, DefaultSpread))
}

// Served says that an attempt succeeded and then lasted for d. If that was
// long enough, the next wait is the first again.
func (b *Backoff) Served(d time.Duration) {
	if d >= or(b.Good, DefaultGood) {
		b.bound = 0
	}
}

// Sleep waits for d. It returns ctx.Err() if ctx ends first, or had ended.
func Sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func jitter(bound time.Duration) time.Duration { return rand.N(bound + 1) }

func or(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}
