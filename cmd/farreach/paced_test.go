package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestPaced: whoever floods the log gets 1,000 lines of it in a second, and it
// says how many more there were.
func TestPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(newPaced(slog.NewTextHandler(&out, nil)))
		flood := log.With("remote", "192.0.2.1").WithGroup("of")
		for range 1000 {
			flood.Warn("bad frame", "n", 1)
		}
		for range 234 {
			log.Warn("bad frame") // all loggers together
		}
		log.Debug("not written, and not counted")
		if n := strings.Count(out.String(), "\n"); n != 1000 {
			t.Errorf("%d lines in a second", n)
		}
		out.Reset()
		time.Sleep(time.Second) // of the bubble
		flood.Warn("bad frame", "n", 2)
		log.Info("all is well")
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 3 || !strings.HasSuffix(lines[0], `level=WARN msg="too many lines in a second; some were left out" lines=234`) ||
			!strings.HasSuffix(lines[1], `msg="bad frame" remote=192.0.2.1 of.n=2`) || !strings.HasSuffix(lines[2], `msg="all is well"`) {
			t.Errorf("the next second:\n%s", out.String())
		}
	})
}
