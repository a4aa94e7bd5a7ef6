package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRun measures everything, shortly, and looks at what is said about it;
// how fast this machine is does not matter here.
func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program and loads it")
	}
	program := filepath.Join(t.TempDir(), "farreach")
	if out, err := exec.Command("go", "build", "-o", program, "../..").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	report, err := Run(t.Context(), Config{Program: program, Connections: 20, Devices: 3, For: 200 * time.Millisecond, Progress: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range report.Figures {
		names = append(names, f.Name)
		if f.Aim <= 0 || f.Measured == 0 || f.What == "" || f.Unit == "" {
			t.Errorf("incomplete: %+v", f)
		}
		if f.OK == slices.Contains(report.Missed, f.Name) {
			t.Errorf("%s: ok is %v, missed %v", f.Name, f.OK, report.Missed)
		}
	}
	want := []string{"pipelined", "pipelined-tls", "one-in-flight", "one-in-flight-tls", "idle", "idle-tls", "ready", "events", "command", "demo-memory"}
	if !slices.Equal(names, want) {
		t.Errorf("figures %v, want %v", names, want)
	}
	checkFields(t, report)
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "farreach-bench-*")); report.Seconds == 0 || len(left) > 0 && strings.HasPrefix(left[0], t.TempDir()) {
		t.Errorf("took %v s, left %v", report.Seconds, left)
	}
}

// checkFields: the JSON document has all fields, zero or not.
func checkFields(t *testing.T, report *Report) {
	t.Helper()
	text, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	if doc["schema"] != "farreach.bench/v1" {
		t.Errorf("schema %v", doc["schema"])
	}
	for _, field := range []string{"time", "go", "system", "cpus", "connections", "devices", "seconds", "figures", "missed", "notes"} {
		if doc[field] == nil {
			t.Errorf("no %s in %s", field, text)
		}
	}
	for _, f := range doc["figures"].([]any) {
		for _, field := range []string{"name", "what", "unit", "aim", "at_most", "measured", "ratio", "echo", "to_echo", "ok", "note"} {
			if f.(map[string]any)[field] == nil {
				t.Errorf("no %s in %v", field, f)
			}
		}
	}
}

func TestFigure(t *testing.T) {
	for _, test := range []struct {
		f             Figure
		ok            bool
		ratio, toEcho float64
	}{
		{Figure{Aim: 100, Measured: 150}, true, 1.5, 0},
		{Figure{Aim: 100, Measured: 100}, true, 1, 0},
		{Figure{Aim: 100, Measured: 50, Echo: 200}, false, 0.5, 0.25},
		{Figure{Aim: 100, Measured: 50, AtMost: true}, true, 0.5, 0},
		{Figure{Aim: 100, Measured: 150, AtMost: true}, false, 1.5, 0},
	} {
		if got := figure(test.f); got.OK != test.ok || got.Ratio != test.ratio || got.ToEcho != test.toEcho {
			t.Errorf("%+v", got)
		}
	}
}

func TestQuantile(t *testing.T) {
	d := []time.Duration{5, 3, 1, 2, 4}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 3, 0.99: 5, 1: 5} {
		if got := quantile(d, q); got != want {
			t.Errorf("quantile %v = %v, want %v", q, got, want)
		}
	}
	if quantile(nil, 0.5) != 0 {
		t.Error("quantile of nothing")
	}
}

// TestServe: a server process writes its address, answers, and ends with its
// input.
func TestServe(t *testing.T) {
	var out bytes.Buffer
	err := Serve(t.Context(), kindEcho, strings.NewReader("cpu\nheap\nmemory\n"), &out)
	if lines := strings.Count(out.String(), "\n"); err != nil || lines != 4 {
		t.Errorf("%v, said %q", err, out.String())
	}
	if err := Serve(context.Background(), "tea", strings.NewReader(""), io.Discard); err == nil {
		t.Error("serves tea")
	}
}
