package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/store"
)

func openLog(t testing.TB, s *store.Store, tokens int) *store.Log {
	t.Helper()
	l, err := store.OpenLog(t.Context(), s, "test", store.LogConfig{Tokens: tokens})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustAppend(t testing.TB, l *store.Log, data string, key ...string) uint64 {
	t.Helper()
	seq, err := l.Append(t.Context(), key, []byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

func TestLog(t *testing.T) {
	overEach(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		l := openLog(t, s, 2)
		begin := time.Now()
		for i := range 10 {
			if seq := mustAppend(t, l, fmt.Sprint(i), "acct", fmt.Sprint("dev", i%2)); seq != uint64(i+1) {
				t.Fatalf("record %d has sequence %d", i, seq)
			}
		}
		mustAppend(t, l, "x", "other", ">")

		last, err := l.Last(ctx, []string{"acct", "dev0"})
		if err != nil || string(last.Data) != "8" || last.Seq != 9 || !slices.Equal(last.Key, []string{"acct", "dev0"}) {
			t.Errorf("Last = %+v, %v", last, err)
		}
		if last.Time.Before(begin.Add(-time.Second)) || last.Time.After(time.Now().Add(time.Second)) {
			t.Errorf("record has time %v", last.Time)
		}
		if _, err := l.Last(ctx, []string{"acct", "*"}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Last of an unknown key: %v, want ErrNotFound", err)
		}
		if _, err := l.Last(ctx, []string{"acct"}); err == nil {
			t.Error("Last of half a key works")
		}

		read := func(from store.Start, stop int, prefix ...string) (got string) {
			t.Helper()
			err := l.Read(ctx, from, prefix, func(r store.Record) bool {
				got += string(r.Data)
				return len(got) < stop
			})
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		for _, c := range []struct{ got, want string }{
			{read(store.Start{}, 99), "0123456789x"},
			{read(store.Start{}, 3), "012"},
			{read(store.Start{Seq: 4}, 99, "acct"), "3456789"},
			{read(store.Start{Seq: 4}, 99, "acct", "dev1"), "3579"},
			{read(store.Start{}, 99, store.Any, "dev0"), "02468"},
			{read(store.Start{}, 99, "other", ">"), "x"},
			{read(store.Start{}, 99, "*"), ""},
			{read(store.Start{Seq: 12}, 99), ""},
			{read(store.Start{Time: begin.Add(-time.Minute)}, 99, "other"), "x"},
			{read(store.Start{Time: time.Now().Add(time.Minute)}, 99), ""},
		} {
			if c.got != c.want {
				t.Errorf("read %q, want %q", c.got, c.want)
			}
		}

		newest := func(n uint64, prefix ...string) (got string) {
			t.Helper()
			if err := l.Newest(ctx, n, prefix, func(r store.Record) bool { got += string(r.Data); return true }); err != nil {
				t.Fatal(err)
			}
			return got
		}
		for _, c := range []struct{ got, want string }{
			{newest(0), ""},
			{newest(3), "89x"},
			{newest(3, "acct"), "789"},
			{newest(2, "acct", "dev0"), "68"},
			{newest(99, "acct", "dev0"), "02468"},
			{newest(1, "acct"), "9"},
			{newest(1, "nobody"), ""},
		} {
			if c.got != c.want {
				t.Errorf("newest %q, want %q", c.got, c.want)
			}
		}

		var states string
		if err := l.LastAll(ctx, []string{"acct"}, func(r store.Record) bool { states += string(r.Data); return true }); err != nil || states != "89" {
			t.Errorf("LastAll = %q, %v, want 89", states, err)
		}

		if err := l.Purge(ctx, []string{"acct", "dev0"}); err != nil {
			t.Fatal(err)
		}
		if got := read(store.Start{}, 99); got != "13579x" {
			t.Errorf("after Purge: %q", got)
		}
		if got := newest(2); got != "9x" {
			t.Errorf("newest after Purge: %q", got)
		}
	})
}

func TestEmptyLog(t *testing.T) {
	l := openLog(t, open(t, newDir(t)), 1)
	none := func(r store.Record) bool { t.Errorf("an empty log has %v", r); return true }
	mustAppend(t, l, "", "k")
	if err := l.Purge(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		l.Newest(t.Context(), 1<<40, nil, none),
		l.Read(t.Context(), store.Start{}, nil, none),
		l.Newest(t.Context(), 5, nil, none),
		l.LastAll(t.Context(), nil, none),
	} {
		if err != nil {
			t.Error(err)
		}
	}
}

// TestNewestIsRare finds the records of one key among many of others.
func TestNewestIsRare(t *testing.T) {
	l := openLog(t, open(t, newDir(t)), 1)
	for i := range 500 {
		if i == 3 || i == 40 {
			mustAppend(t, l, fmt.Sprint(i, " "), "rare")
		}
		mustAppend(t, l, "", "often")
	}
	for n, want := range map[uint64]string{1: "40 ", 2: "3 40 ", 3: "3 40 "} {
		var got string
		if err := l.Newest(t.Context(), n, []string{"rare"}, func(r store.Record) bool { got += string(r.Data); return true }); err != nil || got != want {
			t.Errorf("newest %d = %q, %v, want %q", n, got, err, want)
		}
	}
}

func TestFollow(t *testing.T) {
	overEach(t, func(t *testing.T, s *store.Store) {
		l := openLog(t, s, 1)
		for i := range 5 {
			mustAppend(t, l, fmt.Sprint(i), "k")
		}
		stop := errors.New("enough")
		follow := func(from uint64, n int, prefix ...string) (got string) {
			t.Helper()
			err := l.Follow(t.Context(), from, prefix, nil, func(r store.Record) error {
				if got += string(r.Data); len(got) == n {
					return stop
				}
				return nil
			})
			if err != stop {
				t.Fatalf("Follow = %v, want each's error", err)
			}
			return got
		}
		if got := follow(1, 5); got != "01234" {
			t.Errorf("from the start: %q", got)
		}
		if got := follow(4, 2, "k"); got != "34" {
			t.Errorf("from 4: %q", got)
		}

		// From now, and from beyond the end as from the log of another life.
		for _, from := range []uint64{0, 1000} {
			ctx, cancel := context.WithCancel(t.Context())
			begun, got, ended := make(chan bool), make(chan string), make(chan error)
			go func() {
				ended <- l.Follow(ctx, from, nil, func(uint64) { close(begun) }, func(r store.Record) error {
					got <- string(r.Data)
					return nil
				})
			}()
			<-begun
			mustAppend(t, l, "new", "k")
			if first := <-got; first != "new" {
				t.Errorf("from %d the first is %q", from, first)
			}
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("Follow = %v, want context.Canceled", err)
			}
		}
	})
}

// TestAppendAll: what can be added is, in order, and for the rest it is told why not.
func TestAppendAll(t *testing.T) {
	overEach(t, func(t *testing.T, s *store.Store) {
		l := openLog(t, s, 1)
		if errs := l.AppendAll(t.Context(), nil); errs != nil {
			t.Errorf("nothing: %v", errs)
		}
		var records []store.Record
		var want strings.Builder
		for i := range 300 {
			fmt.Fprint(&want, i, " ")
			records = append(records, store.Record{Key: []string{fmt.Sprint(i % 7)}, Data: fmt.Append(nil, i, " ")})
		}
		if errs := l.AppendAll(t.Context(), records); errs != nil {
			t.Fatal(errs)
		}
		records[3].Data = make([]byte, store.MaxValue+1)
		records[5].Key = nil
		errs := l.AppendAll(t.Context(), records[:10])
		for i, err := range errs {
			switch {
			case i == 3 && !errors.Is(err, store.ErrTooLarge), i == 5 && err == nil, i != 3 && i != 5 && err != nil:
				t.Errorf("record %d: %v", i, err)
			case err == nil:
				fmt.Fprint(&want, i, " ")
			}
		}
		got := ""
		if err := l.Read(t.Context(), store.Start{}, nil, func(r store.Record) bool { got += string(r.Data); return true }); err != nil {
			t.Fatal(err)
		}
		if got != want.String() {
			t.Errorf("stored %q, want %q", got, want.String())
		}
		if records[0].Seq != 301 || records[9].Seq != 308 {
			t.Errorf("Seq %d and %d, want 301 and 308", records[0].Seq, records[9].Seq)
		}
	})
}

// TestReadersUnderLoad: while records are appended as fast as the store takes
// them, every reader comes to its end.
func TestReadersUnderLoad(t *testing.T) {
	l := openLog(t, open(t, newDir(t)), 2)
	ctx, stop := context.WithCancel(t.Context())
	var writing, first sync.WaitGroup
	first.Add(50)
	for i := range 50 {
		writing.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				var some []store.Record
				for j := range 10 {
					some = append(some, store.Record{Key: []string{"home", fmt.Sprint(10*i + j)}, Data: make([]byte, 50)})
				}
				for _, err := range l.AppendAll(ctx, some) {
					if err != nil && ctx.Err() == nil {
						t.Error("append:", err)
					}
				}
				if n == 0 {
					first.Done()
				}
			}
		})
	}
	defer writing.Wait()
	defer stop()
	first.Wait()
	found := 0
	count := func(store.Record) bool { found++; return true }
	for name, c := range map[string]struct {
		read func() error
		want int
	}{
		"Newest":  {func() error { return l.Newest(ctx, 7, []string{"home"}, count) }, 7},
		"of one":  {func() error { return l.Newest(ctx, 1, []string{"home", "7"}, count) }, 1},
		"Last":    {func() error { found = 1; _, err := l.Last(ctx, []string{"home", "7"}); return err }, 1},
		"LastAll": {func() error { return l.LastAll(ctx, []string{"home"}, count) }, 500},
	} {
		for range 3 {
			found = 0
			if err := c.read(); err != nil || found != c.want {
				t.Errorf("%s found %d records, %v; want %d", name, found, err, c.want)
			}
		}
	}
}
