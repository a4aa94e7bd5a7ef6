package api_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestCommands: what was asked, by whom, and what came of it, in pages.
func TestCommands(t *testing.T) {
	h := newHome(t)
	h.plug()
	for i := range 5 {
		document(t, h.ask("POST", light, h.as("home"), fmt.Sprintf(`{"value":%d}`, i)), 200)
	}
	var values []string
	path := "/api/v1/commands?device=" + strings.ToUpper(lamp) + "&state=done&limit=2"
	for pages := 0; path != ""; pages++ {
		resp := h.ask("GET", path, h.as("home"), "")
		doc := document(t, resp, 200)
		for _, item := range doc["commands"].([]any) {
			cmd := item.(map[string]any)
			by := cmd["by"].(map[string]any)
			if cmd["schema"] != "farreach.command/v1" || cmd["op"] != "update" || cmd["href"] != "/a/light" || cmd["status"] != "2.04" ||
				cmd["name"] != "lamp" || by["kind"] != "token" || by["name"] != "test" || by["account"] != "home" || cmd["sent"] == nil || cmd["ended"] == nil {
				t.Errorf("%v", cmd)
			}
			if cmd["answer"].(map[string]any)["value"] != true {
				t.Errorf("answer %v", cmd["answer"])
			}
			values = append(values, fmt.Sprint(cmd["rep"].(map[string]any)["value"]))
		}
		next, _ := doc["next"].(string)
		if path = ""; next != "" {
			path = "/api/v1/commands?limit=2&cursor=" + next
		}
		if link := resp.Header.Get("Link"); (link != "") != (next != "") || pages > 3 {
			t.Fatalf("page %d: next %q, Link %q", pages, next, link)
		}
	}
	if fmt.Sprint(values) != "[4 3 2 1 0]" {
		t.Errorf("commands %v", values)
	}
	for query, want := range map[string]int{
		"?state=nonsense": 422, "?cursor=!": 400, "?limit=0": 200, "?since=2100-01-01T00:00:00Z": 200, "?device=x": 404, "?device=" + lamp + "&state=failed": 200,
	} {
		document(t, h.ask("GET", "/api/v1/commands"+query, h.as("home"), ""), want)
	}
}

// TestCancelCommand: one that waits can be taken back, once.
func TestCancelCommand(t *testing.T) {
	h := newHome(t)
	doc := document(t, h.ask("POST", light+"?queue=10m", h.as("home"), `{"value":true}`), 202)
	path := "/api/v1/commands/" + doc["id"].(string)
	document(t, h.ask("DELETE", path, h.as("other"), ""), 404)
	document(t, h.ask("GET", path, h.as("other"), ""), 404)
	doc = document(t, h.ask("DELETE", path, h.as("home"), ""), 200)
	if doc["state"] != "cancelled" || doc["why"] != "by home, by token test" {
		t.Errorf("%v", doc)
	}
	doc = document(t, h.ask("DELETE", path, h.as("home"), ""), 409)
	if doc["detail"] != "the command does not wait: it is cancelled" {
		t.Errorf("%v", doc)
	}
}

// TestUnknownDevice: what is about one device that is not there, or not for who
// asks, is not found; a stream does not wait for it.
func TestUnknownDevice(t *testing.T) {
	h := newHome(t)
	const nobody = "9e0b1d2c-0000-4000-8000-000000000000"
	for _, path := range []string{
		"/api/v1/devices/%", "/api/v1/devices/%/resources/a/light", "/api/v1/why?device=%",
		"/api/v1/events?device=%", "/api/v1/events/series?device=%&href=/a/light&property=value",
		"/api/v1/events/export?device=%", "/api/v1/events/export?format=csv&device=%", "/api/v1/events/stream?device=%",
		"/api/v1/commands?device=%", "/api/v1/commands/stream?device=%",
	} {
		for _, column := range []string{"home", "other", "root"} {
			if p := document(t, h.ask("GET", strings.Replace(path, "%", nobody, 1), h.as(column), ""), 404); p["detail"] != "no such device" {
				t.Errorf("%s as %s: %v", path, column, p)
			}
		}
	}
}
