package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/farreach/farreach/store"
)

// TestFirst: the oldest record of a key from a sequence on, as soon as it is
// acknowledged, and no longer than it is there.
func TestFirst(t *testing.T) {
	overEach(t, func(t *testing.T, s *store.Store) {
		l := openLog(t, s, 2)
		a, b := []string{"home", "a"}, []string{"home", "b.>"}
		if _, err := l.First(t.Context(), a, 0); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("of nothing: %v", err)
		}
		var seqs []uint64
		for _, key := range [][]string{b, a, b, a} {
			seq, err := l.Append(t.Context(), key, []byte("data"))
			if err != nil {
				t.Fatal(err)
			}
			seqs = append(seqs, seq)
			if got, err := l.First(t.Context(), key, seq); err != nil || got.Seq != seq || string(got.Data) != "data" || got.Key[1] != key[1] || time.Since(got.Time) > time.Hour {
				t.Fatalf("from %d: %+v, %v", seq, got, err)
			}
		}
		for from, want := range map[uint64]uint64{0: seqs[1], seqs[1]: seqs[1], seqs[1] + 1: seqs[3], seqs[3]: seqs[3]} {
			if got, err := l.First(t.Context(), a, from); err != nil || got.Seq != want {
				t.Errorf("from %d: %d, %v, want %d", from, got.Seq, err, want)
			}
		}
		if err := l.Purge(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		if got, err := l.First(t.Context(), a, 0); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("of what is purged: %+v, %v", got, err)
		}
	})
}

// TestAppendFor: a record goes when its time is over, the others stay.
func TestAppendFor(t *testing.T) {
	overEach(t, func(t *testing.T, s *store.Store) {
		l, err := store.OpenLog(t.Context(), s, "mortal", store.LogConfig{Lives: true, MaxAge: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		key := []string{"k"}
		stays, err := l.AppendFor(t.Context(), key, nil, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.AppendFor(t.Context(), key, nil, 0, time.Second); !errors.Is(err, store.ErrConflict) {
			t.Errorf("after another than the newest: %v", err)
		}
		goes, err := l.AppendFor(t.Context(), key, nil, stays, 1200*time.Millisecond)
		if err != nil || goes <= stays {
			t.Fatal(goes, err)
		}
		for deadline := time.Now().Add(time.Minute); ; {
			r, err := l.First(t.Context(), key, goes)
			if errors.Is(err, store.ErrNotFound) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("after a minute there is still %+v, %v", r, err)
			}
		}
		if r, err := l.First(t.Context(), key, 0); err != nil || r.Seq != stays {
			t.Errorf("%d stays, %v, want %d", r.Seq, err, stays)
		}
	})
}
