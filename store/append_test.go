package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestParseAck(t *testing.T) {
	var refused *jetstream.APIError
	for _, c := range []struct {
		data string
		seq  uint64
		err  any // nil, an error to be found, or that there is one
	}{
		{`{"stream":"farreach-event","seq":1}`, 1, nil},
		{`{"stream":"farreach-event","seq":18446744073709}`, 18446744073709, nil},
		{`{"stream":"farreach-event", "seq": 12}`, 12, nil},
		{`{"stream":"farreach-event","seq":7,"duplicate":true}`, 7, nil},
		{`{"stream":"farreach-event","domain":"d","seq":9}`, 9, nil},
		{`{"error":{"code":503,"err_code":10077,"description":"no space"},"stream":"farreach-event","seq":0}`, 0, &refused},
		{`{"stream":"farreach-event","seq":0}`, 0, true},
		{`{"stream":"farreach-event","seq":-1}`, 0, true},
		{`{"stream":"farreach-event","seq":99999999999999999999999}`, 0, true},
		{`{"stream":"farreach-event","seq":}`, 0, true},
		{`-ERR`, 0, true},
		{``, 0, true},
	} {
		got := parseAck(&nats.Msg{Data: []byte(c.data)})
		ok := got.err != nil
		switch want := c.err.(type) {
		case nil:
			ok = got.err == nil
		case **jetstream.APIError:
			ok = errors.As(got.err, want)
		}
		if !ok || got.seq != c.seq {
			t.Errorf("%s: %d, %v; want %d, %v", c.data, got.seq, got.err, c.seq, c.err)
		}
	}
	nobody := &nats.Msg{Header: nats.Header{"Status": {"503"}}}
	if got := parseAck(nobody); !errors.Is(got.err, nats.ErrNoResponders) {
		t.Errorf("no server: %v", got.err)
	}
}

// TestAcksEnd: the waiting for an answer ends after opTimeout, with its context,
// with the connection, and only once; and a late answer is nobody else's.
func TestAcksEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &acks{inbox: "in.", health: &breaker{}}
		begin := func(n int) (*call, []*slot) {
			c := &call{records: make([]sent, n), done: make(chan struct{}, 1)}
			return c, a.occupy(c, nil)
		}
		late := func(s *slot) *nats.Msg {
			return &nats.Msg{Subject: s.reply, Data: []byte(`{"stream":"s","seq":1}`)}
		}
		c1, s1 := begin(1)
		msg1 := late(s1[0])
		time.Sleep(time.Second)
		c2, s2 := begin(2)
		c3, s3 := begin(1)
		a.take(late(s3[0]))
		if <-c3.done; c3.records[0].seq != 1 || c3.records[0].err != nil {
			t.Errorf("answered: %v", c3.records[0])
		}
		a.take(late(s3[0])) // once more
		a.take(late(s2[1]))
		start := time.Now()
		if <-c1.done; c1.records[0].err != errSilence || time.Since(start) != opTimeout-time.Second {
			t.Errorf("first: %v after %v", c1.records[0], time.Since(start))
		}
		if <-c2.done; c2.records[0].err != errSilence || c2.records[1].err != nil || time.Since(start) != opTimeout {
			t.Errorf("second: %v after %v", c2.records, time.Since(start))
		}
		c4, s4 := begin(4) // all slots are used again
		a.take(msg1)
		a.take(&nats.Msg{Subject: "in.99-0"})
		a.take(&nats.Msg{Subject: "in.0"})
		if len(a.slots) != 4 || a.waiting != 4 || s4[0].call == nil {
			t.Errorf("%d slots, %d in use: a late answer was taken for another", len(a.slots), a.waiting)
		}
		a.fail(errLost)
		if <-c4.done; c4.records[0].err != errLost || c4.records[3].err != errLost {
			t.Errorf("connection lost: %v", c4.records)
		}
		if a.waiting != 0 || len(a.free) != len(a.slots) {
			t.Errorf("%d slots in use, %d of %d free", a.waiting, len(a.free), len(a.slots))
		}
		time.Sleep(2 * opTimeout)
	})
}

// TestBreaker: a server that answers nothing is asked once in a while.
func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var also breaker
		b := breaker{also: &also}
		also.silent(0)
		heard := b.heard.Load()
		b.answered()
		if b.silent(heard); !b.may() {
			t.Error("refused, though others are answered")
		}
		b.silent(b.heard.Load())
		asked := 0
		for range 100 {
			if b.may() {
				asked++
			}
			time.Sleep(probeEvery / 10)
		}
		if asked != 9 {
			t.Errorf("a silent server is asked %d times in 10 times probeEvery", asked)
		}
		b.answered()
		for range 2 {
			if !b.may() || !also.may() {
				t.Error("refused after an answer")
			}
		}
	})
}

// TestAppendContext: contexts that end while records are on their way harm
// nobody else, and what was reported as stored is.
func TestAppendContext(t *testing.T) {
	s, err := Open(t.Context(), Config{Dir: filepath.Join(t.TempDir(), "data"), Sync: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l, err := OpenLog(t.Context(), s, "lines", LogConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	stored := map[uint64]string{}
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i*j)*time.Microsecond)
				line := fmt.Sprint(i, " ", j)
				seq, err := l.Append(ctx, []string{"k"}, []byte(line))
				cancel()
				if err == nil {
					mu.Lock()
					stored[seq] = line
					mu.Unlock()
				} else if !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	found := 0
	err = l.Read(t.Context(), Start{}, nil, func(r Record) bool {
		if line, ok := stored[r.Seq]; ok {
			if found++; line != string(r.Data) {
				t.Errorf("record %d is %q, not %q", r.Seq, r.Data, line)
			}
		}
		return true
	})
	if err != nil || found != len(stored) {
		t.Errorf("%d of %d records are there, %v", found, len(stored), err)
	}
}

// TestAppendWhileLost: connections that are lost while records are on their way
// have nobody take the answer to another's record for that to its own.
func TestAppendWhileLost(t *testing.T) {
	s, err := Open(t.Context(), Config{Dir: filepath.Join(t.TempDir(), "data"), Sync: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l, err := OpenLog(t.Context(), s, "lines", LogConfig{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var losing, writing sync.WaitGroup
	losing.Go(func() {
		for ctx.Err() == nil {
			s.acks.fail(errLost)
		}
	})
	var mu sync.Mutex
	stored := map[uint64]string{}
	for i := range 4 {
		writing.Go(func() {
			for j := range 500 {
				line := fmt.Sprint(i, " ", j)
				seq, err := l.Append(t.Context(), []string{"k"}, []byte(line))
				if err == nil {
					mu.Lock()
					stored[seq] = line
					mu.Unlock()
				} else if !errors.Is(err, ErrUnavailable) {
					t.Error(err)
				}
			}
		})
	}
	writing.Wait()
	stop()
	losing.Wait()
	err = l.Read(t.Context(), Start{}, nil, func(r Record) bool {
		if line, ok := stored[r.Seq]; ok && line != string(r.Data) {
			t.Errorf("record %d is %q, acknowledged as %q", r.Seq, r.Data, line)
		}
		delete(stored, r.Seq)
		return true
	})
	if err != nil || len(stored) > 0 {
		t.Errorf("%d records that were acknowledged are not there, %v", len(stored), err)
	}
}

// TestAppendAfter: of those that go on from the same record one does, and the
// others learn it.
func TestAppendAfter(t *testing.T) {
	s, err := Open(t.Context(), Config{Dir: filepath.Join(t.TempDir(), "data")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	l, err := OpenLog(t.Context(), s, "lines", LogConfig{Tokens: 2, PerKey: 2})
	if err != nil {
		t.Fatal(err)
	}
	a, b := []string{"home", "a"}, []string{"home", "b"}
	var last uint64
	for round := range 4 { // also when the older ones have gone
		var wins sync.WaitGroup
		seqs := make(chan uint64, 8)
		for i := range 8 {
			wins.Go(func() {
				seq, err := l.AppendAfter(t.Context(), a, fmt.Append(nil, round, i), last)
				switch {
				case err == nil:
					seqs <- seq
				case !errors.Is(err, ErrConflict):
					t.Error(err)
				}
			})
		}
		wins.Wait()
		if len(seqs) != 1 {
			t.Fatalf("%d went on from %d", len(seqs), last)
		}
		last = <-seqs
		if _, err := l.Append(t.Context(), b, nil); err != nil { // another key counts for nothing
			t.Fatal(err)
		}
	}
	if _, err := l.AppendAfter(t.Context(), []string{"home", "c"}, nil, last); !errors.Is(err, ErrConflict) {
		t.Errorf("after what is not there: %v, want ErrConflict", err)
	}
}
