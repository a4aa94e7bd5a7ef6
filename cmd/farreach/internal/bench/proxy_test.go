package bench

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestProxy measures the XC-Proxy, shortly: all there is to measure works.
func TestProxy(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program and loads it")
	}
	program := filepath.Join(t.TempDir(), "farreach")
	if out, err := exec.Command("go", "build", "-o", program, "../..").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	report, err := RunProxy(t.Context(), ProxyConfig{Program: program, Devices: 5, Calm: time.Millisecond, Idle: 100 * time.Millisecond, For: 100 * time.Millisecond, Progress: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"discovery", "latency", "observers", "idle", "memory"} {
		if f := report.Figures[i]; f.Name != want || f.Aim <= 0 || f.Note == "" {
			t.Errorf("figure %d is %+v, want %s", i, f, want)
		}
	}
	if n := report.Figures[2].Measured; n != 1 {
		t.Errorf("%v observations of the lamp", n)
	}
}
