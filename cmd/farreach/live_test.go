package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/cloud"
	"github.com/farreach/farreach/cloud/directory"
	"github.com/farreach/farreach/oic"
)

func TestComings(t *testing.T) {
	start := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	c := comings{start: start, known: map[string]directory.Presence{}}
	for _, step := range []struct {
		di    string
		made  int // seconds from the start, as at
		links int
		state directory.State
		at    int
		want  string
	}{
		{"old", -9, 1, directory.Unknown, 0, ""},
		{"old", -9, 1, directory.Reachable, 1, "here again"},
		{"new", 5, 0, directory.Reachable, 5, ""}, // without a name yet
		{"new", 5, 1, directory.Reachable, 5, "joined"},
		{"new", 5, 2, directory.Reachable, 5, ""}, // published more
		{"new", 5, 2, directory.Unproven, 8, ""},
		{"new", 5, 2, directory.Reachable, 5, ""}, // speaks again
		{"new", 5, 2, directory.Offline, 10, "offline"},
		{"new", 5, 2, directory.Reachable, 24, "back after 14 s"},
		{"old", -9, 1, directory.Offline, 30, "offline"},
		{"old", -9, 1, directory.Reachable, 30 + 7200, "back after 2 h"},
	} {
		after := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
		d := cloud.DeviceInfo{
			Device:   directory.Device{ID: step.di, Created: after(step.made), Links: make([]oic.Link, step.links)},
			Presence: directory.Presence{State: step.state, Since: after(step.at)},
		}
		if got := c.tell(d); got != step.want {
			t.Errorf("%s %s at %d s: %q, want %q", step.di, step.state, step.at, got, step.want)
		}
	}
}

// TestLiveFlood: of a thousand events in a second few are shown, the rest is
// counted, and the next second begins anew.
func TestLiveFlood(t *testing.T) {
	var out bytes.Buffer
	a := &app{out: &out}
	l := &live{app: a, events: ration{what: "events"}, devices: ration{what: "devices"}}
	flood := func(n int) {
		for range n {
			if err := l.line(&l.events, func() error { return a.screen().Line("event") }); err != nil {
				t.Fatal(err)
			}
		}
	}
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	flood(1000)
	if err := l.line(&l.devices, func() error { return a.screen().Line("device") }); err != nil {
		t.Fatal(err)
	}
	for range 2 { // nothing is said twice
		if err := l.next(now); err != nil {
			t.Fatal(err)
		}
	}
	flood(3)
	want := strings.Repeat("event\n", lineRate) + "device\n2026-01-31T12:00:00Z\t…\t980 more events\n" + strings.Repeat("event\n", 3)
	if got := out.String(); got != want {
		t.Errorf("shown:\n%s\nwant:\n%s", got, want)
	}
}
