package bench

import (
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// TestRemote measures Remote Access, shortly: all there is to measure works, and
// observations take no more memory than they may. An observation whose stack does not shrink
// while it waits takes 4 KiB more than it may.
func TestRemote(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program and loads it")
	}
	program := filepath.Join(t.TempDir(), "farreach")
	if out, err := exec.Command("go", "build", "-o", program, "../..").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	report, err := RunRemote(t.Context(), RemoteConfig{Program: program, Sessions: 4, For: 100 * time.Millisecond, Progress: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"get-to-echo", "round-trips", "device", "observations"} {
		if f := report.Figures[i]; f.Name != want || f.Aim <= 0 || f.Measured == 0 {
			t.Errorf("figure %d is %+v, want %s", i, f, want)
		}
		if want == "observations" && !report.Figures[i].OK && runtime.GOOS == "linux" {
			t.Errorf("memory, which does not depend on what else runs: %+v", report.Figures[i])
		}
	}
	if r := report.Rows[0]; len(report.Rows) != 1 || r.Get == 0 || r.Echo == 0 || r.ToEcho == 0 || r.Rate == 0 || r.Cost == 0 || r.ServerCPU == 0 {
		t.Errorf("rows: %+v", report.Rows)
	}
}
