package api_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
)

const doorRule = `{"name":"lamp-at-the-door","when":{"event":{"device":"door","href":"/a/door","if":"event.value","for":"5s"}},` +
	`"then":[{"command":{"device":"lamp","href":"/a/light","set":{"value":true}}},{"message":{"text":"open"}}],"limits":{"per_hour":9}}`

// TestRules: a rule is made, seen, changed by who has seen it, and removed.
func TestRules(t *testing.T) {
	h := newHome(t)
	as := h.as("home")
	match := func(tag string) func(*http.Request) { return func(r *http.Request) { r.Header.Set("If-Match", tag) } }
	made := h.ask("POST", "/api/v1/rules", as, doorRule)
	path, tag := made.Header.Get("Location"), made.Header.Get("ETag")
	doc := document(t, made, 201)
	if doc["revision"] != 1.0 || doc["name"] != "lamp-at-the-door" || tag != `"1"` || path != "/api/v1/rules/"+doc["id"].(string) {
		t.Fatalf("made %v, tag %s, at %s", doc, tag, path)
	}
	if when := doc["when"].(map[string]any)["event"].(map[string]any); when["for"] != "5s" {
		t.Errorf("when %v", when)
	}
	document(t, h.ask("POST", "/api/v1/rules", as, doorRule), 409)
	if list := document(t, h.ask("GET", "/api/v1/rules", as, ""), 200)["rules"].([]any); len(list) != 1 {
		t.Errorf("rules %v", list)
	}
	got := document(t, h.ask("GET", path, as, ""), 200)
	if state := got["state"].(map[string]any); state["fired"] != 0.0 {
		t.Errorf("state %v", state)
	}
	if resp := h.ask("GET", path, as, "", func(r *http.Request) { r.Header.Set("If-None-Match", tag) }); resp.StatusCode != 304 {
		t.Errorf("not changed: %d", resp.StatusCode)
	}
	other := strings.Replace(doorRule, `"for":"5s"`, `"for":"6s"`, 1)
	document(t, h.ask("PUT", path, as, other), 428)
	if doc := document(t, h.ask("PUT", path, as, other, match(tag)), 200); doc["revision"] != 2.0 {
		t.Errorf("changed %v", doc)
	}
	document(t, h.ask("PUT", path, as, doorRule, match(tag)), 412)
	if list := document(t, h.ask("GET", path+"/revisions", as, ""), 200)["rules"].([]any); len(list) != 2 {
		t.Errorf("revisions %v", list)
	}
	if runs := document(t, h.ask("GET", path+"/runs", as, ""), 200)["runs"].([]any); len(runs) != 0 {
		t.Errorf("runs %v", runs)
	}
	for _, who := range []string{"other", "root", "member", "viewer"} {
		document(t, h.ask("GET", path, h.as(who), ""), 404)
		document(t, h.ask("PUT", path, h.as(who), doorRule, match("*")), 404)
		document(t, h.ask("DELETE", path, h.as(who), "", match("*")), 404)
	}
	if resp := h.ask("DELETE", path, as, "", match(`"2"`)); resp.StatusCode != 204 {
		t.Errorf("removed: %d", resp.StatusCode)
	}
	document(t, h.ask("GET", path, as, ""), 404)
}

// TestRuleInShort: a message, a webhook and a time of day may be written as a text,
// as in a file, and are told as the objects that they mean; the document says both.
func TestRuleInShort(t *testing.T) {
	h := newHome(t)
	as := h.as("home")
	short := `{"name":"morning","when":{"at":"07:30"},"then":[{"message":"good morning"},{"webhook":"pager"},{"message":{"text":"get up"}}]}`
	made := document(t, h.ask("POST", "/api/v1/rules", as, short), 201)
	want := `{"at":{"time":"07:30"}} [{"message":{"text":"good morning"}},{"webhook":{"name":"pager"}},{"message":{"text":"get up"}}]`
	when, _ := json.Marshal(made["when"])
	then, _ := json.Marshal(made["then"])
	if got := string(when) + " " + string(then); got != want {
		t.Errorf("made %s\nwant %s", got, want)
	}
	for _, wrong := range []string{`3`, `null`, `["x"]`, `{"txt":"x"}`, `{"text":3}`, `{}`, `""`} {
		resp := h.ask("POST", "/api/v1/rules", as, `{"name":"other","when":{"at":"07:30"},"then":[{"message":`+wrong+`}]}`)
		document(t, resp, 422)
	}
	openapi := document(t, h.ask("GET", "/openapi.json", "", ""), 200)
	schemas := openapi["components"].(map[string]any)["schemas"].(map[string]any)
	for _, name := range []string{"At", "Message", "Notice"} {
		types := []any{}
		for _, one := range schemas[name].(map[string]any)["oneOf"].([]any) {
			types = append(types, one.(map[string]any)["type"])
		}
		if !slices.Equal(types, []any{"object", "string"}) {
			t.Errorf("%s is one of %v", name, types)
		}
	}
}

// TestBadRules: what is wrong with a rule is told with its place.
func TestBadRules(t *testing.T) {
	h := newHome(t)
	for _, c := range []struct{ body, where, why string }{
		{strings.Replace(doorRule, "event.value", "event.value &&", 1), "body.when.event.if", "1:15: mismatched input"},
		{strings.Replace(doorRule, "event.value", "event.l.all(x, event.l.all(y, x > y))", 1), "body.when.event.if", "may cost"},
		{strings.Replace(doorRule, `"href":"/a/light"`, `"href":"a"`, 1), "body.then.0.command.href", "is no path"},
		{strings.Replace(doorRule, `"5s"`, `"5 s"`, 1), "", ""},
		{strings.Replace(doorRule, `"for"`, `"four"`, 1), "body.when.event.four", "unexpected property"},
		{strings.Replace(doorRule, `"when"`, `"wen"`, 1), "body", "required property when"},
		{strings.Replace(doorRule, `"per_hour":9`, `"per_hour":-1`, 1), "body.limits.per_hour", ""},
		{"{", "", ""},
		{strings.Repeat("[", 100_000), "", ""},
	} {
		resp := h.ask("POST", "/api/v1/rules", h.as("home"), c.body)
		if resp.StatusCode != 422 && resp.StatusCode != 400 {
			t.Errorf("%.80s: %d", c.body, resp.StatusCode)
		}
		doc := document(t, resp, resp.StatusCode)
		detail, _ := doc["detail"].(string)
		where := ""
		if list, _ := doc["errors"].([]any); len(list) > 0 {
			where, _ = list[0].(map[string]any)["location"].(string)
		}
		if !strings.Contains(detail, c.why) || c.where != "" && where != c.where {
			t.Errorf("%.80s: %s at %s\n want %s at %s", c.body, detail, where, c.why, c.where)
		}
	}
}

// TestConditionCheck: an editor learns type and cost, or what is wrong where.
func TestConditionCheck(t *testing.T) {
	h := newHome(t)
	check := func(text string) map[string]any {
		return document(t, h.ask("POST", "/api/v1/condition-checks", h.as("home"), `{"if":"`+text+`"}`), 200)
	}
	if doc := check("event.value > 3 && device.name == 'door'"); doc["ok"] != true || doc["type"] != "bool" || doc["cost"].(float64) < 1 || doc["most"] != 1e6 {
		t.Errorf("%v", doc)
	}
	if doc := check("event.value >\\n  foo"); doc["ok"] != false || doc["line"] != 2.0 || doc["column"] != 3.0 {
		t.Errorf("%v", doc)
	}
}

// TestRuleTest: the same rule over the past, before it is there and after.
func TestRuleTest(t *testing.T) {
	h := newHome(t)
	rule := strings.NewReplacer(`"event":{"device":"door","href":"/a/door","if":"event.value","for":"5s"}`, `"every":"1h"`).Replace(doorRule)
	doc := document(t, h.ask("POST", "/api/v1/rule-tests?since=2026-01-31T00:00:00Z&until=2026-02-01T00:00:00Z&limit=5", h.as("home"), rule), 200)
	if runs := doc["runs"].([]any); len(runs) != 5 || doc["fired"] != 23.0 {
		t.Errorf("%v", doc)
	}
	made := document(t, h.ask("POST", "/api/v1/rules", h.as("home"), doorRule), 201)
	doc = document(t, h.ask("POST", "/api/v1/rules/"+made["id"].(string)+"/test", h.as("home"), ""), 200)
	if doc["fired"] != 0.0 {
		t.Errorf("%v", doc)
	}
}
