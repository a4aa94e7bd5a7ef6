package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/oic"
)

// TestHeartbeat: a silent stream shows every 15 s that it lives, and says why
// it ends.
func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &Handler{log: slog.New(slog.DiscardHandler), ending: make(chan struct{})}
		out := httptest.NewRecorder()
		ended := make(chan error, 1)
		time.AfterFunc(50*time.Second, func() { ended <- oic.Errorf(oic.Unauthorized, "the login no longer holds") })
		if err := h.send(t.Context(), newSSE(out), oic.Identity{}, make(chan event.News), ended); err != nil {
			t.Fatal(err)
		}
		const want = ":\n\n" + ":\n\n:\n\n:\n\n" +
			"event: end\ndata: {\"schema\":\"farreach.end/v1\",\"reason\":\"the login no longer holds\"}\n\n"
		if got := out.Body.String(); got != want {
			t.Errorf("stream %q\n  want %q", got, want)
		}
	})
}

// TestReadyIsAskedOnce: anybody may ask, but not make the store work.
func TestReadyIsAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h health
		asked := 0
		ask := func(context.Context) error { asked++; return errors.New("no") }
		for range 30 {
			if h.ready(t.Context(), ask) == nil {
				t.Error("ready although it is not")
			}
			time.Sleep(100 * time.Millisecond) // of the bubble
		}
		if asked > 3 {
			t.Errorf("asked %d times in 3 s", asked)
		}
	})
}
