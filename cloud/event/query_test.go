package event_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/cloud/event"
)

// history appends events of two devices, each minute one, for so long before
// now. The body of each is its number; those of the silent device end early.
func history(t testing.TB, e *event.Events, n int) (start time.Time) {
	t.Helper()
	start = time.Now().Add(-time.Duration(n) * time.Minute).Truncate(time.Second)
	for i := 0; i < n; {
		var some []event.Event
		for ; i < n && len(some) < 500; i++ {
			ev := event.Event{Account: "home", Device: "talker", Href: "/a", Body: fmt.Append(nil, i), Time: start.Add(time.Duration(i) * time.Minute)}
			if i < n/10 && i%10 == 0 {
				ev.Device = "silent"
			}
			some = append(some, ev)
		}
		if errs := e.AppendAll(t.Context(), some); errs != nil {
			t.Fatal(errs)
		}
	}
	return start
}

func query(t testing.TB, e *event.Events, f event.Filter) (got []string, last event.Event) {
	t.Helper()
	f.Account = "home"
	err := e.Query(t.Context(), f, func(ev event.Event) bool { got, last = append(got, string(ev.Body)), ev; return true })
	if err != nil {
		t.Fatal(err)
	}
	return got, last
}

// TestQueryTimes: what was received between two times, in each order.
func TestQueryTimes(t *testing.T) {
	const n = 20_000 // two weeks
	e := newEvents(t)
	start := history(t, e, n)
	at := func(i int) time.Time { return start.Add(time.Duration(i) * time.Minute) }
	for _, c := range []struct {
		name string
		f    event.Filter
		want string
	}{
		{"since", event.Filter{Since: at(n - 3)}, "19997 19998 19999"},
		{"between", event.Filter{Since: at(12345), Until: at(12348)}, "12345 12346 12347"},
		{"between two", event.Filter{Since: at(12345).Add(1), Until: at(12346).Add(1)}, "12346"},
		{"until", event.Filter{Until: at(2)}, "0 1"},
		{"from", event.Filter{Since: at(500), Order: event.OldestFirst, Limit: 2}, "500 501"},
		{"back from", event.Filter{Until: at(500), Order: event.NewestFirst, Limit: 2}, "499 498"},
		{"newest", event.Filter{Order: event.NewestFirst, Limit: 3}, "19999 19998 19997"},
		{"newest of long ago", event.Filter{Device: "silent", Href: "/a", Order: event.NewestFirst, Limit: 3}, "1990 1980 1970"},
		{"newest of a silent device", event.Filter{Device: "silent", Order: event.NewestFirst, Limit: 3}, "1990 1980 1970"},
		{"its newest before", event.Filter{Device: "silent", Href: "/a", Until: at(35), Order: event.NewestFirst}, "30 20 10 0"},
		{"its newest, oldest first", event.Filter{Device: "silent", Href: "/a", Since: at(1975)}, "1980 1990"},
		{"none of it", event.Filter{Device: "silent", Href: "/a", Since: at(2000)}, ""},
		{"never heard of", event.Filter{Device: "other", Href: "/a", Order: event.NewestFirst}, ""},
		{"nothing before the first", event.Filter{Until: at(-1)}, ""},
		{"nothing after the last", event.Filter{Since: at(n)}, ""},
		{"nothing in no time", event.Filter{Since: at(7), Until: at(7)}, ""},
		{"until before since", event.Filter{Since: at(7), Until: at(5)}, ""},
	} {
		if got, _ := query(t, e, c.f); strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestQueryPages: page by page, in each order, everything comes once.
func TestQueryPages(t *testing.T) {
	const n = 1234
	e := newEvents(t)
	history(t, e, n)
	for _, c := range []struct {
		order event.Order
		next  func(f *event.Filter, last event.Event)
		place func(i int) int
	}{
		{event.OldestFirst, func(f *event.Filter, last event.Event) { f.From = last.Seq + 1 }, func(i int) int { return i }},
		{event.NewestFirst, func(f *event.Filter, last event.Event) { f.Before = last.Seq }, func(i int) int { return n - 1 - i }},
	} {
		f, i := event.Filter{Order: c.order, Limit: 100}, 0
		for {
			got, last := query(t, e, f)
			if len(got) == 0 {
				break
			}
			for _, body := range got {
				if want := fmt.Sprint(c.place(i)); body != want {
					t.Fatalf("order %d, event %d is %s, want %s", c.order, i, body, want)
				}
				i++
			}
			c.next(&f, last)
		}
		if i != n {
			t.Errorf("order %d: %d events", c.order, i)
		}
	}
}

// TestQueryIsBounded: the newest of long bodies are given as far as there is
// room, without a gap.
func TestQueryIsBounded(t *testing.T) {
	e := newEvents(t)
	for i := range 60 {
		mustAppend(t, e, "home", "lamp", "/a", fmt.Sprint(i, " ", strings.Repeat("x", 300_000)))
		mustAppend(t, e, "home", "lamp", "/a", fmt.Sprint(i, " short"))
	}
	got, last := query(t, e, event.Filter{Order: event.NewestFirst, Limit: 100})
	if n := len(got); n < 50 || n > 60 || !strings.HasPrefix(got[0], "59 short") || !strings.HasPrefix(got[n-1], fmt.Sprint(60-(n+1)/2, " ")) {
		t.Errorf("%d events from %.10q to %.10q", n, got[0], got[n-1])
	}
	more, _ := query(t, e, event.Filter{Order: event.NewestFirst, Limit: 100, Before: last.Seq})
	if len(more) == 0 || len(got)+len(more) > 120 {
		t.Errorf("then %d events", len(more))
	}
	all := 0
	err := e.All(t.Context(), event.Filter{Account: "home"}, func(event.Event) bool { all++; return true })
	if err != nil || all != 120 {
		t.Errorf("%d events in all, %v", all, err)
	}
}
