package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// TestTail: who follows is given every record once and in order, or told to read
// it from the server.
func TestTail(t *testing.T) {
	seqs := func(records []Record) (list []uint64) {
		for _, r := range records {
			list = append(list, r.Seq)
		}
		return list
	}
	var tail tail
	add := func(list ...uint64) {
		for _, seq := range list {
			tail.add(tail.now(), Record{Seq: seq, Data: []byte("data")})
		}
	}
	var r *tailReader
	want := func(next uint64, ok bool, list ...uint64) {
		t.Helper()
		got, can := tail.take(r, next, nil)
		if can != ok || !slices.Equal(seqs(got), list) {
			t.Errorf("from %d: %v, %v; want %v, %v", next, seqs(got), can, list, ok)
		}
	}

	add(1, 2, 3) // nobody follows
	r = tail.join()
	want(4, false)
	add(4, 5)
	want(3, false)
	want(4, true, 4, 5)
	want(6, true)
	want(4, false) // all have got it
	add(6)
	want(6, true, 6)

	add(7, 9, 10) // 8 is not ours
	want(7, false)
	want(9, true, 9, 10)

	era := tail.now()
	tail.lose() // 11 may be there
	tail.add(era, Record{Seq: 12})
	want(11, false)
	add(13, 14)
	want(12, false)
	want(13, true, 13, 14)

	late := tail.join()
	for seq := uint64(15); seq < 15+2*maxTail; seq++ {
		add(seq)
	}
	if n := len(tail.records); n != maxTail {
		t.Errorf("%d records are held", n)
	}
	want(15, false)
	want(15+maxTail, true, seqs(tail.records)...)
	if n := len(tail.records); n != meetTail {
		t.Errorf("%d records are held for one who is late", n)
	}
	tail.leave(late)
	add(15 + 2*maxTail)
	want(15+2*maxTail, true, 15+2*maxTail)
	for range 10 {
		tail.add(tail.now(), Record{Seq: tail.last + 1, Data: make([]byte, maxTailBytes/4)})
	}
	if tail.bytes > maxTailBytes || len(tail.records) != 4 {
		t.Errorf("%d bytes of %d records are held", tail.bytes, len(tail.records))
	}
	tail.leave(r)
	if tail.records != nil || tail.bytes != 0 || tail.last != 0 {
		t.Errorf("nobody follows, and %d records are held", len(tail.records))
	}
}

// TestUnknown: only the server knows that a record is not in the log.
func TestUnknown(t *testing.T) {
	for err, want := range map[error]bool{
		nil:                      false,
		nats.ErrNoResponders:     false,
		&jetstream.APIError{}:    false,
		errSilence:               true,
		errLost:                  true,
		context.Canceled:         true,
		errors.New("strange"):    true,
		nats.ErrConnectionClosed: true,
	} {
		if got := (acked{err: err}).unknown(); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
}

// TestFollowWriters: those who follow while many write, some of whom do not wait
// for the answer, see each record that is in the log once, in order.
func TestFollowWriters(t *testing.T) {
	s, err := Open(t.Context(), Config{Dir: filepath.Join(t.TempDir(), "data")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l, err := OpenLog(t.Context(), s, "lines", LogConfig{Tokens: 2})
	if err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	var followers, begun sync.WaitGroup
	seen := make([][]uint64, 6)
	for i := range seen {
		begun.Add(1)
		followers.Go(func() {
			var prefix []string
			if i%3 == 2 {
				prefix = []string{"writer-1"}
			}
			err := l.Follow(t.Context(), 0, prefix, func(uint64) { begun.Done() }, func(r Record) error {
				if r.Key[1] == "end" {
					return enough
				}
				if want := fmt.Sprint(r.Key); string(r.Data) != want {
					t.Errorf("record %d is %s, want %s", r.Seq, r.Data, want)
				}
				seen[i] = append(seen[i], r.Seq)
				return nil
			})
			if err != enough {
				t.Errorf("Follow = %v", err)
			}
		})
	}
	begun.Wait()
	var writers sync.WaitGroup
	for i := range 8 {
		writers.Go(func() {
			key := []string{fmt.Sprint("writer-", i), "line"}
			some := slices.Repeat([]Record{{Key: key, Data: fmt.Append(nil, key)}}, 10)
			for n := range 100 {
				ctx, cancel := context.WithCancel(t.Context())
				if n%20 == i {
					go cancel() // at any moment
				}
				if errs := l.AppendAll(ctx, slices.Clone(some)); errs != nil && ctx.Err() == nil {
					t.Error(errs[0])
				}
				cancel()
			}
		})
	}
	writers.Wait()
	if _, err := l.Append(t.Context(), []string{"writer-1", "end"}, nil); err != nil {
		t.Fatal(err)
	}
	followers.Wait()
	var all, one []uint64
	err = l.Read(t.Context(), Start{}, nil, func(r Record) bool {
		if r.Key[1] == "end" {
			return false
		}
		if all = append(all, r.Seq); r.Key[0] == "writer-1" {
			one = append(one, r.Seq)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range seen {
		want := all
		if i%3 == 2 {
			want = one
		}
		if !slices.Equal(seen[i], want) {
			t.Errorf("follower %d has seen %d records of %d", i, len(seen[i]), len(want))
		}
	}
}
