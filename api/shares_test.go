package api_test

import (
	"fmt"
	"testing"
)

// TestSharing: a device that is shared stands among the other's once he has
// accepted it, and goes with the share.
func TestSharing(t *testing.T) {
	h := newHome(t)
	resp := h.ask("POST", "/api/v1/shares", h.as("home"), `{"di":"`+lamp+`","with":"other","role":"viewer"}`)
	made := document(t, resp, 201)
	at := resp.Header.Get("Location")
	if made["schema"] != "farreach.share/v1" || made["account"] != "home" || made["with"] != "other" || made["accepted"] != nil || at != "/api/v1/shares/"+fmt.Sprint(made["id"]) {
		t.Fatalf("share: %v at %s", made, at)
	}
	document(t, h.ask("GET", "/api/v1/devices/"+lamp, h.as("other"), ""), 404)
	document(t, h.ask("POST", at+"/accept", h.as("root"), ""), 404)
	if doc := document(t, h.ask("POST", at+"/accept", h.as("other"), ""), 200); doc["accepted"] == nil {
		t.Errorf("accepted: %v", doc)
	}
	if doc := document(t, h.ask("GET", "/api/v1/devices/"+lamp, h.as("other"), ""), 200); doc["role"] != "viewer" || doc["account"] != "home" {
		t.Errorf("the shared lamp: %v", doc)
	}
	if list := document(t, h.ask("GET", "/api/v1/devices", h.as("other"), ""), 200)["devices"].([]any); len(list) != 1 {
		t.Errorf("devices: %v", list)
	}
	document(t, h.ask("DELETE", "/api/v1/devices/"+lamp, h.as("other"), ""), 403)
	document(t, h.ask("POST", "/api/v1/shares", h.as("other"), `{"di":"`+lamp+`","with":"root","role":"viewer"}`), 403)

	doc := document(t, h.ask("GET", "/api/v1/shares", h.as("home"), ""), 200)
	if len(doc["given"].([]any)) != 3 || len(doc["received"].([]any)) != 0 {
		t.Errorf("shares of home: %v", doc)
	}
	document(t, h.ask("DELETE", at, h.as("root"), ""), 404)
	document(t, h.ask("DELETE", at, h.as("home"), ""), 204)
	document(t, h.ask("GET", "/api/v1/devices/"+lamp, h.as("other"), ""), 404)
}

func TestShareRefusals(t *testing.T) {
	h := newHome(t)
	for body, want := range map[string]int{
		`{"with":"home","role":"viewer"}`:           400,
		`{"with":"a b","role":"viewer"}`:            400,
		`{"with":"other","role":"owner"}`:           422,
		`{"role":"viewer"}`:                         422,
		`{"with":"other","role":"viewer","di":"x"}`: 404,
		`{"with":"nobody-yet","role":"member"}`:     201, // that there is no such account is not told
	} {
		document(t, h.ask("POST", "/api/v1/shares", h.as("home"), body), want)
	}
}
