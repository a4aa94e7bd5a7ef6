package store_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/store"
)

// changes gathers what a view tells.
type changes struct {
	mu   sync.Mutex
	list []string
}

func (c *changes) add(key string, old, new *thing) {
	name := func(v *thing) string {
		if v == nil {
			return "-"
		}
		return v.Name
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, key+": "+name(old)+" "+name(new))
}

func (c *changes) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprint(c.list)
}

func openView(t testing.TB, s *store.Store, changed func(key string, old, new *thing)) *store.View[thing] {
	t.Helper()
	v, err := store.OpenView(t.Context(), openTable(t, s), changed)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// eventually waits for what another process did.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

func TestViewSeesItsOwnWritesAtOnce(t *testing.T) {
	overEach(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		var told changes
		v := openView(t, s, told.add)
		for i, key := range strange {
			if err := v.Create(ctx, key, thing{fmt.Sprint("n", i), i}); err != nil {
				t.Fatalf("Create(%q): %v", key, err)
			}
			if got := v.Get(key); got == nil || got.Count != i {
				t.Fatalf("Get(%q) = %+v, want %d", key, got, i)
			}
		}
		if err := v.Create(ctx, "plain", thing{}); !errors.Is(err, store.ErrExists) {
			t.Errorf("Create again = %v", err)
		}
		got, err := v.Modify(ctx, "plain", func(v *thing) error { v.Count += 10; return nil })
		if err != nil || got.Count != 10 || v.Get("plain").Count != 10 {
			t.Errorf("Modify = %+v, %v", got, err)
		}
		if err := v.Put(ctx, "plain", thing{"put", 1}); err != nil || v.Get("plain").Name != "put" {
			t.Errorf("Put: %v", err)
		}
		n := len(maps.Collect(v.All()))
		if err := v.Delete(ctx, "plain"); err != nil || v.Get("plain") != nil || n != len(strange) {
			t.Errorf("Delete: %v; there were %d entries", err, n)
		}
		if _, err := v.Modify(ctx, "plain", func(*thing) error { return nil }); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Modify of nothing = %v", err)
		}
		if err := v.Create(ctx, "plain", thing{"again", 1}); err != nil || v.Get("plain").Name != "again" {
			t.Errorf("Create after Delete: %v", err)
		}
	})
}

func TestViewFollowsOthers(t *testing.T) {
	overEach(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		here := openView(t, s, nil)
		if err := here.Put(ctx, "before", thing{"a", 0}); err != nil {
			t.Fatal(err)
		}
		var told changes
		there := openView(t, s, told.add)
		if there.Get("before") == nil {
			t.Error("what was there is not seen")
		}
		for _, err := range []error{
			here.Put(ctx, "x/y", thing{"b", 1}),
			here.Put(ctx, "x/y", thing{"c", 2}),
			here.Delete(ctx, "before"),
			here.Put(ctx, "before", thing{"d", 3}),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "the last change", func() bool { v := there.Get("before"); return v != nil && v.Name == "d" })
		if v := there.Get("x/y"); v == nil || v.Name != "c" {
			t.Errorf("Get = %+v", v)
		}
		// Values that were replaced at once may be left out.
		if got := told.String(); !strings.HasSuffix(got, " d]") || !strings.Contains(got, "x/y: ") {
			t.Errorf("told %s", got)
		}
	})
}

// TestViewNeverGoesBack: a view that deletes and creates the same key again and
// again, beside others that do so too, shows in the end what the store has, and
// never what it deleted itself.
func TestViewNeverGoesBack(t *testing.T) {
	overEach(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		views := []*store.View[thing]{openView(t, s, nil), openView(t, s, nil), openView(t, s, nil)}
		var wg sync.WaitGroup
		for w, v := range views {
			wg.Go(func() {
				own := fmt.Sprint("own", w)
				for i := range 50 {
					_ = v.Put(ctx, "shared", thing{own, i})
					_ = v.Delete(ctx, "shared")
					_ = v.Put(ctx, own, thing{own, i})
					if err := v.Delete(ctx, own); err != nil || v.Get(own) != nil {
						t.Errorf("%s is seen after it was deleted (%v)", own, err)
					}
				}
				_ = v.Put(ctx, "shared", thing{own, 100})
			})
		}
		wg.Wait()
		want, _, err := openTable(t, s).Get(ctx, "shared")
		if err != nil {
			t.Fatal(err)
		}
		for w, v := range views {
			eventually(t, fmt.Sprint("view ", w), func() bool { got := v.Get("shared"); return got != nil && *got == want })
			eventually(t, fmt.Sprint("view ", w), func() bool { return len(maps.Collect(v.All())) == 1 })
		}
	})
}
