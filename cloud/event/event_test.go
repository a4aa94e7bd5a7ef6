package event_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openStore(t testing.TB, dir string) *store.Store {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := store.Open(t.Context(), store.Config{Dir: dir, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func openEvents(t testing.TB, s *store.Store) *event.Events {
	t.Helper()
	e, err := event.Open(t.Context(), s, event.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func newEvents(t testing.TB) *event.Events {
	return openEvents(t, openStore(t, filepath.Join(t.TempDir(), "data")))
}

func mustAppend(t testing.TB, e *event.Events, account, device, href, body string) event.Event {
	t.Helper()
	ev, err := e.Append(t.Context(), event.Event{Account: account, Device: device, Href: href, Format: oic.OCF, Body: []byte(body)})
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

// bodies collects the bodies of what a reader gives, one after the other.
func bodies(t testing.TB, read func(each func(event.Event) bool) error) (got string) {
	t.Helper()
	if err := read(func(ev event.Event) bool { got += string(ev.Body); return true }); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestAppendAndLast(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := openStore(t, dir)
	e := openEvents(t, s)
	before := time.Now()
	mustAppend(t, e, "home", "lamp", "/a/light", "old")
	want := mustAppend(t, e, "home", "lamp", "/a/light", "\x00new")
	mustAppend(t, e, "home", "lamp", "/a/power", "other")
	if want.Seq == 0 || want.Time.Before(before.Add(-time.Millisecond)) || want.Time.After(time.Now()) {
		t.Errorf("Append set Seq %d, Time %v", want.Seq, want.Time)
	}
	s.Close()

	e = openEvents(t, openStore(t, dir)) // the state is there in another life
	got, err := e.Last(t.Context(), "home", "lamp", "/a/light")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Last = %+v\n want %+v", got, want)
	}
	if _, err := e.Last(t.Context(), "home", "lamp", "/a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Last of what never reported: %v, want ErrNotFound", err)
	}
	if _, err := e.Last(t.Context(), "other", "lamp", "/a/light"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Last for another account: %v, want ErrNotFound", err)
	}
}

// The longest body that a device sends, 1 MiB, is an event as any other;
// what the store does not take is refused.
func TestLongestBody(t *testing.T) {
	e := newEvents(t)
	long := strings.Repeat("x", 1<<20)
	mustAppend(t, e, "home", "lamp", "/a/blob", long)
	mustAppend(t, e, "home", "lamp", "/a/light", "on")
	got, err := e.Last(t.Context(), "home", "lamp", "/a/blob")
	if err != nil || string(got.Body) != long {
		t.Errorf("Last = %d bytes, %v", len(got.Body), err)
	}
	all := bodies(t, func(each func(event.Event) bool) error {
		return e.Query(t.Context(), event.Filter{Account: "home"}, each)
	})
	if all != long+"on" {
		t.Errorf("Query gives %d bytes", len(all))
	}
	_, err = e.Append(t.Context(), event.Event{Account: "home", Device: "lamp", Href: "/a/blob", Body: make([]byte, store.MaxValue)})
	if !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("Append of more than the store takes: %v, want ErrTooLarge", err)
	}
}

func TestQuery(t *testing.T) {
	e := newEvents(t)
	start := time.Now()
	for i := range 10 {
		ev := event.Event{Account: "home", Device: fmt.Sprint("d", i%2), Href: fmt.Sprint("/", i%3), Body: fmt.Append(nil, i), Time: start.Add(time.Duration(i) * time.Minute)}
		if _, err := e.Append(t.Context(), ev); err != nil {
			t.Fatal(err)
		}
	}
	mustAppend(t, e, "else", "d0", "/0", "x")
	for _, c := range []struct {
		f    event.Filter
		want string
	}{
		{event.Filter{}, "0123456789"},
		{event.Filter{Limit: 3}, "789"},
		{event.Filter{Device: "d1"}, "13579"},
		{event.Filter{Device: "d1", Limit: 2}, "79"},
		{event.Filter{Href: "/0"}, "0369"},
		{event.Filter{Device: "d0", Href: "/0"}, "06"},
		{event.Filter{From: 4}, "3456789"},
		{event.Filter{From: 4, Limit: 2}, "34"},
		{event.Filter{From: 5, Device: "d0", Limit: 2}, "46"},
		{event.Filter{Since: start.Add(7 * time.Minute)}, "789"},
		{event.Filter{Since: start.Add(7 * time.Minute), Limit: 2}, "89"},
		{event.Filter{Since: start.Add(7 * time.Minute), From: 1, Limit: 2}, "78"},
		{event.Filter{From: 100}, ""},
		{event.Filter{Device: "*"}, ""},
		{event.Filter{Href: ">"}, ""},
	} {
		c.f.Account = "home"
		got := bodies(t, func(each func(event.Event) bool) error { return e.Query(t.Context(), c.f, each) })
		if got != c.want {
			t.Errorf("%+v gives %q, want %q", c.f, got, c.want)
		}
	}
	if got := bodies(t, func(each func(event.Event) bool) error { return e.States(t.Context(), "home", "", each) }); got != "456789" {
		t.Errorf("States = %q", got)
	}
	if got := bodies(t, func(each func(event.Event) bool) error { return e.States(t.Context(), "home", "d1", each) }); got != "579" {
		t.Errorf("States of d1 = %q", got)
	}
}

// TestNoAccount: nobody sees the events of all by forgetting to say whose.
func TestNoAccount(t *testing.T) {
	e := newEvents(t)
	mustAppend(t, e, "home", "lamp", "/a", "secret")
	ctx := t.Context()
	seen := func(ev event.Event) bool { t.Errorf("shown: %+v", ev); return true }
	for _, account := range []string{"", store.Any, "\x00"} {
		for name, err := range map[string]error{
			"Query":  e.Query(ctx, event.Filter{Account: account}, seen),
			"States": e.States(ctx, account, "", seen),
			"Follow": e.Follow(ctx, event.Filter{Account: account, From: 1}, func(ev event.Event) error { seen(ev); return nil }),
			"Purge":  e.Purge(ctx, account, "lamp"),
			"Device": e.Query(ctx, event.Filter{Account: "home", Device: store.Any}, seen),
			"no di":  e.Purge(ctx, "home", ""),
		} {
			if err == nil {
				t.Errorf("%s of account %q works", name, account)
			}
		}
		if _, err := e.Append(ctx, event.Event{Account: account, Device: "d", Href: "/"}); err == nil {
			t.Errorf("Append to account %q works", account)
		}
	}
	for _, account := range []string{"*", ">", "home.lamp"} { // threats 27
		if err := e.Query(ctx, event.Filter{Account: account}, seen); err != nil {
			t.Error(err)
		}
	}
}

func TestPurge(t *testing.T) {
	e := newEvents(t)
	for _, di := range []string{"a", "b", "a"} {
		mustAppend(t, e, "home", di, "/x", di)
		mustAppend(t, e, "else", di, "/x", di)
	}
	if err := e.Purge(t.Context(), "home", "a"); err != nil {
		t.Fatal(err)
	}
	for account, want := range map[string]string{"home": "b", "else": "aba"} {
		got := bodies(t, func(each func(event.Event) bool) error {
			return e.Query(t.Context(), event.Filter{Account: account}, each)
		})
		if got != want {
			t.Errorf("%s has %q after Purge, want %q", account, got, want)
		}
	}
}

// TestFollowResumes: a follower that is cut off after each few events sees each once.
func TestFollowResumes(t *testing.T) {
	e := newEvents(t)
	const n = 100
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range n {
			mustAppend(t, e, "home", "lamp", "/a", fmt.Sprint(i))
			mustAppend(t, e, "else", "lamp", "/a", "not for home")
		}
	})
	cut := errors.New("cut")
	next, seen := uint64(1), 0
	for seen < n {
		err := e.Follow(t.Context(), event.Filter{Account: "home", From: next}, func(ev event.Event) error {
			if want := fmt.Sprint(seen); string(ev.Body) != want {
				t.Fatalf("event %d is %q, want %q", ev.Seq, ev.Body, want)
			}
			seen, next = seen+1, ev.Seq+1
			if seen%7 == 0 || seen == n {
				return cut
			}
			return nil
		})
		if err != cut {
			t.Fatal(err)
		}
	}
	wg.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Follow(ctx, event.Filter{Account: "home"}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Follow = %v, want context.Canceled", err)
	}
}

func BenchmarkAppend(b *testing.B) {
	body := []byte("\xbf\x65value\xf5\x67dimming\x18\x32\xff")
	for _, devices := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("devices=%d", devices), func(b *testing.B) {
			e := newEvents(b)
			share := make(chan int)
			var wg sync.WaitGroup
			for i := range devices {
				wg.Go(func() {
					di := fmt.Sprintf("11111111-1111-4111-8111-%012d", i)
					for range share {
						if _, err := e.Append(b.Context(), event.Event{Account: "home", Device: di, Href: "/a/light", Format: oic.OCF, Body: body}); err != nil {
							b.Error(err)
						}
					}
				})
			}
			b.ReportAllocs()
			for b.Loop() {
				share <- 0
			}
			close(share)
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
