package event_test

import (
	"context"
	"errors"
	"fmt"
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
