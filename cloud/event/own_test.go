package event

import (
	"testing"
	"time"

	"github.com/farreach/farreach/oic"
)

// TestDeviceTime: which representations say when they were true.
func TestDeviceTime(t *testing.T) {
	received := time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)
	for body, want := range map[string]string{
		`{"timestamp":"2026-01-31T07:59:00Z","value":1}`:     "2026-01-31T07:59:00Z",
		`{"timestamp":"2026-01-31T08:59:00.25+01:00"}`:       "2026-01-31T07:59:00.25Z",
		`{"timestamp":1769846340}`:                           "2026-01-31T07:59:00Z",
		`{"timestamp":1769846340.5}`:                         "2026-01-31T07:59:00.5Z",
		`{"timestamp":1769846340250}`:                        "2026-01-31T07:59:00.25Z",
		`{"timestamp":"2026-02-01T07:59:00Z"}`:               "2026-02-01T07:59:00Z", // a clock of another time zone
		`{"timestamp":"2026-02-01T08:01:00Z"}`:               "",
		`{"timestamp":"1970-01-01T00:01:00Z"}`:               "",
		`{"timestamp":60}`:                                   "",
		`{"timestamp":-1769846340}`:                          "",
		`{"timestamp":1e300}`:                                "",
		`{"timestamp":"yesterday"}`:                          "",
		`{"timestamp":true}`:                                 "",
		`{"timestamp":["2026-01-31T07:59:00Z"]}`:             "",
		`{"datetime":"2026-01-31T07:59:00Z"}`:                "",
		`{"values":{"timestamp":"2026-01-31T07:59:00Z"}}`:    "",
		`[{"timestamp":"2026-01-31T07:59:00Z"}]`:             "",
		`{"timestamp":"9999-12-31T23:59:59Z","timestam":""}`: "",
	} {
		b, err := oic.FromJSON(oic.OCF, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		got := deviceTime(oic.OCF, b, received)
		if text := got.Format(time.RFC3339Nano); got.IsZero() != (want == "") || want != "" && text != want {
			t.Errorf("%s: %v, want %s", body, got, want)
		}
	}
}

// TestLate: what is received late keeps its place in the log, and is marked as
// such, also in another life.
func TestLate(t *testing.T) {
	e := newKeeping(t, Config{})
	now := time.Now()
	say := func(device string, minutes int) Event {
		t.Helper()
		body, err := oic.Encode(oic.OCF, map[string]any{"timestamp": now.Add(time.Duration(minutes) * time.Minute).UTC().Format(time.RFC3339)})
		if err != nil {
			t.Fatal(err)
		}
		ev, err := e.Append(t.Context(), Event{Account: "home", Device: device, Href: "/a", Format: oic.OCF, Body: body})
		if err != nil {
			t.Fatal(err)
		}
		return ev
	}
	for i, c := range []struct {
		device  string
		minutes int
		late    bool
	}{{"a", -5, false}, {"a", -4, false}, {"b", -9, false}, {"a", -7, true}, {"a", -6, true}, {"a", -4, false}, {"a", -1, false}, {"b", -10, true}} {
		if i == 3 {
			e.newest.mu.Lock()
			e.newest.at = nil // as after a start
			e.newest.mu.Unlock()
		}
		ev := say(c.device, c.minutes)
		if ev.Late != c.late || ev.DeviceTime.IsZero() || ev.When() != ev.DeviceTime || ev.Time.Sub(ev.DeviceTime) < time.Minute/2 {
			t.Errorf("event %d: %+v, want late: %v", i, ev, c.late)
		}
		last, err := e.Last(t.Context(), "home", c.device, "/a")
		if err != nil || last.Late != c.late || !last.DeviceTime.Equal(ev.DeviceTime) {
			t.Errorf("last is %+v, %v", last, err)
		}
	}
}

// TestNewestIsBounded: of so many resources that tell their time, some are
// forgotten.
func TestNewestIsBounded(t *testing.T) {
	var n newest
	at := time.Now()
	for i := range maxNewest + 10 {
		n.raise(key{"home", "lamp", string(rune(i))}, at)
	}
	n.raise(key{"home", "lamp", string(rune(maxNewest + 9))}, at.Add(-1))
	if len(n.at) > maxNewest || n.get(key{"home", "lamp", string(rune(maxNewest + 9))}) != at {
		t.Errorf("%d are known", len(n.at))
	}
}
