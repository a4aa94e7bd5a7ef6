package event_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/oic"
)

// A day of readings, one each second, becomes the 500 buckets of a plot: from the
// events alone, and from blocks.
func BenchmarkSeries(b *testing.B) {
	e := newEvents(b)
	const seconds, part = 86_400, 400
	begin := time.Now().Add(-seconds * time.Second)
	for i := 0; i < seconds; i += part {
		events := make([]event.Event, part)
		for j := range events {
			at := i + j
			body, err := oic.Encode(oic.OCF, map[string]any{"temperature": math.Sin(float64(at) / 300), "units": "C", "timestamp": begin.Unix() + int64(at)})
			if err != nil {
				b.Fatal(err)
			}
			events[j] = event.Event{Account: "home", Device: "oven", Href: "/t", Format: oic.OCF, Body: body, Time: begin.Add(time.Duration(at) * time.Second)}
		}
		if err := errors.Join(e.AppendAll(b.Context(), events)...); err != nil {
			b.Fatal(err)
		}
	}
	f := event.Filter{Account: "home", Device: "oven", Href: "/t", Since: begin, Until: begin.Add(seconds * time.Second)}
	plot := func(b *testing.B, before func()) {
		for b.Loop() {
			b.StopTimer()
			before()
			b.StartTimer()
			s, err := e.Series(b.Context(), f, "temperature", 500)
			if err != nil || s.Values < seconds-part {
				b.Fatalf("%+v, %v", s, err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/seconds, "ns/event")
	}
	b.Run("events", func(b *testing.B) { plot(b, func() { event.ForgetBlocks(b, e) }) })
	event.MakeBlocks(b, e, "oven", "/t")
	b.Run("blocks", func(b *testing.B) { plot(b, func() {}) })
}
