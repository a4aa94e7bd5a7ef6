package event_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/store"
)

// following is a Follow that has begun.
type following struct {
	got   chan event.Event
	ended chan error
	stop  context.CancelFunc
}

// follow begins to follow. What comes is put into got, which has room for n;
// then the follower stands still until somebody takes it out.
func follow(t testing.TB, e *event.Events, f event.Filter, n int) *following {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	begun, fo := make(chan bool), &following{make(chan event.Event, n), make(chan error, 1), stop}
	f.Begun = func() { close(begun) }
	go func() {
		fo.ended <- e.Follow(ctx, f, func(ev event.Event) error {
			select {
			case fo.got <- ev:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	t.Cleanup(stop)
	select {
	case <-begun:
	case err := <-fo.ended:
		t.Fatal(err)
	}
	return fo
}

// until returns the bodies of what came, up to and without the one given, and
// ends the following.
func (fo *following) until(t testing.TB, last string) string {
	t.Helper()
	var got strings.Builder
	for body := ""; body != last; {
		got.WriteString(body)
		body = string((<-fo.got).Body)
	}
	fo.stop()
	if err := <-fo.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Follow = %v, want context.Canceled", err)
	}
	return got.String()
}

// TestFollowKeys: a follower gets what it asked for, and nothing else. Some
// follow what another process appends, as far as that can be told here.
func TestFollowKeys(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "data"))
	here, elsewhere := openEvents(t, s), openEvents(t, s)
	next := mustAppend(t, here, "home", "d1", "/a", "0").Seq + 1
	cases := []struct {
		name string
		e    *event.Events
		f    event.Filter
		want string
	}{
		{"all", here, event.Filter{}, "1245"},
		{"device", here, event.Filter{Device: "d1"}, "124"},
		{"href", here, event.Filter{Href: "/a"}, "14"},
		{"resource", here, event.Filter{Device: "d1", Href: "/a"}, "14"},
		{"wildcards are names", here, event.Filter{Device: "*", Href: ">"}, ""},
		{"from the next", here, event.Filter{From: next}, "1245"},
		{"from the first", here, event.Filter{From: 1}, "01245"},
		{"from beyond the end", here, event.Filter{From: next + 1000}, "1245"},
		{"elsewhere", elsewhere, event.Filter{From: next}, "1245"},
		{"elsewhere, resource", elsewhere, event.Filter{From: 1, Device: "d1", Href: "/a"}, "014"},
	}
	var all []*following
	for _, c := range cases {
		c.f.Account = "home"
		all = append(all, follow(t, c.e, c.f, 10))
	}
	for i, key := range []string{"home d1 /a", "home d1 /b", "else d1 /a", "home d1 /a", "home d2 /b"} {
		k := strings.Fields(key)
		mustAppend(t, here, k[0], k[1], k[2], fmt.Sprint(i+1))
	}
	mustAppend(t, here, "home", "d1", "/a", "end")
	mustAppend(t, here, "home", "*", ">", "end")
	for i, c := range cases {
		if got := all[i].until(t, "end"); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestFollowAll: whoever acts on behalf of all accounts gets the events of all,
// also those from before it began.
func TestFollowAll(t *testing.T) {
	e := newEvents(t)
	mustAppend(t, e, "home", "lamp", "/a", "0")
	first := mustAppend(t, e, "else", "door", "/b", "1").Seq
	got, begun := make(chan string, 10), make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- e.FollowAll(ctx, event.Filter{From: first, Begun: func() { close(begun) }}, func(ev event.Event) error {
			got <- ev.Account + string(ev.Body)
			return nil
		})
	}()
	<-begun
	mustAppend(t, e, "home", "lamp", "/a", "2")
	mustAppend(t, e, "else", "door", "/b", "3")
	for _, want := range []string{"else1", "home2", "else3"} {
		if ev := <-got; ev != want {
			t.Errorf("got %s, want %s", ev, want)
		}
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("FollowAll = %v", err)
	}
}

// TestFollowSlow: followers that stand still hold up nobody, and are given
// later all that they missed.
func TestFollowSlow(t *testing.T) {
	const n = 10_000 // more than is queued
	e := newEvents(t)
	var slow []*following
	for _, f := range []event.Filter{{Account: "home"}, {Account: "home", Device: "lamp", Href: "/a"}} {
		slow = append(slow, follow(t, e, f, 0))
	}
	fast := follow(t, e, event.Filter{Account: "home"}, n)
	var want strings.Builder
	for i := 0; i < n; i += 500 {
		var some []event.Event
		for j := range 500 {
			body := fmt.Sprintf("%d ", i+j)
			if j == 0 && i > n/2 { // two of these are more than a queue takes
				body = strings.Repeat("x", 700_000)
			}
			want.WriteString(body)
			some = append(some, event.Event{Account: "home", Device: "lamp", Href: "/a", Body: []byte(body)})
		}
		if errs := e.AppendAll(t.Context(), some); errs != nil {
			t.Fatal(errs)
		}
	}
	mustAppend(t, e, "home", "lamp", "/a", "end")
	for _, fo := range append([]*following{fast}, slow...) {
		if got := fo.until(t, "end"); got != want.String() {
			t.Errorf("%d bytes came, not in order or not the %d that were sent", len(got), want.Len())
		}
	}
}

// TestFollowBegun: of events that are being appended all the time, a follower
// gets each one from some place on, and none that was there before it began.
func TestFollowBegun(t *testing.T) {
	e := newEvents(t)
	var seq atomic.Uint64
	ctx, stop := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	writing.Go(func() {
		for ctx.Err() == nil {
			seq.Store(mustAppend(t, e, "home", "lamp", "/a", "x").Seq)
		}
	})
	for i := range 50 {
		before := seq.Load()
		f := event.Filter{Account: "home"}
		if i%2 == 1 {
			f.From = max(before/2, 1)
		}
		fo := follow(t, e, f, 0)
		first := <-fo.got
		if f.From == 0 && first.Seq <= before || f.From > 0 && first.Seq != f.From {
			t.Errorf("from %d, with %d appended, the first is %d", f.From, before, first.Seq)
		}
		for want := first.Seq + 1; want < first.Seq+20; want++ {
			if ev := <-fo.got; ev.Seq != want {
				t.Errorf("event %d, want %d", ev.Seq, want)
			}
		}
		fo.stop()
		<-fo.ended
	}
	stop()
	writing.Wait()
}

// TestFollowClosed: a follower learns that there will be no more events.
func TestFollowClosed(t *testing.T) {
	for name, end := range map[string]func(*event.Events, *store.Store){
		"events": func(e *event.Events, _ *store.Store) { e.Close() },
		"store":  func(_ *event.Events, s *store.Store) { s.Close() },
	} {
		s := openStore(t, filepath.Join(t.TempDir(), "data"))
		e := openEvents(t, s)
		fo := follow(t, e, event.Filter{Account: "home"}, 0)
		end(e, s)
		if err := <-fo.ended; !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s closed: Follow = %v, want ErrUnavailable", name, err)
		}
	}
}

// BenchmarkFollowers is what an event costs with so many who follow another
// resource, and one who follows this one.
func BenchmarkFollowers(b *testing.B) {
	for _, n := range []int{0, 1, 1000} {
		b.Run(fmt.Sprintf("others=%d", n), func(b *testing.B) {
			e := newEvents(b)
			for i := range n {
				follow(b, e, event.Filter{Account: "home", Device: fmt.Sprint("d", i), Href: "/a"}, 1)
			}
			fo := follow(b, e, event.Filter{Account: "home", Device: "lamp"}, 0)
			for b.Loop() {
				mustAppend(b, e, "home", "lamp", "/a", "x")
				<-fo.got
			}
		})
	}
}
