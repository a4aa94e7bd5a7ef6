package api_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/farreach/farreach/api"
	"github.com/farreach/farreach/internal/archive"
)

func TestStatus(t *testing.T) {
	h := newHome(t)
	resp := h.ask("GET", "/api/v1/status", h.as("root"), "")
	defer resp.Body.Close()
	var s api.Status
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%d, %v", resp.StatusCode, err)
	}
	want := api.DeviceCounts{Unknown: 1} // the lamp signed up, and never connected
	if s.Schema != "farreach.status/v1" || s.Version != "test" || !s.Ready || s.Store.Kind != "embedded" || s.Devices != want || s.Certificate.Unix() != 2e9 {
		t.Errorf("status: %+v", s)
	}
}

func TestMetrics(t *testing.T) {
	h := newHome(t)
	h.ask("GET", "/api/v1/devices", "fut_"+strings.Repeat("x", 32), "").Body.Close()
	resp := h.ask("GET", "/metrics", h.as("root"), "")
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if kind := resp.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/plain") || !strings.Contains(string(text), "farreach_build_info") ||
		!strings.Contains(string(text), `farreach_logins_total{result="4.01",what="api"} 1`) {
		t.Errorf("%s: %.100s", kind, text)
	}
}

// A backup can be read to its end while the lamp is there.
func TestBackup(t *testing.T) {
	h := newHome(t)
	resp := h.ask("GET", "/api/v1/backup", h.as("root"), "")
	defer resp.Body.Close()
	r, streams := archive.NewReader(resp.Body), map[string]bool{}
	for {
		name, _, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		stream, _, _ := strings.Cut(name, "/")
		streams[stream] = true
	}
	for _, name := range []string{"KV_farreach-devices", "farreach-event"} {
		if !streams[name] {
			t.Errorf("no %s in %v", name, streams)
		}
	}
}
