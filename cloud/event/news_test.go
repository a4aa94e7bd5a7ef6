package event_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/farreach/farreach/cloud/event"
)

// news follows with FollowNews. What it is given waits for next.
type news struct {
	t   testing.TB
	got chan event.News
}

func followNews(t testing.TB, e *event.Events, f event.Filter, merge int) *news {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	begun, n, ended := make(chan bool), &news{t, make(chan event.News)}, make(chan error, 1)
	f.Account, f.Begun = "home", func() { close(begun) }
	go func() {
		ended <- e.FollowNews(ctx, f, merge, func(some event.News) error {
			select {
			case n.got <- some:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("FollowNews = %v", err)
		}
	})
	<-begun
	return n
}

// until takes news until one has the body last. It returns how many events came
// and how many were merged, and checks that they are in order.
func (n *news) until(last string) (events, merged int) {
	n.t.Helper()
	seq := uint64(0)
	for {
		some := <-n.got
		merged += some.Merged
		for _, ev := range some.Events {
			if ev.Seq <= seq {
				n.t.Errorf("event %d behind %d", ev.Seq, seq)
			}
			seq = ev.Seq
			events++
			if string(ev.Body) == last {
				return events, merged
			}
		}
	}
}

// flood appends n events of ten resources, and one that is the last.
func flood(t testing.TB, e *event.Events, n int) {
	t.Helper()
	for i := 0; i < n; {
		var some []event.Event
		for ; i < n && len(some) < 500; i++ {
			some = append(some, event.Event{Account: "home", Device: fmt.Sprint("d", i%10), Href: "/a", Body: fmt.Append(nil, i)})
		}
		if errs := e.AppendAll(t.Context(), some); errs != nil {
			t.Fatal(errs)
		}
	}
	mustAppend(t, e, "home", "lamp", "/a", "end")
}

// TestFollowNews: who takes his time is given states, and told how many events
// they stand for; who was away for long, too.
func TestFollowNews(t *testing.T) {
	const short, long = 1000, 20_000
	e := newEvents(t)
	first := mustAppend(t, e, "home", "lamp", "/a", "first").Seq
	slow := followNews(t, e, event.Filter{}, 0)
	some := followNews(t, e, event.Filter{}, 100)
	patient := followNews(t, e, event.Filter{}, 1<<20)
	one := followNews(t, e, event.Filter{Device: "d3", Href: "/a"}, 0)
	flood(t, e, short)
	if n, merged := patient.until("end"); n != short+1 || merged != 0 {
		t.Errorf("without merging %d events, %d merged", n, merged)
	}
	for name, c := range map[string]struct {
		*news
		most int // events: what came before it waited, and what waited then
	}{"always": {slow, 600}, "from 100 on": {some, 700}} {
		if n, merged := c.until("end"); n > c.most || n+merged != short+1 {
			t.Errorf("merging %s: %d events, %d merged", name, n, merged)
		}
	}
	if n, merged := one.until("993"); n+merged != short/10 {
		t.Errorf("one resource: %d events, %d merged", n, merged)
	}

	flood(t, e, long)
	patient.until("end") // all of it has been handed out
	for name, c := range map[string]struct {
		from   uint64
		f      event.Filter
		events int
		merged int
	}{
		"all":      {first + 1, event.Filter{}, 11, short + long - 9},
		"a device": {first + 1, event.Filter{Device: "d4"}, (short + long) / 10, 0}, // not so many that any is left out
	} {
		c.f.From = c.from
		last := map[bool]string{true: "end", false: fmt.Sprint(long - 6)}[c.f.Device == ""]
		if n, merged := followNews(t, e, c.f, 1<<20).until(last); n != c.events || merged != c.merged {
			t.Errorf("%s from long ago: %d events, %d merged; want %d, %d", name, n, merged, c.events, c.merged)
		}
	}
}

// TestFollowNewsPlaces: events of several places come in the order of the log and
// once each, from the store and as they happen, and none of others; Caught says up
// to where the log had been when it began.
func TestFollowNewsPlaces(t *testing.T) {
	for name, c := range map[string]struct {
		strange, own int // events before it begins: of another device of the other account, and of each of two places
		want         int // of them that it is given, and one that was the last
	}{
		"a little behind": {100, 100, 201},
		"of many, few":    {9000, 100, 201},
		"states":          {10, 5000, 2}, // of door, and the last one
	} {
		t.Run(name, func(t *testing.T) {
			e := newEvents(t)
			var some []event.Event
			for i := range max(c.strange, c.own) {
				body := fmt.Append(nil, i)
				if i < c.strange {
					some = append(some, event.Event{Account: "other", Device: "strange", Href: "/a", Body: body})
				}
				if i < c.own {
					some = append(some, event.Event{Account: "home", Device: "lamp", Href: "/a", Body: body}, event.Event{Account: "other", Device: "door", Href: "/a", Body: body})
				}
			}
			heard := followNews(t, e, event.Filter{}, 1<<20)
			for part := range slices.Chunk(append(some, event.Event{Account: "home", Device: "lamp", Href: "/a", Body: []byte("begin")}), 500) {
				if errs := e.AppendAll(t.Context(), part); errs != nil {
					t.Fatal(errs)
				}
			}
			heard.until("begin")
			end := uint64(c.strange + 2*c.own + 1)
			caught := make(chan uint64, 1)
			f := event.Filter{From: 1, Also: []event.Place{{Account: "other", Device: "door"}}, Caught: func(seq uint64) { caught <- seq }}
			n := followNews(t, e, f, 1<<20)
			events, merged := n.until("begin")
			got := <-caught
			mustAppend(t, e, "other", "strange", "/a", "strange")
			mustAppend(t, e, "other", "door", "/a", "new")
			mustAppend(t, e, "home", "lamp", "/a", "end")
			if got != end || events != c.want || events+merged != 2*c.own+1 {
				t.Errorf("caught up to %d, %d events, %d merged; want up to %d, %d of %d", got, events, merged, end, c.want, 2*c.own+1)
			}
			if events, merged := n.until("end"); events+merged != 2 {
				t.Errorf("%d new events", events+merged)
			}
		})
	}
	if err := newEvents(t).FollowNews(t.Context(), event.Filter{Account: "home", Also: []event.Place{{}}}, 0, nil); err == nil {
		t.Error("a place without an account is followed")
	}
}
