package cloud

import (
	"context"
	"testing"

	"github.com/farreach/farreach/cloud/account"
	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/oic"
)

// TestSharedEvents: the events of a device that is shared are found, for as long
// as it is shared, and nobody else's.
func TestSharedEvents(t *testing.T) {
	w := newWorld(t)
	w.must(w.Event(t.Context(), w.lamp, "/a/light", &oic.Response{Status: oic.Content, Format: oic.OCF, Body: []byte("\xf5")}))
	found := func(account, device string) (n int) {
		t.Helper()
		_, who := w.token(account, 0)
		w.must(w.Events(t.Context(), who, event.Filter{Device: device}, func(event.Event) bool { n++; return true }))
		return n
	}
	for account, want := range map[string]int{"home": 1, "guest": 1, "partner": 1, "barn": 0} {
		if n := found(account, lamp); n != want {
			t.Errorf("%s finds %d events of the lamp", account, n)
		}
	}
	if n := found("guest", ""); n != 1 {
		t.Errorf("guest finds %d events of all", n)
	}
	_, guest := w.token("barn", 0)
	share := w.share(lamp, "barn", account.Viewer)
	ended := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	begun := make(chan bool)
	go func() {
		ended <- w.FollowNews(ctx, guest, event.Filter{Device: lamp, Begun: func() { close(begun) }}, 0, func(event.News) error { return nil })
	}()
	<-begun
	w.must(w.EndShare(t.Context(), oic.Identity{Account: "home"}, share.ID))
	w.status("a share that ends", <-ended, oic.NotFound)
	if n := found("barn", lamp); n != 0 {
		t.Errorf("barn finds %d events afterwards", n)
	}
}
