package api_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/farreach/farreach/cloud/account"
	"github.com/farreach/farreach/oic"
)

// live is what a live stream tells, until it has told a kind of message: all as
// the names of these, each once in a row, and the last one.
func live(t *testing.T, in *bufio.Reader, until string) (kinds string, last streamed) {
	t.Helper()
	var list []string
	for last.kind != until {
		last = nextEvent(t, in)
		list = append(list, last.kind)
	}
	return strings.Join(slices.Compact(list), " "), last
}

func resume(id string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Last-Event-ID", id) }
}

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
	if e := nextEvent(t, in); e.kind != "state" || e.id != "" || !strings.Contains(e.data, `"rep":{"value":true}`) {
		t.Errorf("%+v", e)
	}
	if e := nextEvent(t, in); e.kind != "ready" || e.id != "3" {
		t.Errorf("%+v", e)
	}
	h.report("\xa1\x65value\xf4")
	if e := nextEvent(t, in); e.kind != "event" || e.id != "4" || !strings.Contains(e.data, `"value":false`) {
		t.Errorf("%+v", e)
	}
	if err := h.cloud.DeleteDevice(t.Context(), oic.Identity{Account: "home"}, lamp); err != nil {
		t.Fatal(err)
	}
	if _, gone := live(t, in, "gone"); !strings.Contains(gone.data, lamp) {
		t.Errorf("%+v", gone)
	}
}

// TestLiveResumed: who comes back is told what happened meanwhile, and of a device
// that has gone that it is none of those there are. What another store has told
// means nothing to this one.
func TestLiveResumed(t *testing.T) {
	h := newHome(t)
	_, ready := live(t, h.streamOf("/api/v1/live"), "ready")
	for i := range 3 {
		h.report("\xa1\x65value" + string([]byte{byte(i)}))
	}
	for _, c := range []struct{ id, kinds, newest string }{
		{ready.id, "hello device event ready", `"value":2`},
		{"3", "hello device event ready", `"value":2`},
		{"4", "hello device ready", ""},
		{"999", "hello device state ready", `"value":2`},
	} {
		in := h.streamOf("/api/v1/live", resume(c.id))
		var hello struct{ Resumed bool }
		var all []string
		var newest streamed
		for len(all) == 0 || all[len(all)-1] != "ready" {
			e := nextEvent(t, in)
			if all = append(all, e.kind); e.kind == "hello" {
				if err := json.Unmarshal([]byte(e.data), &hello); err != nil {
					t.Fatal(err)
				}
			} else if e.kind == "event" || e.kind == "state" {
				newest = e
			}
		}
		if got := strings.Join(slices.Compact(all), " "); got != c.kinds || hello.Resumed != (c.id != "999") || !strings.Contains(newest.data, c.newest) {
			t.Errorf("after %s: %s, resumed %v, %+v; want %s", c.id, got, hello.Resumed, newest, c.kinds)
		}
	}
	if err := h.cloud.DeleteDevice(t.Context(), oic.Identity{Account: "home"}, lamp); err != nil {
		t.Fatal(err)
	}
	if kinds, _ := live(t, h.streamOf("/api/v1/live", resume("1")), "ready"); kinds != "hello ready" {
		t.Errorf("without a device: %s", kinds)
	}
}

// TestLiveShared: what others share is told as what is one's own, for as long as
// they do.
func TestLiveShared(t *testing.T) {
	h := newHome(t)
	as := func(name string, change ...func(*http.Request)) *bufio.Reader {
		return bufio.NewReader(h.ask("GET", "/api/v1/live", h.as(name), "", change...).Body)
	}
	in := as("viewer")
	kinds, ready := live(t, in, "ready")
	if kinds != "hello device state ready" {
		t.Errorf("shared: %s", kinds)
	}
	h.report("\xa1\x65value\xf4")
	if e := nextEvent(t, in); e.kind != "event" || !strings.Contains(e.data, `"value":false`) {
		t.Errorf("%+v", e)
	}
	if kinds, _ := live(t, as("viewer", resume(ready.id)), "ready"); kinds != "hello device state event ready" {
		t.Errorf("resumed: %s", kinds)
	}
	other := as("other")
	if kinds, _ := live(t, other, "ready"); kinds != "hello ready" {
		t.Errorf("nothing shared: %s", kinds)
	}
	h.report("\xa1\x65value\xf5")
	h.share("other", account.Viewer)
	if kinds, end := live(t, other, "end"); kinds != "end" || !strings.Contains(end.data, "share") {
		t.Errorf("shared now: %s, %+v", kinds, end)
	}
	mine, _, err := h.cloud.Shares(t.Context(), oic.Identity{Account: "home"})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range mine {
		if err := h.cloud.EndShare(t.Context(), oic.Identity{Account: "home"}, s.ID); err != nil {
			t.Fatal(err)
		}
	}
	h.report("\xa1\x65value\xf4")
	if _, gone := live(t, in, "gone"); !strings.Contains(gone.data, lamp) {
		t.Errorf("%+v", gone)
	}
}
