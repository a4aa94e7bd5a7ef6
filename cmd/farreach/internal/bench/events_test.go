package bench

import (
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestRunEvents measures events, shortly.
func TestRunEvents(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program and loads it")
	}
	program := filepath.Join(t.TempDir(), "farreach")
	if out, err := exec.Command("go", "build", "-o", program, "../..").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	report, err := RunEvents(t.Context(), EventsConfig{Program: program, Devices: 4, Rules: 5, Subscribers: 3, Stored: 10, History: 3, Replay: 2500, For: 200 * time.Millisecond, Progress: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range report.Figures {
		names = append(names, f.Name)
		if f.Aim <= 0 || f.Measured == 0 || f.What == "" || f.Unit == "" || f.Note == "" {
			t.Errorf("incomplete: %+v", f)
		}
	}
	if want := []string{"followed", "events-rules", "history-memory", "replay"}; !slices.Equal(names, want) {
		t.Errorf("figures %v, want %v", names, want)
	}
}
