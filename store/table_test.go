package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/store"
)

type thing struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

func openTable(t testing.TB, s *store.Store) *store.Table[thing] {
	t.Helper()
	table, err := store.OpenTable[thing](t.Context(), s, "things", 0)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// strange are keys that mean something to NATS, JSON, paths or terminals (threats 27).
var strange = []string{
	"plain", "", " ", ".", "..", "*", ">", "#", "+", "a.b", "a/b", "/", "//", "a b", "=", "=41", "%2F", "$KV", "KV_",
	"é", "a\x00b", "\xff\xfe", "line\nbreak", "ünïcödé \U0001F4A1", strings.Repeat("k", 900),
}

func TestTable(t *testing.T) {
	overEach(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		table := openTable(t, s)
		for i, key := range strange {
			if _, _, err := table.Get(ctx, key); !errors.Is(err, store.ErrNotFound) {
				t.Fatalf("Get %q before it was put: %v", key, err)
			}
			rev, err := table.Create(ctx, key, thing{key, i})
			if err != nil {
				t.Fatalf("Create %q: %v", key, err)
			}
			if _, err := table.Create(ctx, key, thing{}); !errors.Is(err, store.ErrExists) {
				t.Errorf("Create %q again: %v, want ErrExists", key, err)
			}
			rev2, err := table.Update(ctx, key, thing{key, i + 1}, rev)
			if err != nil || rev2 <= rev {
				t.Errorf("Update %q = %d, %v after %d", key, rev2, err, rev)
			}
			if _, err := table.Update(ctx, key, thing{}, rev); !errors.Is(err, store.ErrConflict) {
				t.Errorf("Update %q with an old revision: %v, want ErrConflict", key, err)
			}
			v, got, err := table.Get(ctx, key)
			if err != nil || got != rev2 || v.Count != i+1 {
				t.Errorf("Get %q = %v, %d, %v", key, v, got, err)
			}
		}
		var keys []string
		for e, err := range table.All(ctx, "") {
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, e.Key)
		}
		if !slices.Equal(keys, strange) {
			t.Errorf("All = %q\n want %q", keys, strange)
		}
		for _, key := range strange {
			if err := table.Delete(ctx, key); err != nil {
				t.Fatal(err)
			}
			if _, _, err := table.Get(ctx, key); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("Get %q after Delete: %v", key, err)
			}
			if err := table.Delete(ctx, key); err != nil {
				t.Errorf("Delete %q again: %v", key, err)
			}
		}
		for e, err := range table.All(ctx, "") {
			t.Errorf("after deletion All gives %v, %v", e, err)
		}
		if _, err := table.Create(ctx, "plain", thing{}); err != nil {
			t.Errorf("Create after Delete: %v", err)
		}
	})
}

func TestTablePrefix(t *testing.T) {
	ctx := t.Context()
	table := openTable(t, open(t, newDir(t)))
	for _, key := range []string{"home", "home/1", "home/2", "home/2/x", "homer/3", store.Key("home/2", "y"), store.Key("*", "z")} {
		if _, err := table.Put(ctx, key, thing{Name: key}); err != nil {
			t.Fatal(err)
		}
	}
	for prefix, want := range map[string][]string{
		"home":              {"home/1", "home/2", "home/2/x"},
		"home/2":            {"home/2/x"},
		"homer":             {"homer/3"},
		store.Key("home/2"): {"home%2F2/y"},
		"*":                 {"*/z"},
		"nobody":            nil,
	} {
		var got []string
		for e, err := range table.All(ctx, prefix) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e.Key)
			if e.Value.Name != e.Key {
				t.Errorf("key %q has the value of %q", e.Key, e.Value.Name)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("All(%q) = %q, want %q", prefix, got, want)
		}
	}
	for range table.All(ctx, "") {
		break // a consumer may stop early
	}
}

func TestTableModify(t *testing.T) {
	overEach(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		table := openTable(t, s)
		if _, err := table.Modify(ctx, "n", func(*thing) error { return nil }); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Modify of nothing: %v, want ErrNotFound", err)
		}
		if _, err := table.Put(ctx, "n", thing{}); err != nil {
			t.Fatal(err)
		}
		const workers, each = 8, 25
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for range each {
					if _, err := table.Modify(ctx, "n", func(v *thing) error { v.Count++; return nil }); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if v, _, err := table.Get(ctx, "n"); err != nil || v.Count != workers*each {
			t.Errorf("counted %d, %v, want %d", v.Count, err, workers*each)
		}
		refusal := errors.New("no")
		if _, err := table.Modify(ctx, "n", func(v *thing) error { v.Count = 0; return refusal }); err != refusal {
			t.Errorf("Modify = %v, want f's error as it is", err)
		}
		if v, _, _ := table.Get(ctx, "n"); v.Count != workers*each {
			t.Error("a refused change was written")
		}
	})
}

func TestTableTooLarge(t *testing.T) {
	overEach(t, func(t *testing.T, s *store.Store) {
		table, err := store.OpenTable[[]byte](t.Context(), s, "bytes", 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := table.Create(t.Context(), "k", bytes.Repeat([]byte{1}, (store.MaxValue-2)/4*3)); err != nil {
			t.Errorf("a value of MaxValue: %v", err)
		}
		if v, _, err := table.Get(t.Context(), "k"); err != nil || len(v) != (store.MaxValue-2)/4*3 {
			t.Errorf("a value of MaxValue is read as %d bytes, %v", len(v), err)
		}
		if _, err := table.Put(t.Context(), "k", make([]byte, store.MaxValue)); !errors.Is(err, store.ErrTooLarge) {
			t.Errorf("a value above MaxValue: %v, want ErrTooLarge", err)
		}
		if _, err := table.Put(t.Context(), strings.Repeat(">", 1001), nil); !errors.Is(err, store.ErrTooLarge) {
			t.Errorf("a key above the limit: %v, want ErrTooLarge", err)
		}
		if _, err := table.Put(t.Context(), strings.Repeat("k", 2999), nil); err != nil {
			t.Errorf("a long key: %v", err)
		}
	})
}

func TestTableSurvives(t *testing.T) {
	dir := newDir(t)
	want := map[string]thing{}
	for round := range 3 {
		s := open(t, dir)
		table := openTable(t, s)
		got := map[string]thing{}
		for e, err := range table.All(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			got[e.Key] = e.Value
		}
		if !maps.Equal(got, want) {
			t.Fatalf("round %d: %v, want %v", round, got, want)
		}
		key := fmt.Sprint("k", round)
		want[key] = thing{key, round}
		if _, err := table.Put(t.Context(), key, want[key]); err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
}

func TestBadNames(t *testing.T) {
	s := open(t, newDir(t))
	for _, name := range []string{"", "A", "a.b", "a b", "*", ">", strings.Repeat("a", 65)} {
		if _, err := store.OpenTable[int](t.Context(), s, name, 0); err == nil {
			t.Errorf("a table may be called %q", name)
		}
		if _, err := store.OpenLog(t.Context(), s, name, store.LogConfig{}); err == nil {
			t.Errorf("a log may be called %q", name)
		}
	}
}

// TestTableMaxAge: values vanish by themselves, and the key is free again.
func TestTableMaxAge(t *testing.T) {
	table, err := store.OpenTable[int](t.Context(), open(t, newDir(t)), "codes", 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := table.Create(t.Context(), "code", 1); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, _, err = table.Get(t.Context(), "code")
	}
	if !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	if _, err := table.Create(t.Context(), "code", 2); err != nil {
		t.Error(err)
	}
}
