package api_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
)

// columns are who asks, in the order of the statuses of a row. A device's
// token is not for the API: devices speak the Cloud Interface.
// The lamp is shared with viewer and member.
var columns = []string{"anonymous", "wrong token", "device token", "viewer", "member", "home", "other", "root"}

// access is the matrix of the API: what each route answers to whom. A route
// without a row fails TestMatrix.
var access = map[string]struct {
	body   string
	status [8]int
}{
	"GET /healthz":                                       {"", [8]int{200, 200, 200, 200, 200, 200, 200, 200}},
	"GET /readyz":                                        {"", [8]int{200, 200, 200, 200, 200, 200, 200, 200}},
	"GET /openapi.json":                                  {"", [8]int{200, 200, 200, 200, 200, 200, 200, 200}},
	"GET /.well-known/coap":                              {"", [8]int{400, 400, 400, 400, 400, 400, 400, 400}}, // a WebSocket only; who is there is asked within
	"GET /xmpp-websocket":                                {"", [8]int{400, 400, 400, 400, 400, 400, 400, 400}},
	"GET /api/v1/devices":                                {"", [8]int{401, 401, 401, 200, 200, 200, 200, 200}}, // each its own
	"GET /api/v1/devices/{di}":                           {"", [8]int{401, 401, 401, 200, 200, 200, 404, 200}}, // metadata only
	"DELETE /api/v1/devices/{di}":                        {"", [8]int{401, 401, 401, 403, 403, 204, 404, 204}},
	"GET /api/v1/devices/{di}/resources/{href}":          {"", [8]int{401, 401, 401, 503, 503, 503, 404, 403}}, // the lamp is away
	"PUT /api/v1/devices/{di}/resources/{href}":          {`{}`, [8]int{401, 401, 401, 403, 503, 503, 404, 403}},
	"POST /api/v1/devices/{di}/resources/{href}":         {`{}`, [8]int{401, 401, 401, 403, 503, 503, 404, 403}},
	"DELETE /api/v1/devices/{di}/resources/{href}":       {"", [8]int{401, 401, 401, 403, 503, 503, 404, 403}},
	"GET /api/v1/commands":                               {"", [8]int{401, 401, 401, 200, 200, 200, 200, 200}}, // each its own
	"GET /api/v1/commands/stream":                        {"", [8]int{401, 401, 401, 200, 200, 200, 200, 200}}, // each its own
	"GET /api/v1/webhooks":                               {"", [8]int{401, 401, 401, 200, 200, 200, 200, 200}}, // each its own
	"POST /api/v1/webhooks":                              {`{"name":"x","url":"ftp://x"}`, [8]int{401, 401, 401, 400, 400, 400, 400, 400}},
	"DELETE /api/v1/webhooks/{name}":                     {"", [8]int{401, 401, 401, 404, 404, 404, 404, 404}}, // each its own
	"GET /api/v1/webhooks/{name}":                        {"", [8]int{401, 401, 401, 404, 404, 404, 404, 404}}, // each its own
	"POST /api/v1/webhooks/{name}/retry":                 {"", [8]int{401, 401, 401, 404, 404, 404, 404, 404}}, // each its own
	"GET /api/v1/webhooks/{name}/deliveries":             {"", [8]int{401, 401, 401, 404, 404, 404, 404, 404}}, // each its own
	"GET /api/v1/webhooks/{name}/deliveries/{id}":        {"", [8]int{401, 401, 401, 404, 404, 404, 404, 404}}, // each its own
	"GET /api/v1/webhooks/{name}/deliveries/{id}/why":    {"", [8]int{401, 401, 401, 404, 404, 404, 404, 404}}, // each its own
	"POST /api/v1/webhooks/{name}/deliveries/{id}/retry": {"", [8]int{401, 401, 401, 404, 404, 404, 404, 404}}, // each its own
	"POST /api/v1/webhooks/{name}/test":                  {"", [8]int{401, 401, 401, 404, 404, 404, 404, 404}}, // each its own
	"GET /api/v1/commands/{id}":                          {"", [8]int{401, 401, 401, 404, 404, 404, 404, 404}},
	"DELETE /api/v1/commands/{id}":                       {"", [8]int{401, 401, 401, 404, 404, 404, 404, 404}},
	"GET /api/v1/why":                                    {"", [8]int{401, 401, 401, 200, 200, 200, 404, 403}},
	"GET /api/v1/events":                                 {"", [8]int{401, 401, 401, 200, 200, 200, 200, 200}}, // each its own
	"GET /api/v1/events/series":                          {"", [8]int{401, 401, 401, 200, 200, 200, 404, 200}}, // root: its own, none
	"GET /api/v1/events/export":                          {"", [8]int{401, 401, 401, 200, 200, 200, 200, 200}}, // each its own
	"GET /api/v1/events/stream":                          {"", [8]int{401, 401, 401, 200, 200, 200, 200, 200}}, // each its own
	"GET /api/v1/rules":                                  {"", [8]int{401, 401, 401, 200, 200, 200, 200, 200}},
	"POST /api/v1/rules":                                 {`{"name":"x","when":{"every":"1h"},"then":[{"message":{"text":"m"}}]}`, [8]int{401, 401, 401, 201, 201, 201, 201, 201}},
	"GET /api/v1/rules/{id}":                             {"", [8]int{401, 401, 401, 404, 404, 404, 404, 404}},
	"PUT /api/v1/rules/{id}":                             {`{"name":"x","when":{"every":"1h"},"then":[{"message":{"text":"m"}}]}`, [8]int{401, 401, 401, 428, 428, 428, 428, 428}},
	"DELETE /api/v1/rules/{id}":                          {"", [8]int{401, 401, 401, 428, 428, 428, 428, 428}},
	"GET /api/v1/rules/{id}/revisions":                   {"", [8]int{401, 401, 401, 404, 404, 404, 404, 404}},
	"GET /api/v1/rules/{id}/runs":                        {"", [8]int{401, 401, 401, 404, 404, 404, 404, 404}},
	"POST /api/v1/rules/{id}/test":                       {"", [8]int{401, 401, 401, 404, 404, 404, 404, 404}},
	"GET /api/v1/runs":                                   {"", [8]int{401, 401, 401, 200, 200, 200, 200, 200}},
	"POST /api/v1/rule-tests":                            {`{"name":"x","when":{"every":"1h"},"then":[{"message":{"text":"m"}}]}`, [8]int{401, 401, 401, 200, 200, 200, 200, 200}},
	"POST /api/v1/condition-checks":                      {`{"if":"event.value"}`, [8]int{401, 401, 401, 200, 200, 200, 200, 200}},
	"GET /api/v1/live":                                   {"", [8]int{401, 401, 401, 200, 200, 200, 200, 200}},   // each its own
	"POST /api/v1/session":                               {"{}", [8]int{400, 400, 400, 400, 400, 400, 400, 400}}, // who it is, is in the body
	"GET /api/v1/session":                                {"", [8]int{401, 401, 401, 200, 200, 200, 200, 200}},
	"DELETE /api/v1/session":                             {"", [8]int{401, 401, 401, 204, 204, 204, 204, 204}},
	"POST /api/v1/sign-in-links":                         {"", [8]int{401, 401, 401, 201, 201, 201, 201, 201}},
	"POST /api/v1/pairing-codes":                         {"{}", [8]int{401, 401, 401, 201, 201, 201, 201, 201}},
	"GET /api/v1/accounts":                               {"", [8]int{401, 401, 401, 403, 403, 403, 403, 200}},
	"POST /api/v1/accounts":                              {`{"name":"guest","password":"long enough"}`, [8]int{401, 401, 401, 403, 403, 403, 403, 201}},
	"PUT /api/v1/accounts/{name}/password":               {`{"password":"long enough"}`, [8]int{401, 401, 401, 403, 403, 204, 403, 204}},
	"PUT /api/v1/accounts/{name}/lock":                   {"", [8]int{401, 401, 401, 403, 403, 403, 403, 204}},
	"DELETE /api/v1/accounts/{name}/lock":                {"", [8]int{401, 401, 401, 403, 403, 403, 403, 204}},
	"GET /api/v1/accounts/{name}/logins":                 {"", [8]int{401, 401, 401, 403, 403, 200, 403, 200}},
	"POST /api/v1/accounts/{name}/logins":                {`{"name":"lamp","resource":"r"}`, [8]int{401, 401, 401, 403, 403, 201, 403, 409}}, // root: the name is taken
	"DELETE /api/v1/accounts/{name}/logins/{login}":      {"", [8]int{401, 401, 401, 403, 403, 404, 403, 404}},
	"GET /api/v1/tokens":                                 {"", [8]int{401, 401, 401, 200, 200, 200, 200, 200}}, // each its own
	"POST /api/v1/tokens":                                {`{"scope":"read"}`, [8]int{401, 401, 401, 201, 201, 201, 201, 201}},
	"DELETE /api/v1/tokens/{id}":                         {"", [8]int{401, 401, 401, 404, 404, 404, 404, 404}}, // each its own
	"GET /api/v1/shares":                                 {"", [8]int{401, 401, 401, 200, 200, 200, 200, 200}}, // each its own
	"POST /api/v1/shares":                                {`{"di":"` + lamp + `","with":"barn","role":"viewer"}`, [8]int{401, 401, 401, 403, 403, 201, 404, 403}},
	"POST /api/v1/shares/{id}/accept":                    {"", [8]int{401, 401, 401, 404, 404, 404, 404, 404}}, // each its own
	"DELETE /api/v1/shares/{id}":                         {"", [8]int{401, 401, 401, 404, 404, 404, 404, 404}},
	"GET /api/v1/audit":                                  {"", [8]int{401, 401, 401, 200, 200, 200, 200, 200}}, // each its own
	"GET /api/v1/status":                                 {"", [8]int{401, 401, 401, 403, 403, 403, 403, 200}},
	"GET /api/v1/backup":                                 {"", [8]int{401, 401, 401, 403, 403, 403, 403, 200}},
	"GET /metrics":                                       {"", [8]int{401, 401, 401, 403, 403, 403, 403, 200}},
	"DELETE /api/v1/accounts/{name}":                     {"", [8]int{401, 401, 401, 403, 403, 403, 403, 204}},
}

// asks is the query without which a route has no answer.
var asks = map[string]string{
	"GET /api/v1/why":           "?device=" + lamp + "&href=/a/light",
	"GET /api/v1/events/series": "?device=" + lamp + "&href=/a/light&property=value",
}

// TestMatrix asks every route as everybody. {di} is the lamp of home, {name}
// is home.
func TestMatrix(t *testing.T) {
	for _, route := range slices.Sorted(maps.Keys(access)) {
		row := access[route]
		t.Run(strings.ReplaceAll(route, "/", "|"), func(t *testing.T) {
			fresh := newHome(t) // for each route, lest wrong tokens add up and are slowed down
			for i, who := range columns {
				h := fresh
				if strings.HasPrefix(route, "DELETE") && row.status[i] < 300 {
					h = newHome(t)
				}
				token := map[string]string{
					"wrong token": "fut_" + strings.Repeat("x", 32), "device token": h.access.Reveal(),
				}[who]
				if h.tokens[who] != "" {
					token = h.as(who)
				}
				method, path, _ := strings.Cut(route, " ")
				path = strings.NewReplacer("{di}", lamp, "{href}", "a/light", "{name}", "home", "{login}", "no such", "{id}", "no-such").Replace(path)
				resp := h.ask(method, path+asks[route], token, row.body)
				if resp.StatusCode != row.status[i] {
					t.Errorf("%s for %s: %d, want %d", route, who, resp.StatusCode, row.status[i])
				}
				resp.Body.Close()
			}
		})
	}
}

// TestMatrixIsComplete: rule 5.
func TestMatrixIsComplete(t *testing.T) {
	h := newHome(t)
	routes := map[string]bool{"GET /openapi.json": true, "GET /.well-known/coap": true, "GET /xmpp-websocket": true}
	for path, item := range h.api.Routes() {
		for method, op := range map[string]*huma.Operation{
			"GET": item.Get, "PUT": item.Put, "POST": item.Post, "DELETE": item.Delete, "PATCH": item.Patch,
			"HEAD": item.Head, "OPTIONS": item.Options, "TRACE": item.Trace,
		} {
			if op != nil {
				routes[fmt.Sprint(method, " ", path)] = true
			}
		}
	}
	for route := range routes {
		if _, ok := access[route]; !ok {
			t.Errorf("%s has no row in the matrix", route)
		}
	}
	for route := range access {
		if !routes[route] {
			t.Errorf("the matrix has a row for %s, which does not exist", route)
		}
	}
}

// TestOwnOnly: where everybody gets an answer, it is about himself.
func TestOwnOnly(t *testing.T) {
	h := newHome(t)
	for _, who := range []string{"other", "root"} {
		if doc := document(t, h.ask("GET", "/api/v1/devices", h.as(who), ""), 200); len(doc["devices"].([]any)) != 0 {
			t.Errorf("%s sees devices: %v", who, doc)
		}
		for _, query := range []string{"", "?from=1", "?href=/a/light"} {
			if doc := document(t, h.ask("GET", "/api/v1/events"+query, h.as(who), ""), 200); len(doc["events"].([]any)) != 0 {
				t.Errorf("%s sees events: %v", who, doc)
			}
		}
	}
	for _, list := range []string{"events", "commands"} { // a device of others is none
		document(t, h.ask("GET", "/api/v1/"+list+"?device="+lamp, h.as("other"), ""), 404)
	}
}

// TestBad47: requests that a foreign web page can cause.
func TestBad47(t *testing.T) {
	h := newHome(t)
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for name, want := range map[string]int{
		"evil.example": 421, "127.0.0.1.evil.example": 421, "localhost.evil.example": 421, "192.0.2.7": 421, "[2001:db8::1]:80": 421,
		"localhost": 200, "LOCALHOST:8080": 200, "127.0.0.1": 200, "127.8.8.8:80": 200, "[::1]:8080": 200,
		"hub.example.org": 200, "HUB.example.org:8443": 200, "hub.example.org.": 200,
	} {
		for _, path := range []string{"/healthz", "/api/v1/devices", "/openapi.json"} {
			if got := h.ask("GET", path, h.as("home"), "", host(name)).StatusCode; got != want {
				t.Errorf("Host %s: %s answers %d, want %d", name, path, got, want)
			}
		}
		refused := want == 421
		for _, path := range []string{"/.well-known/coap", "/xmpp-websocket"} {
			if got := h.ask("GET", path, "", "", host(name), header("Origin", "http://"+name)).StatusCode; (got == 421) != refused {
				t.Errorf("Host %s: a WebSocket of its page at %s is answered with %d, want 421: %v", name, path, got, refused)
			}
		}
	}
	for _, c := range []struct {
		name, value string
		want        int
	}{
		{"Origin", "https://evil.example", 403},
		{"Origin", "null", 403},
		{"Sec-Fetch-Site", "cross-site", 403},
		{"Sec-Fetch-Site", "same-site", 403},
		{"Sec-Fetch-Site", "same-origin", 201},
		{"Origin", h.base, 201},
	} {
		if got := h.ask("POST", "/api/v1/pairing-codes", h.as("home"), "", header(c.name, c.value)).StatusCode; got != c.want {
			t.Errorf("%s: %s: %d, want %d", c.name, c.value, got, c.want)
		}
	}
	resp := h.ask("GET", "/api/v1/devices", h.as("home"), "")
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
		"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// TestLargeHead: a head above 32 KiB is refused (net/http adds some slack).
func TestLargeHead(t *testing.T) {
	h := newHome(t)
	resp := h.ask("GET", "/healthz", "", "", func(r *http.Request) { r.Header.Set("X", strings.Repeat("x", 40<<10)) })
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("answered with %d", resp.StatusCode)
	}
}
