package event

import (
	"context"
	"math"
	"time"

	"github.com/farreach/farreach/oic"
)

// Series is what one property of one resource was in a stretch of time, cut
// into buckets of equal width: as many as a plot has columns of pixels. A
// bucket of which nothing was heard is missing, for a gap is to be seen as one.
type Series struct {
	Since, Until time.Time
	Width        time.Duration // of a bucket
	Buckets      []Bucket      // those with values, oldest first
	Before       *Value        // the last one before Since; nil: none is known
	Values       int           // in all buckets
}

// Bucket sums up the values that were heard of from Start on, for Series.Width.
type Bucket struct {
	Start          time.Time
	Min, Max, Mean float64
	Last           float64
	Count          int

	last time.Time // of Last
}

// Value is a number, or a truth: 1 or 0.
type Value struct {
	Time   time.Time
	Number float64
}

// The limits of a Series.
const (
	UsualBuckets = 500
	MaxBuckets   = 2000
	usualSeries  = 24 * time.Hour // if no Since is given

	// lateBy is how much later than it says an event may be received to have a
	// place in a series that ends in the past.
	lateBy = 24 * time.Hour
)

// Series reads the values of a property, a number or a truth, of the resource
// that f selects, from f.Since (zero: a day before the end) until f.Until (zero:
// now), into n buckets (0: 500; 2,000 at most). An event counts at the time that
// its device says, if it does, else when it was received; other representations
// do not count.
func (e *Events) Series(ctx context.Context, f Filter, property string, n int) (*Series, error) {
	if f.Device == "" || f.Href == "" || property == "" {
		return nil, oic.Errorf(oic.BadRequest, "a device, a resource and a property are needed")
	}
	if f.Until.IsZero() {
		f.Until = time.Now()
	}
	if f.Since.IsZero() {
		f.Since = f.Until.Add(-usualSeries)
	}
	s, err := newSeries(f.Since.UTC(), f.Until.UTC(), n)
	if err != nil {
		return nil, err
	}
	f.Until = s.Until.Add(lateBy)
	all := make([]Bucket, s.size())
	if err := e.values(ctx, f, property, func(v Value) { s.add(all, v) }); err != nil {
		return nil, err
	}
	for i, b := range all {
		if b.Count > 0 {
			b.Start = s.Since.Add(time.Duration(i) * s.Width)
			s.Buckets = append(s.Buckets, b)
			s.Values += b.Count
		}
	}
	s.Before, err = e.before(ctx, f, property)
	return s, err
}

// newSeries is one without values.
func newSeries(since, until time.Time, n int) (*Series, error) {
	span := until.Sub(since)
	switch {
	case n == 0:
		n = UsualBuckets
	case n < 0 || n > MaxBuckets:
		return nil, oic.Errorf(oic.BadRequest, "%d buckets: from 1 to %d can be had", n, MaxBuckets)
	}
	if span <= 0 || span == math.MaxInt64 {
		return nil, oic.Errorf(oic.BadRequest, "since %s until %s is no stretch of time", since.Format(time.RFC3339), until.Format(time.RFC3339))
	}
	width := max((span+time.Duration(n)-1)/time.Duration(n), 1)
	return &Series{Since: since, Until: until, Width: width}, nil
}

// size is how many buckets there are.
func (s *Series) size() int { return int((s.Until.Sub(s.Since) + s.Width - 1) / s.Width) }

// add counts a value, if it is within the time.
func (s *Series) add(all []Bucket, v Value) {
	if v.Time.Before(s.Since) || !v.Time.Before(s.Until) || math.IsNaN(v.Number) || math.IsInf(v.Number, 0) {
		return
	}
	b := &all[v.Time.Sub(s.Since)/s.Width]
	if b.Count++; b.Count == 1 {
		b.Min, b.Max = v.Number, v.Number
	}
	b.Min, b.Max = min(b.Min, v.Number), max(b.Max, v.Number)
	b.Mean += (v.Number - b.Mean) / float64(b.Count)
	if !v.Time.Before(b.last) {
		b.Last, b.last = v.Number, v.Time
	}
}

// before is the last value of those received before f.Since, if it is one of the
// last few events.
func (e *Events) before(ctx context.Context, f Filter, property string) (last *Value, err error) {
	const few = 16 // events of which some may be without it
	f.Since, f.Until, f.Order, f.Limit = time.Time{}, f.Since, NewestFirst, few
	err = e.Query(ctx, f, func(ev Event) bool {
		if v := oic.Property(ev.Format, ev.Body, property); v.Kind == oic.Number || v.Kind == oic.Bool {
			last = &Value{ev.When(), v.Number}
		}
		return last == nil
	})
	return last, err
}
