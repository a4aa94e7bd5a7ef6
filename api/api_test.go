package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/api"
	"github.com/farreach/farreach/cloud"
	"github.com/farreach/farreach/cloud/account"
	"github.com/farreach/farreach/cloud/metrics"
	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
	"github.com/speakeasy-api/openapi/openapi"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	lamp = "11111111-1111-4111-8111-111111111111"
	peer = "192.0.2.1"
)

// home is a cloud with a real listener: the account home has a lamp that has
// reported and that is shared with viewer and member; the account other has
// nothing, root is an admin.
type home struct {
	t      testing.TB
	store  *store.Store
	cloud  *cloud.Cloud
	api    *api.Handler
	base   string
	tokens map[string]secret.String // by account
	access secret.String            // of the lamp
	lamp   oic.Identity
	client *http.Client
}

func newHome(t testing.TB) *home {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := store.Open(t.Context(), store.Config{Dir: filepath.Join(t.TempDir(), "data"), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	c, err := cloud.Open(t.Context(), cloud.Config{Store: s, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	h := &home{t: t, store: s, cloud: c, tokens: map[string]secret.String{}, client: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(h.client.CloseIdleConnections)
	for name, admin := range map[string]bool{"home": false, "other": false, "root": true, "viewer": false, "member": false} {
		h.account(name, admin)
	}
	h.join()
	h.share("viewer", account.Viewer)
	h.share("member", account.Member)
	h.api = api.New(c, api.Config{Hosts: []string{"hub.example.org"}, Version: "test", Log: log,
		CoAP:    coap.NewWebSocketListener(new(net.TCPAddr)),
		XMPP:    http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }),
		Operate: &api.Operate{Metrics: metrics.New("test"), Started: time.Now(), Store: "embedded", Ends: func() time.Time { return time.Unix(2e9, 0) }}})
	h.listen()
	return h
}

func (h *home) account(name string, admin bool) {
	h.t.Helper()
	if _, err := h.cloud.CreateAccount(h.t.Context(), oic.Identity{Admin: true}, name, "correct horse", admin); err != nil {
		h.t.Fatal(err)
	}
	token, _, err := h.cloud.NewToken(h.t.Context(), oic.Identity{Account: name, Admin: admin}, "test", oic.ScopeAdmin, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	h.tokens[name] = token
}

// share shares the lamp with an account, which accepts.
func (h *home) share(with string, role account.Role) {
	h.t.Helper()
	s, err := h.cloud.NewShare(h.t.Context(), oic.Identity{Account: "home"}, lamp, with, role)
	if err == nil {
		_, err = h.cloud.AcceptShare(h.t.Context(), oic.Identity{Account: with}, s.ID)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// join makes the lamp a device of the account home.
func (h *home) join() {
	h.t.Helper()
	ctx := h.t.Context()
	code, _, err := h.cloud.NewPairingCode(ctx, oic.Identity{Account: "home"})
	if err != nil {
		h.t.Fatal(err)
	}
	from := h.lampPeer()
	g, err := h.cloud.SignUp(ctx, cloudlink.SignUp{Device: lamp, Code: code, Peer: from})
	if err != nil {
		h.t.Fatal(err)
	}
	h.access = g.Access
	h.lamp, _, err = h.cloud.SignIn(ctx, cloudlink.Login{Account: g.Account, Device: lamp, Access: g.Access, Peer: from})
	if err != nil {
		h.t.Fatal(err)
	}
	links := []oic.Link{{Href: "/a/light", Types: []string{"oic.r.switch.binary"}, Interfaces: []string{oic.IfActuator}, Policy: oic.Policy{Mask: oic.Discoverable | oic.Observable}}}
	if _, err := h.cloud.Publish(ctx, h.lamp, cloudlink.Publication{Device: lamp, Name: "lamp", Links: links}); err != nil {
		h.t.Fatal(err)
	}
	h.report("\xa1\x65value\xf5")
}

func (h *home) report(body string) {
	h.t.Helper()
	rep := &oic.Response{Status: oic.Content, Format: oic.OCF, Body: []byte(body)}
	err := errors.Join(h.cloud.Report(h.t.Context(), h.lamp, []cloudlink.Report{{Href: "/a/light", Rep: rep}})...)
	if err != nil {
		h.t.Fatal(err)
	}
}

// listen serves the API on a loopback port.
func (h *home) listen() {
	h.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	h.base = "http://" + ln.Addr().String()
	server := h.api.Server()
	served := make(chan error)
	go func() { served <- server.Serve(ln) }()
	h.t.Cleanup(func() {
		if err := server.Shutdown(context.Background()); err != nil {
			h.t.Error(err)
		}
		<-served
	})
}

// lampPeer is where the lamp connects from.
func (h *home) lampPeer() netip.Addr { return netip.MustParseAddr(peer) }

// ask sends a request; change may alter it. The body of the answer is closed
// at the end of the test.
func (h *home) ask(method, path, token, body string, change ...func(*http.Request)) *http.Response {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), method, h.base+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, f := range change {
		f(r)
	}
	resp, err := h.client.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// as is the token of an account.
func (h *home) as(account string) string { return h.tokens[account].Reveal() }

// document reads an answer and checks its status.
func document(t testing.TB, resp *http.Response, status int) map[string]any {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != status {
		t.Fatalf("%s %s: %d, want %d: %s", resp.Request.Method, resp.Request.URL.Path, resp.StatusCode, status, b)
	}
	var doc map[string]any
	if len(b) > 0 {
		if err := json.Unmarshal(b, &doc); err != nil {
			t.Fatalf("%v in %s", err, b)
		}
	}
	for _, name := range nulls(doc) {
		t.Errorf("%s %s: %s is null, and a list in the OpenAPI document: %s", resp.Request.Method, resp.Request.URL.Path, name, b)
	}
	return doc
}

// listNames are what lists are called in the OpenAPI document.
var listNames = sync.OnceValue(func() map[string]bool {
	w := httptest.NewRecorder()
	api.New(nil, api.Config{Operate: &api.Operate{Metrics: metrics.New("test")}}).ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/openapi.json", nil))
	var doc struct {
		Components struct {
			Schemas map[string]struct{ Properties map[string]struct{ Type any } }
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		panic(err)
	}
	names := map[string]bool{}
	for _, s := range doc.Components.Schemas {
		for name, p := range s.Properties {
			if p.Type == "array" {
				names[name] = true
			}
		}
	}
	return names
})

// nulls are the names of what is null in doc, and was to be a list.
func nulls(doc any) (names []string) {
	switch doc := doc.(type) {
	case map[string]any:
		for name, v := range doc {
			if v == nil && listNames()[name] {
				names = append(names, name)
			}
			names = append(names, nulls(v)...)
		}
	case []any:
		for _, v := range doc {
			names = append(names, nulls(v)...)
		}
	}
	return names
}

func TestDevices(t *testing.T) {
	h := newHome(t)
	list := document(t, h.ask("GET", "/api/v1/devices", h.as("home"), ""), 200)
	devices, _ := list["devices"].([]any)
	if list["schema"] != "farreach.devices/v1" || len(devices) != 1 {
		t.Fatalf("devices: %v", list)
	}
	one := document(t, h.ask("GET", "/api/v1/devices/"+strings.ToUpper(lamp), h.as("home"), ""), 200)
	for key, want := range map[string]any{
		"schema": "farreach.device/v1", "di": lamp, "name": "lamp", "account": "home", "state": "unknown",
	} {
		if one[key] != want {
			t.Errorf("device has %s %v, want %v", key, one[key], want)
		}
	}
	for silence, want := range map[time.Duration]string{time.Second: "reachable", time.Hour: "unproven"} {
		h.plug().silent.Store(int64(silence))
		if d := document(t, h.ask("GET", "/api/v1/devices/"+lamp, h.as("home"), ""), 200); d["state"] != want {
			t.Errorf("connected, and silent for %v: %v, want %s", silence, d["state"], want)
		}
	}
	link := one["links"].([]any)[0].(map[string]any)
	if link["href"] != "/a/light" || link["observable"] != true {
		t.Errorf("link: %v", link)
	}
	if p := document(t, h.ask("GET", "/api/v1/devices/"+lamp, h.as("other"), ""), 404); p["detail"] != "no such device" {
		t.Errorf("another's device: %v", p)
	}
	document(t, h.ask("DELETE", "/api/v1/devices/"+lamp, h.as("home"), ""), 204)
	document(t, h.ask("GET", "/api/v1/devices/"+lamp, h.as("home"), ""), 404)
	if events := document(t, h.ask("GET", "/api/v1/events", h.as("home"), ""), 200); len(events["events"].([]any)) != 0 {
		t.Errorf("a deleted device has left %v", events)
	}
}

func TestAccounts(t *testing.T) {
	h := newHome(t)
	const body = `{"name":"guest","password":"some password"}`
	resp := h.ask("POST", "/api/v1/accounts", h.as("root"), body)
	if doc := document(t, resp, 201); doc["schema"] != "farreach.account/v1" || doc["name"] != "guest" || doc["admin"] != false {
		t.Errorf("new account: %v", doc)
	}
	if got := resp.Header.Get("Location"); got != "/api/v1/accounts/guest" {
		t.Errorf("Location %q", got)
	}
	document(t, h.ask("POST", "/api/v1/accounts", h.as("root"), body), 409)
	if list := document(t, h.ask("GET", "/api/v1/accounts", h.as("root"), ""), 200); len(list["accounts"].([]any)) != 6 {
		t.Errorf("accounts: %v", list)
	}
	document(t, h.ask("PUT", "/api/v1/accounts/guest/password", h.as("root"), `{"password":"another password"}`), 204)
	if _, err := h.cloud.Login(t.Context(), h.lampPeer(), "guest", "another password"); err != nil {
		t.Errorf("the new password: %v", err)
	}
	document(t, h.ask("DELETE", "/api/v1/accounts/guest", h.as("root"), ""), 204)
	document(t, h.ask("DELETE", "/api/v1/accounts/guest", h.as("root"), ""), 404)
}

func TestPairingCode(t *testing.T) {
	h := newHome(t)
	doc := document(t, h.ask("POST", "/api/v1/pairing-codes", h.as("home"), "{}"), 201)
	if doc["schema"] != "farreach.pairing-code/v1" || doc["account"] != "home" || doc["expires"] == nil {
		t.Errorf("pairing code: %v", doc)
	}
	code, _ := doc["code"].(string)
	if _, err := secret.ParseCode(secret.String(code)); err != nil {
		t.Errorf("code %q: %v", code, err)
	}
}

// TestProblems: every refusal is a problem with a detail that helps, and none
// repeats a secret (rule 13).
func TestProblems(t *testing.T) {
	h := newHome(t)
	for _, c := range []struct {
		method, path, token, body string
		status                    int
		detail                    string
	}{
		{"GET", "/nothing", "", "", 404, "openapi.json"},
		{"GET", "/api/v1/", h.as("home"), "", 404, "openapi.json"},
		{"PATCH", "/api/v1/devices", h.as("home"), "", 405, "GET"},
		{"POST", "/api/v1/devices/" + lamp, h.as("home"), "", 405, "GET, DELETE"},
		{"GET", "/api/v1/devices", "", "", 401, "token required"},
		{"GET", "/api/v1/devices", "fut_wrong", "", 401, "wrong or revoked token"},
		{"GET", "/api/v1/events?devcie=x", h.as("home"), "", 422, "devcie"},
		{"GET", "/api/v1/events?limit=-1", h.as("home"), "", 422, "query.limit"},
		{"GET", "/api/v1/events?limit=1001", h.as("home"), "", 422, "query.limit"},
		{"GET", "/api/v1/events?since=yesterday", h.as("home"), "", 422, "query.since"},
		{"GET", "/api/v1/events?device=%00x", h.as("home"), "", 400, "NUL"},
		{"POST", "/api/v1/accounts", h.as("root"), `{"name":"x"`, 400, ""},
		{"POST", "/api/v1/accounts", h.as("root"), `{"name":"x","password":"hunter2"}`, 400, "password"},
		{"POST", "/api/v1/accounts", h.as("root"), `{"name":"x","pasword":"hunter2"}`, 422, "pasword"},
		{"POST", "/api/v1/accounts", h.as("root"), `{"name":"x","password":["hunter2"]}`, 422, "body.password"},
		{"POST", "/api/v1/accounts", h.as("root"), `["hunter2"]`, 422, "body"},
		{"POST", "/api/v1/accounts", h.as("home"), `{"name":"x","password":"long enough"}`, 403, "not allowed"},
		{"PUT", "/api/v1/accounts/nobody/password", h.as("root"), `{"password":"long enough"}`, 404, "no such account"},
		{"POST", "/api/v1/accounts", h.as("root"), `{"name":"` + strings.Repeat("x", 1<<20) + `"}`, 413, ""},
		{"POST", "/api/v1/accounts", h.as("root"), "name=x&password=hunter2", 400, ""},
		{"POST", "/api/v1/accounts", h.as("root"), strings.Repeat("[", 100_000), 400, ""},
		{"POST", "/api/v1/accounts", h.as("root"), strings.Repeat(`{"name":`, 20_000) + "1" + strings.Repeat("}", 20_000), 400, ""},
		{"POST", "/api/v1/tokens", h.as("home"), "", 400, ""},
		{"POST", "/api/v1/tokens", h.as("home"), "null", 422, "body"},
		{"POST", "/api/v1/tokens", h.as("home"), "{}{}", 400, ""},
		{"POST", "/api/v1/tokens", h.as("home"), "\xff\xfe", 400, ""},
	} {
		resp := h.ask(c.method, c.path, c.token, c.body)
		p := document(t, resp, c.status)
		if got := resp.Header.Get("Content-Type"); got != "application/problem+json" {
			t.Errorf("%s %s: content type %q", c.method, c.path, got)
		}
		detail, _ := p["detail"].(string)
		if detail == "" || !strings.Contains(detail, c.detail) || p["status"] != float64(c.status) || p["title"] == "" {
			t.Errorf("%s %s: problem %v, want %q", c.method, c.path, p, c.detail)
		}
		if b, _ := json.Marshal(p); strings.Contains(string(b), "hunter2") {
			t.Errorf("%s %s: the problem repeats the password: %s", c.method, c.path, b)
		}
		if c.status == 401 && !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%s %s: no challenge", c.method, c.path)
		}
	}
}

func TestHealth(t *testing.T) {
	h := newHome(t)
	for _, path := range []string{"/healthz", "/readyz"} {
		doc := document(t, h.ask("GET", path, "", ""), 200)
		if doc["schema"] != "farreach.health/v1" || len(doc) != 2 {
			t.Errorf("%s: %v", path, doc)
		}
	}
}

// TestEmptyLists: who has nothing gets lists that are empty, which document looks
// at.
func TestEmptyLists(t *testing.T) {
	h := newHome(t)
	for _, path := range []string{
		"devices", "events", "rules", "runs", "commands", "accounts/other/logins", "tokens", "shares", "webhooks", "audit",
	} {
		resp := h.ask("GET", "/api/v1/"+path, h.as("other"), "")
		if resp.StatusCode == http.StatusNotFound {
			t.Errorf("%s: no such route", path)
		} else {
			document(t, resp, 200)
		}
	}
	for _, path := range []string{"status", "accounts", "devices/" + lamp, "events/series?device=" + lamp + "&href=/a/light&property=value&since=2020-01-01T00:00:00Z&until=2020-01-01T01:00:00Z"} {
		who := map[string]string{"status": "root", "accounts": "root"}[path]
		if who == "" {
			who = "home"
		}
		document(t, h.ask("GET", "/api/v1/"+path, h.as(who), ""), 200)
	}
}

// TestOpenAPI: the document is what OpenAPI 3.1 says one is, by another hand's
// judgement.
func TestOpenAPI(t *testing.T) {
	h := newHome(t)
	resp := h.ask("GET", "/openapi.json", "", "")
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	doc, faults, err := openapi.Unmarshal(t.Context(), bytes.NewReader(text))
	if err != nil || doc.OpenAPI != "3.1.0" {
		t.Fatalf("openapi %v, %v", doc.GetOpenAPI(), err)
	}
	for _, fault := range faults {
		t.Error(fault)
	}
	if doc.Paths.Len() < 20 {
		t.Errorf("the document has %d paths", doc.Paths.Len())
	}
	if n := len(listNames()); n < 15 || strings.Contains(string(text), `"array","null"`) || strings.Contains(string(text), `"null","array"`) {
		t.Errorf("%d lists, or some that may be null", n)
	}
	if strings.Contains(string(text), "$schema") {
		t.Error("the document speaks of $schema")
	}
	for path, item := range doc.Paths.All() {
		for method, op := range item.GetObject().All() {
			told := 0
			for _, p := range op.Parameters {
				if p.GetObject().In == "path" {
					told++
				}
			}
			if said := strings.Count(path, "{"); told != said {
				t.Errorf("%s %s has %d parameters in its path and tells of %d", method, path, said, told)
			}
		}
	}
}
