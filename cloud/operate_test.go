package cloud

import (
	"testing"
	"time"
)

// silent is a device that is connected and was last heard of long ago.
type silent struct{ *thing }

func (silent) LastSeen() time.Time { return time.Now().Add(-time.Hour) }

// The census tells a device that is connected and silent from one that has
// not been seen since the server started.
func TestCensus(t *testing.T) {
	w := newWorld(t) // the lamp is connected, door and shed were never
	check := func(what string, want Census) {
		t.Helper()
		got, err := w.Census(t.Context(), operator)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", what, got, err, want)
		}
	}
	check("lamp connected", Census{Reachable: 1, Unknown: 2})
	s := &silent{&thing{closed: make(chan string, 8)}}
	detach, _, err := w.Attach(t.Context(), w.door, s)
	w.must(err)
	check("door silent", Census{Reachable: 1, Unproven: 1, Unknown: 1})
	detach()
	w.thing.detach()
	check("both gone", Census{Offline: 2, Unknown: 1})
}
