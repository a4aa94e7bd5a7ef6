package event

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

func newKeeping(t *testing.T, cfg Config) *Events {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{Dir: filepath.Join(t.TempDir(), "data"), Sync: time.Minute, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	e, err := Open(t.Context(), s, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func (e *Events) report(t *testing.T, device, body string) {
	t.Helper()
	_, err := e.Append(t.Context(), Event{Account: "home", Device: device, Href: "/a/light", Format: oic.OCF, Body: []byte(body)})
	if err != nil {
		t.Fatal(err)
	}
}

// state is the last state of a device, and whether its event is still there.
func (e *Events) state(t *testing.T, device string) (body string, event bool) {
	t.Helper()
	ev, err := e.Last(t.Context(), "home", device, "/a/light")
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	return string(ev.Body), ev.Seq > 0
}

// TestStateOutlivesSize: a device that is silent while others fill the log
// keeps its last state, and only the state.
func TestStateOutlivesSize(t *testing.T) {
	e := newKeeping(t, Config{MaxBytes: 1 << 20})
	e.report(t, "silent", "before")
	e.report(t, "silent", "last")
	var done border
	kept := 0
	for i := range 200 {
		e.report(t, "talker", fmt.Sprint(i, strings.Repeat("x", 10_000)))
		n, err := e.keepStates(t.Context(), &done, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		kept += n
	}
	if body, event := e.state(t, "silent"); body != "last" || event {
		t.Errorf("the last state is %q, with its event: %v", body, event)
	}
	if body, event := e.state(t, "talker"); !strings.HasPrefix(body, "199") || !event {
		t.Errorf("the talker's last state is %.10q, with its event: %v", body, event)
	}
	if kept != 1 {
		t.Errorf("%d states were kept", kept)
	}
	states := map[string]int{}
	err := e.States(t.Context(), "home", "", func(ev Event) bool { states[ev.Device]++; return true })
	if err != nil || states["silent"] != 1 || states["talker"] != 1 {
		t.Errorf("states %v, %v", states, err)
	}
	found := 0
	err = e.Query(t.Context(), Filter{Account: "home", Device: "silent"}, func(Event) bool { found++; return true })
	if err != nil || found != 0 {
		t.Errorf("%d events of the silent device, %v", found, err)
	}
	e.report(t, "silent", "back")
	if body, event := e.state(t, "silent"); body != "back" || !event {
		t.Errorf("the newest state is %q, with its event: %v", body, event)
	}
	if err := e.Purge(t.Context(), "home", "silent"); err != nil {
		t.Fatal(err)
	}
	if body, _ := e.state(t, "silent"); body != "" {
		t.Errorf("a purged device has the state %q", body)
	}
}

// TestStateOutlivesAge: what is kept, and when, by the age of events.
func TestStateOutlivesAge(t *testing.T) {
	const age = 80 * 24 * time.Hour
	e := newKeeping(t, Config{MaxAge: age})
	e.report(t, "silent", "last")
	start := time.Now()
	var done border
	for _, c := range []struct {
		days int
		want int // states that are kept then
	}{{0, 0}, {60, 0}, {69, 0}, {71, 1}, {72, 0}, {79, 0}, {82, 1}} {
		n, err := e.keepStates(t.Context(), &done, start.Add(time.Duration(c.days)*24*time.Hour))
		if err != nil || n != c.want {
			t.Errorf("after %d days: %d, %v, want %d", c.days, n, err, c.want)
		}
	}
	err := e.records.Purge(t.Context(), nil) // as age does
	if err != nil {
		t.Fatal(err)
	}
	if body, event := e.state(t, "silent"); body != "last" || event {
		t.Errorf("the last state is %q, with its event: %v", body, event)
	}
}
