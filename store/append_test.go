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

// TestAcksEnd: a call ends after opTimeout, with its context, with the
// connection, and only once.
func TestAcksEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &acks{calls: map[uint64]*call{}}
		begin := func() (uint64, *call) {
			c := &call{until: time.Now().Add(opTimeout), answer: make(chan acked, 1)}
			return a.add(c), c
		}
		first, c1 := begin()
		time.Sleep(time.Second)
		second, c2 := begin()
		third, c3 := begin()
		a.answer(third, acked{seq: 3})
		if got := <-c3.answer; got.seq != 3 || got.err != nil {
			t.Errorf("answered: %v", got)
		}
		start := time.Now()
		if got := <-c1.answer; got.err != errSilence || time.Since(start) != opTimeout-time.Second {
			t.Errorf("first: %v after %v", got, time.Since(start))
		}
		if got := <-c2.answer; got.err != errSilence || time.Since(start) != opTimeout {
			t.Errorf("second: %v after %v", got, time.Since(start))
		}
		a.answer(first, acked{seq: 1}) // too late
		a.answer(second, acked{seq: 2})
		_, c4 := begin()
		a.fail(errLost)
		if got := <-c4.answer; got.err != errLost {
			t.Errorf("connection lost: %v", got)
		}
		if len(a.calls) != 0 {
			t.Errorf("%d calls are left", len(a.calls))
		}
		time.Sleep(2 * opTimeout)
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
