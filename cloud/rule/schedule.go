package rule

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// schedule tells the instants of a rule that waits for a time.
type schedule interface {
	// next is the first instant after t; zero if there is none in a year.
	next(t time.Time) time.Time
}

// interval is an instant each so often, counted from the begin of 1970.
type interval time.Duration

func (i interval) next(t time.Time) time.Time {
	d := int64(i)
	return time.Unix(0, t.UnixNano()-mod(t.UnixNano(), d)+d).UTC()
}

func mod(a, b int64) int64 { return ((a % b) + b) % b }

// daily is one instant of each day, or of some days of the week.
type daily struct {
	days [7]bool // by time.Weekday
	zone *time.Location
	on   func(noon time.Time) (time.Time, bool) // the instant of the day that noon, 12:00 in zone, is of
}

// next looks from two days before t, for the instant may be shifted by one day.
func (d *daily) next(t time.Time) time.Time {
	year, month, day := t.In(d.zone).Date()
	var first time.Time
	for i := -2; i <= 367; i++ {
		noon := time.Date(year, month, day+i, 12, 0, 0, 0, d.zone)
		if !d.days[noon.Weekday()] {
			continue
		}
		at, ok := d.on(noon)
		if ok && at.After(t) && (first.IsZero() || at.Before(first)) {
			first = at
		}
		if !first.IsZero() && noon.Sub(first) > 36*time.Hour {
			break
		}
	}
	return first.UTC()
}

// schedule is that of w; nil if it waits for an event.
func (w *When) schedule() (schedule, error) {
	switch {
	case w.Every != 0:
		return interval(w.Every), nil
	case w.At != nil:
		return w.At.schedule()
	case w.Sun != nil:
		return w.Sun.schedule()
	}
	return nil, nil
}

func (a *At) schedule() (schedule, error) {
	clock, err := parseClock(a.Time)
	if err != nil {
		return nil, err
	}
	d, err := newDaily(a.Days, a.Zone)
	if err != nil {
		return nil, err
	}
	d.on = func(noon time.Time) (time.Time, bool) {
		year, month, day := noon.Date()
		return time.Date(year, month, day, clock.Hour(), clock.Minute(), clock.Second(), 0, d.zone), true
	}
	return d, nil
}

func (s *Sun) schedule() (schedule, error) {
	d, err := newDaily(s.Days, s.Zone)
	if err != nil {
		return nil, err
	}
	place := *s
	d.on = func(noon time.Time) (time.Time, bool) {
		at, ok := sunTime(noon, place.Latitude, place.Longitude, place.Event == "sunrise")
		return at.Add(time.Duration(place.Offset)), ok
	}
	return d, nil
}

func parseClock(text string) (time.Time, error) {
	for _, layout := range []string{"15:04", "15:04:05"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, &fieldError{"time", fmt.Sprintf("%.16q is no time of day such as 07:30", text)}
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} // as time.Weekday counts

func newDaily(days []string, zone string) (*daily, error) {
	d := &daily{zone: time.Local}
	if zone != "" {
		var err error
		if d.zone, err = time.LoadLocation(zone); err != nil || len(zone) > 64 {
			return nil, &fieldError{"zone", fmt.Sprintf("%.64q is no time zone that this machine knows, such as Europe/Berlin", zone)}
		}
	}
	for i := range d.days {
		d.days[i] = len(days) == 0
	}
	for _, day := range days {
		i := slices.Index(weekdays, strings.ToLower(day))
		if i < 0 {
			return nil, &fieldError{"days", fmt.Sprintf("%.16q is none of mon, tue, wed, thu, fri, sat and sun", day)}
		}
		d.days[i] = true
	}
	return d, nil
}

// fieldError is an error about one member of what is looked at.
type fieldError struct{ field, why string }

func (e *fieldError) Error() string { return e.field + ": " + e.why }
