package apiclient

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client returns a client of a server that answers with h.
func client(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	c := New(Config{Base: server.URL, Token: "fut_x", Timeout: time.Second})
	t.Cleanup(c.Close)
	return c
}

func TestRequests(t *testing.T) {
	var got string
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = strings.TrimSpace(r.Method + " " + r.RequestURI + " " + r.Header.Get("Authorization") + " " + string(body))
		io.WriteString(w, `{"devices":[{"di":"1","new":"field"}],"events":[{"seq":7}],"accounts":[{"name":"ada"}],"code":"K"}`)
	})
	ctx := t.Context()
	since := time.Date(2026, 1, 31, 9, 0, 0, 0, time.FixedZone("", 3600))
	for _, tt := range []struct {
		want string
		call func() error
	}{
		{"GET /api/v1/devices Bearer fut_x", func() error { _, err := c.Devices(ctx); return err }},
		{"DELETE /api/v1/devices/1%2F2 Bearer fut_x", func() error { return c.Forget(ctx, "1/2") }},
		{"GET /api/v1/events Bearer fut_x", func() error { _, err := c.Events(ctx, Filter{}); return err }},
		{"GET /api/v1/events?device=1&href=%2Fa%2Flight&limit=3&since=2026-01-31T08%3A00%3A00Z Bearer fut_x", func() error {
			_, err := c.Events(ctx, Filter{Device: "1", Href: "/a/light", Since: since, Limit: 3})
			return err
		}},
		{"POST /api/v1/pairing-codes Bearer fut_x", func() error { _, err := c.NewCode(ctx); return err }},
		{"GET /api/v1/accounts Bearer fut_x", func() error { _, err := c.Accounts(ctx); return err }},
		{`POST /api/v1/accounts Bearer fut_x {"name":"ada","password":"pw","admin":true}`, func() error { return c.AddAccount(ctx, "ada", "pw", true) }},
		{`PUT /api/v1/accounts/a%20b/password Bearer fut_x {"password":"pw"}`, func() error { return c.SetPassword(ctx, "a b", "pw") }},
		{`POST /api/v1/accounts/a%20b/logins Bearer fut_x {"name":"lamp","resource":"r"}`, func() error { _, err := c.AddLogin(ctx, "a b", "lamp", "r"); return err }},
		{"GET /api/v1/accounts/a%20b/logins Bearer fut_x", func() error { _, err := c.Logins(ctx, "a b"); return err }},
		{"DELETE /api/v1/accounts/a%20b/logins/x%2Fy Bearer fut_x", func() error { return c.RemoveLogin(ctx, "a b", "x/y") }},
		{"DELETE /api/v1/accounts/ada Bearer fut_x", func() error { return c.RemoveAccount(ctx, "ada") }},
	} {
		if err := tt.call(); err != nil || got != tt.want {
			t.Errorf("sent %s, %v\nwant %s", got, err, tt.want)
		}
	}
}

func TestProblems(t *testing.T) {
	for _, tt := range []struct {
		status     int
		kind, body string
		want       string
	}{
		{403, "application/problem+json", `{"title":"Forbidden","detail":"not yours"}`, "403 Forbidden: not yours"},
		{401, "application/problem+json; charset=utf-8", `{"title":"Unauthorized"}`, "401 Unauthorized"},
		{500, "text/html", "<html>", "500 Internal Server Error"},
		{404, "application/json", "{", "404 Not Found"},
		{302, "", "", "302 Found"},
	} {
		c := client(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", tt.kind)
			w.WriteHeader(tt.status)
			io.WriteString(w, tt.body)
		})
		_, err := c.Devices(t.Context())
		p, ok := errors.AsType[*Problem](err)
		if !ok || p.Status != tt.status || p.Error() != tt.want {
			t.Errorf("err = %v, want %s", err, tt.want)
		}
	}
}

func TestUnreached(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	c := New(Config{Base: server.URL, Timeout: time.Second})
	if _, err := c.Devices(t.Context()); !errors.Is(err, ErrNoConnect) || strings.Contains(err.Error(), "Get ") {
		t.Errorf("closed port: %v", err)
	}
	silent := client(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	silent.cfg.Timeout = 20 * time.Millisecond
	if _, err := silent.Devices(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("silent server: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := silent.Devices(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	c = client(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") })
	if _, err := c.Devices(t.Context()); err == nil {
		t.Error("HTML was taken for devices")
	}
	c = client(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) })
	if _, err := c.Devices(t.Context()); err == nil {
		t.Error("a redirect was followed")
	}
}

// A server with a certificate of nobody known is refused, which is not the
// same as being unreachable.
func TestUntrusted(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	c := New(Config{Base: server.URL, Timeout: time.Second})
	defer c.Close()
	_, err := c.Devices(t.Context())
	if err == nil || errors.Is(err, ErrNoConnect) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("err = %v", err)
	}
}

func TestFollow(t *testing.T) {
	var from string
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		from = r.Header.Get("Last-Event-ID")
		io.WriteString(w, ": hello\n\nid: 8\ndata: {\"seq\":8,\"href\":\"/a/door\"}\n\nevent: lag\ndata: x\n\nid: 9\ndata: {\"seq\":9}\n\n")
	})
	var seen []uint64
	err := c.Follow(t.Context(), Filter{}, 7, func(e Event) error { seen = append(seen, e.Seq); return nil })
	if !errors.Is(err, io.ErrUnexpectedEOF) || len(seen) != 2 || seen[1] != 9 || from != "7" {
		t.Errorf("saw %v from %q, %v", seen, from, err)
	}
	stop := errors.New("stop")
	if err := c.Follow(t.Context(), Filter{}, 0, func(Event) error { return stop }); err != stop {
		t.Errorf("err = %v", err)
	}
}

func TestFind(t *testing.T) {
	devices := []Device{{ID: "0685b960-1", Name: "lamp"}, {ID: "0685c000-2", Name: "door"}, {ID: "0690-3", Name: "twin"}, {ID: "0691-4", Name: "twin"}, {ID: "aa-5", Name: "0690-3"}}
	for name, want := range map[string]string{
		"lamp": "0685b960-1", "0685b": "0685b960-1", "0685B960-1": "0685b960-1", "0685": "", "twin": "", "": "", "x": "", "0690-3": "0690-3", "069": "",
	} {
		d, err := Find(devices, name)
		if d.ID != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", name, d.ID, err)
		}
	}
}

func FuzzStream(f *testing.F) {
	f.Add("id: 1\ndata: {}\n\n")
	f.Add("event: x\r\ndata: a\ndata:b\n\n:\n\ndata\n\n")
	f.Fuzz(func(t *testing.T, s string) {
		total := 0
		err := readStream(strings.NewReader(s), func(kind, data string) error {
			total += len(kind) + len(data)
			return nil
		})
		if err == nil || total > 2*len(s) {
			t.Fatalf("%q: %d bytes of events, %v", s, total, err)
		}
	})
}
