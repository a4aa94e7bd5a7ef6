package event

import (
	"math"
	"sync"
	"time"

	"github.com/farreach/farreach/oic"
)

// A device that keeps readings while it is away sends them later, and says in
// each when it was taken. That time is kept beside the time of receipt:
//
//	body ── property "timestamp" ──▶ Event.DeviceTime
//	                                     └── before that of an event which came earlier ──▶ Event.Late
//
// Late events stay where they were received in the log: the order of the log is
// the order in which things became known, and what was decided on it stays true.

// ownTime is the property in which a representation says when it was true, as
// oic.r.time.stamp does: a date and time of RFC 3339, or a number of seconds or
// milliseconds since 1970. Others, as the datetime of a clock, are what is
// measured, not when.
const ownTime = "timestamp"

// The times that are taken for true: a clock that was never set, or set wrongly,
// says nothing.
const (
	ownEarliest = 946_684_800    // 2000-01-01, seconds
	ownAhead    = 24 * time.Hour // of the receipt
	ownMillis   = 1e11           // a greater number counts milliseconds: the year 5138 otherwise
)

// deviceTime is when a representation that is received at a time was true, as
// the device says; zero if it does not.
func deviceTime(f oic.ContentFormat, body []byte, received time.Time) (t time.Time) {
	v := oic.Property(f, body, ownTime)
	switch v.Kind {
	case oic.String:
		var err error
		if t, err = time.Parse(time.RFC3339Nano, string(v.Text)); err != nil {
			return time.Time{}
		}
	case oic.Number:
		if v.Number >= ownMillis {
			v.Number /= 1000
		}
		if !(v.Number >= ownEarliest && v.Number < ownMillis) {
			return time.Time{}
		}
		whole, part := math.Modf(v.Number)
		t = time.Unix(int64(whole), int64(math.Round(part*1e6))*1000) // a float has no nanoseconds left
	}
	if t.Unix() < ownEarliest || t.After(received.Add(ownAhead)) {
		return time.Time{}
	}
	return t.UTC()
}

// When is the time at which ev was true: as its device says, else when it was
// received.
func (ev *Event) When() time.Time {
	if !ev.DeviceTime.IsZero() {
		return ev.DeviceTime
	}
	return ev.Time
}

// newest knows the greatest device time of each resource that tells any.
type newest struct {
	mu sync.Mutex // guards at
	at map[key]time.Time
}

// maxNewest is how many resources are known; beyond, others are forgotten.
const maxNewest = 1 << 16

// get returns the time of a resource, zero if it is not known.
func (n *newest) get(k key) time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.at[k]
}

// raise takes note of an event. It may come more than once.
func (n *newest) raise(k key, t time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	old, ok := n.at[k]
	switch {
	case ok && !t.After(old):
		return
	case n.at == nil:
		n.at = map[key]time.Time{}
	}
	for some := range n.at {
		if ok || len(n.at) < maxNewest {
			break
		}
		delete(n.at, some)
	}
	n.at[k] = t
}
