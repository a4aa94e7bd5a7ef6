package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestTokens: a token is told once, may what it was made for, and is worth
// nothing once revoked.
func TestTokens(t *testing.T) {
	h := newHome(t)
	resp := h.ask("POST", "/api/v1/tokens", h.as("home"), `{"name":"panel","scope":"read"}`)
	made := document(t, resp, 201)
	id, _ := made["id"].(string)
	clear, _ := made["token"].(string)
	if made["schema"] != "farreach.token/v1" || made["scope"] != "read" || !strings.HasPrefix(clear, "fut_") ||
		made["expires"] != nil || resp.Header.Get("Location") != "/api/v1/tokens/"+id {
		t.Fatalf("new token: %v", made)
	}
	document(t, h.ask("GET", "/api/v1/devices/"+lamp, clear, ""), 200)
	for _, path := range []string{"POST /api/v1/pairing-codes", "GET /api/v1/tokens", "DELETE /api/v1/tokens/" + id} {
		method, path, _ := strings.Cut(path, " ")
		if p := document(t, h.ask(method, path, clear, ""), 403); !strings.Contains(fmt.Sprint(p["detail"]), "scope admin") {
			t.Errorf("%s by a token that may read: %v", path, p)
		}
	}
	list := document(t, h.ask("GET", "/api/v1/tokens", h.as("home"), ""), 200)["tokens"].([]any)
	if last := list[len(list)-1].(map[string]any); len(list) != 2 || last["id"] != id || last["token"] != nil || last["used"] == nil {
		t.Errorf("tokens: %v", list)
	}
	document(t, h.ask("DELETE", "/api/v1/tokens/"+id, h.as("other"), ""), 404)
	document(t, h.ask("DELETE", "/api/v1/tokens/"+id, h.as("home"), ""), 204)
	document(t, h.ask("GET", "/api/v1/devices", clear, ""), 401)
}

func TestTokenRefusals(t *testing.T) {
	h := newHome(t)
	for body, want := range map[string]int{
		`{"name":"x","scope":"all"}`:                                422,
		`{"name":"x"}`:                                              422,
		`{"scope":"read","expires":"soon"}`:                         422,
		`{"scope":"read","expires":"2001-01-01T00:00:00Z"}`:         400,
		`{"scope":"read","name":"` + strings.Repeat("x", 65) + `"}`: 400,
		`{"scope":"read","name":"a\u001bb"}`:                        400,
	} {
		document(t, h.ask("POST", "/api/v1/tokens", h.as("home"), body), want)
	}
	soon := time.Now().Add(3 * time.Second) // it is to be made before
	made := document(t, h.ask("POST", "/api/v1/tokens", h.as("home"), `{"scope":"read","expires":"`+soon.Format(time.RFC3339Nano)+`"}`), 201)
	<-time.After(time.Until(soon) + 50*time.Millisecond)
	if p := document(t, h.ask("GET", "/api/v1/devices", fmt.Sprint(made["token"]), ""), 401); !strings.Contains(fmt.Sprint(p["detail"]), "expired") {
		t.Errorf("by a token that has expired: %v", p)
	}
}

// TestTokenByPassword: who has no token makes one with his password, and can do
// nothing else with that.
func TestTokenByPassword(t *testing.T) {
	h := newHome(t)
	as := func(name, password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(name, password) }
	}
	const body = `{"scope":"command"}`
	made := document(t, h.ask("POST", "/api/v1/tokens", "", body, as("home", "correct horse")), 201)
	document(t, h.ask("GET", "/api/v1/devices/"+lamp, fmt.Sprint(made["token"]), ""), 200)
	document(t, h.ask("GET", "/api/v1/devices", "", "", as("home", "correct horse")), 401)
	for name, password := range map[string]string{"home": "wrong horse", "nobody": "correct horse", "": ""} {
		p := document(t, h.ask("POST", "/api/v1/tokens", "", body, as(name, password)), 401)
		if said := fmt.Sprint(p["detail"]); said != "wrong account or password" {
			t.Errorf("%s with %s: %s", name, password, said)
		}
	}
}
