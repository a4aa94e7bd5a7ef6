package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/farreach/farreach/oic"
)

// TestLive: hello, the devices, the last states, ready, and then what happens.
func TestLive(t *testing.T) {
	h := newHome(t)
	h.report("\xa1\x65value\xf4")
	h.report("\xa1\x65value\xf5")
	in := h.streamOf("/api/v1/live")
	if e := nextEvent(t, in); e.kind != "hello" || !strings.Contains(e.data, `"resumed":false`) {
		t.Errorf("%+v", e)
	}
	if e := nextEvent(t, in); e.kind != "device" || !strings.Contains(e.data, `"name":"lamp"`) {
		t.Errorf("%+v", e)
	}
	var state streamed // the newest one; older ones may come before it
	e := nextEvent(t, in)
	for ; e.kind == "event"; e = nextEvent(t, in) {
		state = e
	}
	if e.kind != "ready" || !strings.Contains(state.data, `"rep":{"value":true}`) {
		t.Errorf("%+v after %+v", e, state)
	}
	h.report("\xa1\x65value\xf4")
	if e := nextEvent(t, in); e.kind != "event" || !strings.Contains(e.data, `"value":false`) {
		t.Errorf("%+v", e)
	}
	if err := h.cloud.DeleteDevice(t.Context(), oic.Identity{Account: "home"}, lamp); err != nil {
		t.Fatal(err)
	}
	for {
		if e := nextEvent(t, in); e.kind == "gone" && strings.Contains(e.data, lamp) {
			break
		}
	}

	again := h.streamOf("/api/v1/live", func(r *http.Request) { r.Header.Set("Last-Event-ID", state.id) })
	var hello struct{ Resumed bool }
	if err := json.Unmarshal([]byte(nextEvent(t, again).data), &hello); err != nil || !hello.Resumed {
		t.Errorf("not resumed: %v", err)
	}
}
