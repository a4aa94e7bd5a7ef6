package store

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// contender is a process that wants to do the one task.
type contender struct {
	*tenure
	leads atomic.Bool
	runs  atomic.Int32
	end   context.CancelFunc
	done  chan error
}

// contend starts one, on a server at url. busy counts those who lead.
func contend(t *testing.T, url string, ttl time.Duration, busy *atomic.Int32) *contender {
	t.Helper()
	s, err := Open(t.Context(), Config{URL: url, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	ctx, end := context.WithCancel(t.Context())
	c := &contender{tenure: &tenure{s: s, task: "rules", me: url + time.Now().String(), ttl: ttl}, end: end, done: make(chan error, 1)}
	go func() {
		c.done <- c.run(ctx, func(ctx context.Context) error {
			if busy.Add(1) != 1 {
				t.Error("two do the task")
			}
			c.runs.Add(1)
			c.leads.Store(true)
			<-ctx.Done()
			c.leads.Store(false)
			busy.Add(-1)
			return ctx.Err()
		})
	}()
	return c
}

// until waits until one of some leads, and returns it.
func until(t *testing.T, some ...*contender) *contender {
	t.Helper()
	for start := time.Now(); time.Since(start) < time.Minute; _ = sleep(t.Context(), 5*time.Millisecond) {
		for _, c := range some {
			if c.leads.Load() {
				return c
			}
		}
	}
	t.Fatal("nobody leads after a minute")
	return nil
}

// TestLead: of those who share a store one does a task. When it ends, another
// does at once; when it vanishes without a word, after the time of the lease;
// and one that lost the store stops before that.
func TestLead(t *testing.T) {
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	defer func() { srv.Shutdown(); srv.WaitForShutdown() }()
	if !srv.ReadyForConnections(time.Minute) {
		t.Fatal("nats-server does not start")
	}
	const ttl = leaseTTL // a machine that stands still for a fifth of it may do a task twice
	var busy atomic.Int32
	first := contend(t, srv.ClientURL(), ttl, &busy)
	until(t, first)
	second := contend(t, srv.ClientURL(), ttl, &busy)
	third := contend(t, srv.ClientURL(), ttl, &busy)
	if err := sleep(t.Context(), ttl+ttl/leaseParts); err != nil || second.leads.Load() || third.leads.Load() {
		t.Error("a second one leads beside the first, which renews its lease")
	}

	first.end()
	if err := <-first.done; !errors.Is(err, context.Canceled) {
		t.Errorf("Lead = %v", err)
	}
	next, last := until(t, second, third), third
	if next == third {
		last = second
	}

	next.s.nc.Close() // as if it had died, but its clock goes on
	for next.leads.Load() {
		_ = sleep(t.Context(), 5*time.Millisecond)
	}
	until(t, last)
	if first.runs.Load() != 1 || next.runs.Load() != 1 || last.runs.Load() != 1 {
		t.Errorf("the task was begun %d, %d and %d times", first.runs.Load(), next.runs.Load(), last.runs.Load())
	}
	last.end()
	<-last.done
	next.end()
	<-next.done
}

// TestLeadAlone: with a store of its own a process leads at once, one task at a
// time; one that ends early is begun again.
func TestLeadAlone(t *testing.T) {
	s, err := Open(t.Context(), Config{Dir: t.TempDir() + "/store", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, end := context.WithCancel(t.Context())
	var busy, begun atomic.Int32
	work := func(ctx context.Context) error {
		if busy.Add(1) != 1 {
			t.Error("two at a time")
		}
		defer busy.Add(-1)
		if begun.Add(1) == 1 {
			return errors.New("a fault")
		}
		<-ctx.Done()
		return ctx.Err()
	}
	done := make(chan error, 2)
	for range 2 {
		go func() { done <- s.Lead(ctx, "rules", work) }()
	}
	other := make(chan struct{})
	go func() {
		done <- s.Lead(ctx, "another", func(ctx context.Context) error { close(other); <-ctx.Done(); return ctx.Err() })
	}()
	<-other
	for begun.Load() < 2 {
		_ = sleep(t.Context(), time.Millisecond)
	}
	end()
	for range 3 {
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Lead = %v", err)
		}
	}
}
