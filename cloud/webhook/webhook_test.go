package webhook

import (
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, private bool) *Webhooks {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{Dir: filepath.Join(t.TempDir(), "data")})
	if err != nil {
		t.Fatal(err)
	}
	w, err := Open(t.Context(), Config{Store: s, Private: private})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close(); s.Close() })
	return w
}

func refused(t *testing.T, what string, err error, want oic.Status) {
	t.Helper()
	if got, _ := oic.StatusOf(err); err == nil || got != want {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestTargets(t *testing.T) {
	w := open(t, false)
	for _, bad := range [][2]string{{"", "https://example.org"}, {"A", "https://example.org"}, {"a b", "https://example.org"},
		{"a", "ftp://example.org"}, {"a", "https://"}, {"a", "https://u:p@example.org"}, {"a", ":"}, {strings.Repeat("a", 33), "https://example.org"}} {
		_, err := w.Add(t.Context(), "home", bad[0], bad[1])
		refused(t, bad[0]+" "+bad[1], err, oic.BadRequest)
	}
	for i := range maxTargets {
		if _, err := w.Add(t.Context(), "home", string(rune('a'+i)), "https://example.org"); err != nil {
			t.Fatal(err)
		}
	}
	_, err := w.Add(t.Context(), "home", "more", "https://example.org")
	refused(t, "one too many", err, oic.Forbidden)
	if err := w.Remove(t.Context(), "home", "b"); err != nil {
		t.Fatal(err)
	}
	refused(t, "removed again", w.Remove(t.Context(), "home", "b"), oic.NotFound)
	_, err = w.Add(t.Context(), "home", "a", "https://example.org")
	refused(t, "the same name", err, oic.Conflict)
	if err := w.Purge(t.Context(), "home"); err != nil || len(w.List("home")) != 0 {
		t.Error(err)
	}
}

// TestCall: what a target gets, and what is made of what it does.
func TestCall(t *testing.T) {
	w := open(t, true)
	var target Target
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if got := r.Header.Get("webhook-signature"); got != Sign(target.Secret, r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp"), b) {
			t.Errorf("signature %s", got)
		}
		switch string(b) {
		case "redirect":
			http.Redirect(rw, r, "/elsewhere", http.StatusFound)
		case "much":
			_, _ = io.WriteString(rw, strings.Repeat("x", maxBody+1))
		case "refuse":
			rw.WriteHeader(http.StatusTeapot)
		default:
			_, _ = rw.Write(b)
		}
	}))
	defer server.Close()
	var err error
	if target, err = w.Add(t.Context(), "home", "echo", server.URL); err != nil {
		t.Fatal(err)
	}
	answer, err := w.Call(t.Context(), "home", "echo", "1", []byte(`{"a":1}`))
	if err != nil || answer.Status != 200 || string(answer.Body) != `{"a":1}` {
		t.Errorf("%+v, %v", answer, err)
	}
	if answer, err := w.Call(t.Context(), "home", "echo", "1", []byte("refuse")); err != nil || answer.Status != 418 {
		t.Errorf("%+v, %v", answer, err)
	}
	for _, body := range []string{"redirect", "much"} {
		_, err := w.Call(t.Context(), "home", "echo", "1", []byte(body))
		refused(t, body, err, oic.BadGateway)
	}
	_, err = w.Call(t.Context(), "barn", "echo", "1", nil)
	refused(t, "of another account", err, oic.NotFound)
	_, err = w.Call(t.Context(), "home", "echo", "1", make([]byte, maxBody+1))
	refused(t, "too large", err, oic.TooLarge)
}

// TestBad50Inside: addresses that are not dialled, whatever name leads there.
func TestBad50Inside(t *testing.T) {
	w := open(t, false)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was asked") }))
	defer server.Close()
	for name, address := range map[string]string{"ip": server.URL, "name": strings.Replace(server.URL, "127.0.0.1", "localhost", 1)} {
		if _, err := w.Add(t.Context(), "home", name, address); err != nil {
			t.Fatal(err)
		}
		_, err := w.Call(t.Context(), "home", name, "1", nil)
		refused(t, address, err, oic.BadGateway)
	}
	for _, a := range []string{"127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "255.255.255.255",
		"224.0.0.1", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "ff02::1", "64:ff9b::a00:1", "2002:a00:1::"} {
		if outside("["+a+"]:443") == nil && outside(a+":443") == nil {
			t.Errorf("%s is dialled", a)
		}
	}
	for _, a := range []string{"192.0.2.1:443", "[2001:db8::1]:443"} {
		if err := outside(a); err != nil {
			t.Error(err)
		}
	}
}

// TestSign: the example of the libraries of Standard Webhooks.
func TestSign(t *testing.T) {
	const want = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	got := Sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if got != want {
		t.Errorf("%s, want %s", got, want)
	}
	a := Sign("whsec_AAAA", "msg", "1", []byte("{}"))
	if !strings.HasPrefix(a, "v1,") || a == Sign("whsec_AAAB", "msg", "1", []byte("{}")) || a == Sign("whsec_AAAA", "msg", "2", []byte("{}")) {
		t.Error(a)
	}
}
