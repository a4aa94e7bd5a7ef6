package api_test

import (
	"fmt"
	"testing"
)

func TestAudit(t *testing.T) {
	h := newHome(t)
	document(t, h.ask("POST", "/api/v1/tokens", h.as("home"), `{"name":"panel","scope":"read"}`), 201)
	list := func(token, query string) []any {
		t.Helper()
		return document(t, h.ask("GET", "/api/v1/audit"+query, token, ""), 200)["entries"].([]any)
	}
	first := list(h.as("home"), "?limit=1")[0].(map[string]any)
	if first["what"] != "token.create" || first["account"] != "home" || fmt.Sprint(first["by"].(map[string]any)["name"]) != "test" {
		t.Errorf("newest entry: %v", first)
	}
	var all []any // page by page
	for query := "?limit=2"; query != ""; {
		doc := document(t, h.ask("GET", "/api/v1/audit"+query, h.as("home"), ""), 200)
		all = append(all, doc["entries"].([]any)...)
		if query = ""; doc["next"] != nil {
			query = "?limit=2&cursor=" + fmt.Sprint(doc["next"])
		}
	}
	if whole := list(h.as("home"), ""); len(whole) != len(all) || len(all) < 4 {
		t.Errorf("%d entries page by page, %d at once", len(all), len(whole))
	}
	document(t, h.ask("GET", "/api/v1/audit?account=home", h.as("other"), ""), 403)
	document(t, h.ask("GET", "/api/v1/audit?everybody=true", h.as("home"), ""), 403)
	if got := list(h.as("root"), "?account=home"); len(got) != len(all) {
		t.Errorf("an admin sees %d entries of home, want %d", len(got), len(all))
	}
	if got := list(h.as("root"), "?everybody=true"); len(got) <= len(all) {
		t.Errorf("an admin sees %d entries of everybody", len(got))
	}
	document(t, h.ask("GET", "/api/v1/audit?cursor=!", h.as("home"), ""), 400)
}
