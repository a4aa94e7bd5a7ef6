package event_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/oic"
)

// heard appends an event that was received at a time.
func heard(t testing.TB, e *event.Events, at time.Time, rep any) {
	t.Helper()
	body, err := oic.Encode(oic.OCF, rep)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Append(t.Context(), event.Event{Account: "home", Device: "oven", Href: "/t", Format: oic.OCF, Body: body, Time: at}); err != nil {
		t.Fatal(err)
	}
}

type reading map[string]any

func TestSeries(t *testing.T) {
	e := newEvents(t)
	start := time.Now().Add(-10 * time.Hour).Truncate(time.Hour).UTC()
	at := func(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }
	heard(t, e, at(-90), reading{"t": 7})
	heard(t, e, at(-70), reading{"units": "C"})
	heard(t, e, at(1), reading{"t": 20.5, "on": true})
	heard(t, e, at(2), reading{"t": -3})
	heard(t, e, at(3), reading{"t": 4, "on": false})
	heard(t, e, at(4), reading{"t": "warm"})
	heard(t, e, at(5), []int{1})
	heard(t, e, at(121), reading{"t": 1, "timestamp": at(62).Format(time.RFC3339)}) // late
	heard(t, e, at(122), reading{"t": 2})
	heard(t, e, at(300), reading{"t": 9})
	f := event.Filter{Account: "home", Device: "oven", Href: "/t", Since: start, Until: at(240)}

	s, err := e.Series(t.Context(), f, "t", 4)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(s.Width, s.Values, s.Before.Number)
	for _, b := range s.Buckets {
		got += fmt.Sprintf(" | %v %d: %v to %v, %.2f, %v", b.Start.Sub(start), b.Count, b.Min, b.Max, b.Mean, b.Last)
	}
	const want = "1h0m0s 5 7 | 0s 3: -3 to 20.5, 7.17, 4 | 1h0m0s 1: 1 to 1, 1.00, 1 | 2h0m0s 1: 2 to 2, 2.00, 2"
	if got != want {
		t.Errorf("series %s\n  want %s", got, want)
	}
	if s, err = e.Series(t.Context(), f, "on", 1); err != nil || len(s.Buckets) != 1 || s.Buckets[0].Mean != 0.5 || s.Buckets[0].Last != 0 || s.Before != nil {
		t.Errorf("of truths: %+v, %v", s, err)
	}
	if s, err = e.Series(t.Context(), f, "nothing", 0); err != nil || len(s.Buckets) != 0 || s.Width != 240*time.Minute/event.UsualBuckets {
		t.Errorf("of nothing: %+v, %v", s, err)
	}
	for name, f := range map[string]event.Filter{
		"no resource":   {Account: "home", Device: "oven"},
		"no device":     {Account: "home", Href: "/t"},
		"no time":       {Account: "home", Device: "oven", Href: "/t", Since: start, Until: start},
		"too much time": {Account: "home", Device: "oven", Href: "/t", Since: time.Unix(0, 0), Until: start.AddDate(5000, 0, 0)},
	} {
		if _, err := e.Series(t.Context(), f, "t", 10); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, n := range []int{-1, event.MaxBuckets + 1} {
		if _, err := e.Series(t.Context(), f, "t", n); err == nil {
			t.Errorf("%d buckets: no error", n)
		}
	}
}

// TestSeriesLosesNothing: whatever the buckets, each value is in one of them.
func TestSeriesLosesNothing(t *testing.T) {
	e := newEvents(t)
	start := time.Now().Add(-time.Hour).UTC()
	const n = 300
	low, high := 1e9, -1e9
	for range n {
		v := rand.NormFloat64() * 100
		low, high = min(low, v), max(high, v)
		heard(t, e, start.Add(rand.N(time.Hour)), reading{"t": v})
	}
	for range 50 {
		buckets := 1 + rand.IntN(event.MaxBuckets)
		s, err := e.Series(t.Context(), event.Filter{Account: "home", Device: "oven", Href: "/t", Since: start, Until: start.Add(time.Hour)}, "t", buckets)
		if err != nil {
			t.Fatal(err)
		}
		found, least, most, last := 0, 1e9, -1e9, start.Add(-1)
		for _, b := range s.Buckets {
			found += b.Count
			least, most = min(least, b.Min), max(most, b.Max)
			if b.Min > b.Mean+1e-9 || b.Mean > b.Max+1e-9 || b.Last < b.Min || b.Last > b.Max || !b.Start.After(last) {
				t.Errorf("bucket %+v", b)
			}
			last = b.Start
		}
		if found != n || s.Values != n || least != low || most != high || len(s.Buckets) > buckets {
			t.Fatalf("%d buckets: %d of %d values, %v to %v; want %v to %v", buckets, found, n, least, most, low, high)
		}
	}
}
