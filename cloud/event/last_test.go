package event_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/store"
)

// TestLastIsTheNewest: whoever asks for the last state of a resource that he
// appended to is told that, and what others append soon after.
func TestLastIsTheNewest(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "data"))
	here, elsewhere := openEvents(t, s), openEvents(t, s)
	last := func(e *event.Events) string {
		t.Helper()
		ev, err := e.Last(t.Context(), "home", "lamp", "/a")
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		return string(ev.Body)
	}
	if got := last(here); got != "" {
		t.Errorf("of nothing: %q", got)
	}
	watched := follow(t, elsewhere, event.Filter{Account: "home"}, 1000)
	for i := range 100 {
		want := fmt.Sprint(i)
		body := []byte(want)
		if _, err := here.Append(t.Context(), event.Event{Account: "home", Device: "lamp", Href: "/a", Body: body}); err != nil {
			t.Fatal(err)
		}
		clear(body) // it was only lent
		if got := last(here); got != want {
			t.Fatalf("last is %q, want %q", got, want)
		}
		<-watched.got
		if got := last(elsewhere); got != want {
			t.Fatalf("elsewhere it is %q, want %q", got, want)
		}
	}
	if err := here.Purge(t.Context(), "home", "lamp"); err != nil {
		t.Fatal(err)
	}
	if got := last(here); got != "" {
		t.Errorf("after the end: %q", got)
	}
}

// TestLastWhileItChanges: asked while events come, the last state never goes
// back.
func TestLastWhileItChanges(t *testing.T) {
	e := newEvents(t)
	mustAppend(t, e, "home", "lamp", "/a", "x")
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for seq := uint64(0); seq < 500; {
				ev, err := e.Last(t.Context(), "home", "lamp", "/a")
				if err != nil || ev.Seq < seq {
					t.Errorf("event %d after %d, %v", ev.Seq, seq, err)
					return
				}
				seq = ev.Seq
				runtime.Gosched() // lest those who ask leave none of a single processor to who appends
			}
		})
	}
	for range 500 {
		mustAppend(t, e, "home", "lamp", "/a", "x")
	}
	asking.Wait()
}

// TestLastIsBounded: what is asked about does not fill the memory.
func TestLastIsBounded(t *testing.T) {
	e := newEvents(t)
	body := string(make([]byte, 1<<20))
	for i := range 40 {
		mustAppend(t, e, "home", "lamp", fmt.Sprint("/", i), body)
	}
	for range 2 {
		for i := range 40 {
			if ev, err := e.Last(t.Context(), "home", "lamp", fmt.Sprint("/", i)); err != nil || len(ev.Body) != len(body) {
				t.Fatal(err)
			}
		}
	}
	if n := event.Remembered(e); n > 34<<20 || n < 20<<20 {
		t.Errorf("%d bytes are remembered", n)
	}
}

func BenchmarkLast(b *testing.B) {
	e := newEvents(b)
	mustAppend(b, e, "home", "lamp", "/a", "x")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Last(b.Context(), "home", "lamp", "/a"); err != nil {
			b.Fatal(err)
		}
	}
}
