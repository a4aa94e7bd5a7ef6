package cloud

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/farreach/farreach/cloud/directory"
	"github.com/farreach/farreach/oic"
)

// A watcher is told of its own account's devices alone: as they are, and
// whenever one comes or goes.
func TestWatchPresence(t *testing.T) {
	w := newWorld(t)
	seen := make(chan DeviceInfo, 8)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- w.WatchPresence(ctx, oic.Identity{Account: "home"}, PresenceWatch{Each: func(d DeviceInfo) error {
			seen <- d
			return nil
		}})
	}()
	first := []DeviceInfo{<-seen, <-seen}
	for di, want := range map[string]directory.State{lamp: directory.Reachable, door: directory.Unknown} {
		if !slices.ContainsFunc(first, func(d DeviceInfo) bool { return d.ID == di && d.Presence.State == want }) {
			t.Errorf("%s is not %s at first: %v", di, want, first)
		}
	}
	w.attach(w.shed).detach() // another account's
	w.thing.detach()
	if d := <-seen; d.ID != lamp || d.Presence.State != directory.Offline || d.Name != "lamp" {
		t.Errorf("after the lamp went: %v", d)
	}
	w.attach(w.lamp)
	if d := <-seen; d.ID != lamp || d.Presence.State != directory.Reachable {
		t.Errorf("after the lamp came back: %v", d)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	w.presence.mu.Lock()
	defer w.presence.mu.Unlock()
	if len(w.presence.all) != 0 {
		t.Error("somebody still watches")
	}
}

func TestPasswordChanged(t *testing.T) {
	var changed []string
	w := newWorld(t)
	w.passwordChanged = func(name string) { changed = append(changed, name) }
	w.must(w.SetPassword(t.Context(), operator, "home", "another long password"))
	w.status("a short password", w.SetPassword(t.Context(), operator, "barn", "x"), oic.BadRequest)
	if !slices.Equal(changed, []string{"home"}) {
		t.Errorf("told of %v", changed)
	}
}
