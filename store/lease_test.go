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

func (c *contender) await(t *testing.T, limit time.Duration) (took time.Duration) {
	t.Helper()
	start := time.Now()
	for !c.leads.Load() {
		if took = time.Since(start); took > limit {
			t.Fatalf("does not lead after %v", took)
		}
		_ = sleep(t.Context(), 5*time.Millisecond)
	}
	return time.Since(start)
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
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("nats-server does not start")
	}
	const ttl = 500 * time.Millisecond
	var busy atomic.Int32
	first := contend(t, srv.ClientURL(), ttl, &busy)
	first.await(t, 5*time.Second)
	second := contend(t, srv.ClientURL(), ttl, &busy)
	third := contend(t, srv.ClientURL(), ttl, &busy)
	if err := sleep(t.Context(), 2*ttl); err != nil || second.leads.Load() || third.leads.Load() {
		t.Error("a second one leads beside the first, which renews its lease")
	}

	first.end()
	if err := <-first.done; !errors.Is(err, context.Canceled) {
		t.Errorf("Lead = %v", err)
	}
	next, last := second, third
	start := time.Now()
	for !second.leads.Load() && !third.leads.Load() {
		if time.Since(start) > ttl {
			t.Fatal("nobody took over what was given back")
		}
		_ = sleep(t.Context(), 5*time.Millisecond)
	}
	if third.leads.Load() {
		next, last = third, second
	}

	next.s.nc.Close() // as if it had died, but its clock goes on
	for next.leads.Load() {
		_ = sleep(t.Context(), 5*time.Millisecond)
	}
	last.await(t, 2*ttl)
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
