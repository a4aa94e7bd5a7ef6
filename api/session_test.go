package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/farreach/farreach/oic"
)

// browser asks as a browser does: with its cookie, and saying where the page
// came from that asks.
func (h *home) browser(method, path, cookie, body string, change ...func(*http.Request)) *http.Response {
	return h.ask(method, path, "", body, append([]func(*http.Request){func(r *http.Request) {
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		if cookie != "" {
			r.AddCookie(&http.Cookie{Name: "farreach", Value: cookie})
		}
	}}, change...)...)
}

// signIn returns the cookie that the answer sets.
func (h *home) signIn(body string) string {
	h.t.Helper()
	resp := h.browser("POST", "/api/v1/session", "", body)
	document(h.t, resp, 200)
	for _, c := range resp.Cookies() {
		if c.Name == "farreach" && c.HttpOnly && c.SameSite == http.SameSiteStrictMode && c.Path == "/" && c.Domain == "" {
			return c.Value
		}
	}
	h.t.Fatalf("no proper cookie: %v", resp.Header)
	return ""
}

const byPassword = `{"account":"home","password":"correct horse"}`

func (h *home) wants(name string, resp *http.Response, status int) {
	h.t.Helper()
	resp.Body.Close()
	if resp.StatusCode != status {
		h.t.Errorf("%s: %d, want %d", name, resp.StatusCode, status)
	}
}

func TestSession(t *testing.T) {
	h := newHome(t)
	cookie := h.signIn(byPassword)
	if doc := document(t, h.browser("GET", "/api/v1/session", cookie, ""), 200); doc["account"] != "home" || doc["expires"] == nil {
		t.Errorf("session: %v", doc)
	}
	h.wants("devices", h.browser("GET", "/api/v1/devices", cookie, ""), 200)
	h.wants("a code", h.browser("POST", "/api/v1/pairing-codes", cookie, "{}"), 201)
	h.wants("of another page", h.browser("POST", "/api/v1/pairing-codes", cookie, "{}", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }), 403)
	h.wants("of another origin", h.browser("POST", "/api/v1/pairing-codes", cookie, "{}", func(r *http.Request) {
		r.Header.Del("Sec-Fetch-Site")
		r.Header.Set("Origin", "http://evil.example")
	}), 403)
	h.wants("a forged cookie", h.browser("GET", "/api/v1/devices", cookie[:len(cookie)-1]+"_", ""), 401)
	h.wants("a token as a cookie", h.browser("GET", "/api/v1/devices", h.as("home"), ""), 401)
	h.wants("the cookie as a token", h.ask("GET", "/api/v1/devices", cookie, ""), 401)
	h.wants("signing out", h.browser("DELETE", "/api/v1/session", cookie, ""), 204)
	h.wants("signed out", h.browser("GET", "/api/v1/session", cookie, ""), 401)
}

// TestSessionsEnd: everywhere at once, and with the password.
func TestSessionsEnd(t *testing.T) {
	h := newHome(t)
	for name, end := range map[string]func(cookie string){
		"everywhere": func(cookie string) {
			h.wants("signing out", h.browser("DELETE", "/api/v1/session?everywhere=true", cookie, ""), 204)
		},
		"password": func(string) {
			if err := h.cloud.SetPassword(t.Context(), oic.Identity{Admin: true}, "home", "correct horse"); err != nil {
				t.Fatal(err)
			}
		},
	} {
		one, two := h.signIn(byPassword), h.signIn(byPassword)
		if one == two {
			t.Error("two sign-ins gave one cookie")
		}
		end(one)
		for _, cookie := range []string{one, two} {
			h.wants(name, h.browser("GET", "/api/v1/session", cookie, ""), 401)
		}
	}
}

func TestSignInLink(t *testing.T) {
	h := newHome(t)
	doc := document(t, h.ask("POST", "/api/v1/sign-in-links", h.as("home"), ""), 201)
	link := `{"link":"` + doc["link"].(string) + `"}`
	cookie := h.signIn(link)
	if doc := document(t, h.browser("GET", "/api/v1/session", cookie, ""), 200); doc["account"] != "home" {
		t.Errorf("session: %v", doc)
	}
	for name, c := range map[string]struct {
		body   string
		status int
	}{
		"used before":    {link, 401},
		"guessed":        {`{"link":"fln_` + strings.Repeat("x", 32) + `"}`, 401},
		"wrong password": {`{"account":"home","password":"wrong horse"}`, 401},
		"no account":     {`{"account":"nobody","password":"wrong horse"}`, 401},
		"nothing":        {`{}`, 400},
		"both":           {`{"link":"x","account":"home","password":"correct horse"}`, 400},
	} {
		h.wants(name, h.browser("POST", "/api/v1/session", "", c.body), c.status)
	}
}
