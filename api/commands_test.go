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
