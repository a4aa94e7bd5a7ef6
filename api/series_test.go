package api_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/oic"
)

func TestEventSeries(t *testing.T) {
	h := newHome(t)
	start := h.history(240) // of four hours, a temperature that is the minute
	ask := func(query string, status int) map[string]any {
		t.Helper()
		return document(t, h.ask("GET", "/api/v1/events/series?device="+lamp+"&href=/a/light&"+query, h.as("home"), ""), status)
	}
	got := ask(fmt.Sprintf("property=temperature&buckets=2&since=%s&until=%s",
		start.Add(time.Hour).Format(time.RFC3339Nano), start.Add(3*time.Hour).Format(time.RFC3339Nano)), 200)
	buckets, _ := json.Marshal(got["buckets"])
	for _, part := range []string{`"count":60,"last":119,"max":119,"mean":89.5,"min":60`, `"count":60,"last":179,"max":179,"mean":149.5,"min":120`} {
		if !strings.Contains(string(buckets), part) {
			t.Errorf("buckets %s\nwant %s", buckets, part)
		}
	}
	before := got["before"].(map[string]any)
	if got["schema"] != "farreach.series/v1" || got["width_s"] != 3600.0 || got["values"] != 120.0 || before["value"] != 59.0 {
		t.Errorf("series %v", got)
	}
	if got := ask("property=value", 200); got["values"] != 1.0 || got["before"] != nil {
		t.Errorf("of a truth: %v", got)
	}
	if got := ask("property=colour", 200); got["values"] != 0.0 || len(got["buckets"].([]any)) != 0 {
		t.Errorf("of nothing: %v", got)
	}
	ask("", 422)
	ask("property=temperature&buckets=2001", 422)
	ask("property=temperature&since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", 400)
	ask("property=temperature&since=0001-01-02T00:00:00Z", 400)
	document(t, h.ask("GET", "/api/v1/events/series?property=value&href=/a/light&device="+lamp, h.as("other"), ""), 404)
}

// TestExport: everything comes, in either format, as it is asked for.
func TestExport(t *testing.T) {
	h := newHome(t)
	const n = 3000
	h.history(n)
	body, err := oic.Encode(oic.OCF, map[string]any{"timestamp": time.Now().Add(-time.Hour).UTC().Format(time.RFC3339), "text": "a,\"b\"\n"})
	if err != nil {
		t.Fatal(err)
	}
	h.report(string(body))
	h.report("not CBOR")
	export := func(query, accept, kind string) string {
		t.Helper()
		resp := h.ask("GET", "/api/v1/events/export?"+query, h.as("home"), "", func(r *http.Request) { r.Header.Set("Accept", accept) })
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), kind) {
			t.Fatalf("export: %d %s, %v", resp.StatusCode, resp.Header.Get("Content-Type"), err)
		}
		return string(b)
	}
	lines := strings.Split(strings.TrimSuffix(export("", "*/*", "application/x-ndjson"), "\n"), "\n")
	seq := 0.0
	for _, line := range lines {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil || e["schema"] != "farreach.event/v1" || e["seq"].(float64) <= seq {
			t.Fatalf("line %s behind %v: %v", line, seq, err)
		}
		seq = e["seq"].(float64)
	}
	if len(lines) != n+3 {
		t.Errorf("%d lines", len(lines))
	}
	for query, accept := range map[string]string{"": "text/csv", "format=csv": "*/*"} {
		rows, err := csv.NewReader(strings.NewReader(export(query, accept, "text/csv"))).ReadAll()
		if err != nil || len(rows) != n+4 {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		if got := strings.Join(rows[0], " "); got != "seq time device_time late di name href rep" {
			t.Errorf("head %s", got)
		}
		own, broken := rows[n+2], rows[n+3]
		if own[2] == "" || own[4] != lamp || own[5] != "lamp" || own[6] != "/a/light" || !strings.Contains(own[7], `a,\"b\"\n`) {
			t.Errorf("row %q", own)
		}
		if broken[7] != `"bm90IENCT1I="` {
			t.Errorf("row %q", broken)
		}
	}
	if got := export("device="+lamp+"&href=/a/other&format=csv", "", "text/csv"); strings.Count(got, "\n") != 1 {
		t.Errorf("of another resource: %q", got)
	}
	if got := export("since="+time.Now().Add(-90*time.Second).UTC().Format(time.RFC3339Nano), "", "application/x"); strings.Count(got, "\n") < 3 || strings.Count(got, "\n") > 5 {
		t.Errorf("of the last minutes: %q", got)
	}
}
