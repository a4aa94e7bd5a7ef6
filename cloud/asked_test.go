package cloud

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/farreach/farreach/oic"
)

// TestAsked: each request that went to a device is told of once, however it
// came, and none that did not.
func TestAsked(t *testing.T) {
	w := newWorld(t)
	var told []string
	w.asked = func(op oic.Op, _ time.Duration, err error) {
		status, _ := oic.StatusOf(err)
		if err == nil {
			status = oic.Content
		}
		told = append(told, fmt.Sprint(op, " ", status))
	}
	home := oic.Identity{Account: "home"}
	update := oic.Request{Op: oic.Update, Href: "/a/light", Body: []byte{0xf5}}
	_, _, err := w.Send(t.Context(), home, Order{Device: lamp, Request: update})
	w.must(err)
	_, _ = w.way(home).Handle(t.Context(), &update)
	_, _ = w.way(home).Handle(t.Context(), &oic.Request{Op: oic.Retrieve, Href: "/a/light"})
	_, _, _ = w.Send(t.Context(), oic.Identity{Account: "barn"}, Order{Device: lamp, Request: update})
	_, _, _ = w.Send(t.Context(), home, Order{Device: door, Request: update})
	_, _, _ = w.Send(t.Context(), home, Order{Device: door, Request: update, Queue: time.Hour})
	want := []string{"update 2.05 Content", "update 2.05 Content", "retrieve 2.05 Content", "update 5.03 Service Unavailable"}
	if !slices.Equal(told, want) {
		t.Errorf("%q\nwant %q", told, want)
	}
}
