package wire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// sink is a link that takes what fits into room without waiting.
type sink struct {
	room   int
	writes []string
}

func (s *sink) Next() (*Buffer, error) { return nil, io.EOF }
func (s *sink) Pending() bool          { return false }

func (s *sink) Try(b []byte) (int, error) {
	n := min(len(b), s.room)
	s.writes = append(s.writes, string(b[:n]))
	return n, nil
}

func (s *sink) WriteBefore(b []byte, _ time.Time) error {
	s.writes = append(s.writes, string(b))
	return nil
}

// What waits leaves in one write, and a queue says when a record is full.
func TestQueueJoins(t *testing.T) {
	s := &sink{room: 1 << 20}
	q := Queue{Link: s}
	q.Add([]byte("a"), []byte("b"))
	q.Add([]byte("c"))
	q.Flush()
	q.Flush()
	if len(s.writes) != 1 || s.writes[0] != "abc" {
		t.Errorf("written: %q", s.writes)
	}
	for _, size := range []int{600, 8 << 10} {
		total := size
		for !q.Add(make([]byte, size)) {
			total += size
		}
		q.Flush()
		if total > recordBytes || total+size <= recordBytes {
			t.Errorf("items of %d bytes are joined to %d", size, total)
		}
	}
}

// What the socket does not take at once is written by a goroutine, in order,
// together with what has come meanwhile.
func TestQueueDrains(t *testing.T) {
	s := &sink{room: 3}
	var drain func()
	q := Queue{Link: s, Go: func(f func()) bool { drain = f; return true }}
	q.Add([]byte("abcdef"))
	q.Flush()
	q.Add([]byte("g"))
	q.Flush() // somebody writes already
	drain()
	if got := strings.Join(s.writes, "|"); got != "abc|def|g" {
		t.Errorf("written: %s", got)
	}
	if items, bytes := q.Size(); items != 0 || bytes != 0 {
		t.Errorf("left: %d items, %d bytes", items, bytes)
	}
}

// Threats rule 8: a peer that takes nothing fills its queue and is given up
// after 10 s.
func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		var tasks sync.WaitGroup
		failed := make(chan error, 1)
		q := Queue{
			Link: New(near), Failed: func(err error) { failed <- err },
			Go: func(f func()) bool { tasks.Go(f); return true },
		}
		start := time.Now()
		for range 256 {
			if q.Full() {
				t.Fatal("full too early")
			}
			q.Add([]byte("item"))
			q.Flush()
		}
		changed := q.Changed()
		if !q.Full() {
			t.Error("not full")
		}
		err := <-failed
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != pieceTime {
			t.Errorf("failed after %v: %v", time.Since(start), err)
		}
		<-changed
		tasks.Wait()
		if q.Add([]byte("late")); q.Full() {
			t.Error("full for ever")
		}
	})
}

// Whatever several goroutines add arrives whole, and in the order of each.
func TestQueueKeepsOrder(t *testing.T) {
	near, far := net.Pipe()
	var tasks, writers sync.WaitGroup
	q := Queue{Link: New(near), Go: func(f func()) bool { tasks.Go(f); return true }}
	for w := range 4 {
		writers.Go(func() {
			for i := range 500 {
				q.Add(fmt.Appendf(nil, "%d %d\n", w, i))
				q.Flush()
			}
		})
	}
	var next [4]int
	for range 2000 {
		var w, i int
		if _, err := fmt.Fscan(far, &w, &i); err != nil || next[w] != i {
			t.Fatalf("writer %d: item %d, want %d (%v)", w, i, next[w], err)
		}
		next[w]++
	}
	writers.Wait()
	far.Close()
	tasks.Wait()
}

func TestQueueAllocatesNothing(t *testing.T) {
	s := &sink{room: 1 << 20, writes: make([]string, 0, 1000)}
	q := Queue{Link: discard{s}}
	a, b := []byte("<message "), []byte("/>")
	if n := testing.AllocsPerRun(200, func() { q.Add(a, b); q.Flush() }); n != 0 {
		t.Errorf("one item allocates %v times", n)
	}
}

type discard struct{ Link }

func (discard) Try(b []byte) (int, error) { return len(b), nil }
