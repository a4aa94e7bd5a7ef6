package store

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

// TestMadeIsNotLost: a table that is being made looks to the server as if it were
// lost. The server is not judged by that, and so not replaced while a store that is
// new makes one table after the other, however long each takes.
func TestMadeIsNotLost(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), Config{Dir: filepath.Join(dir, "store"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := OpenLog(t.Context(), s, "made", LogConfig{}); err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "store", "*", "*", "streams", "farreach-made"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the log is in %q, %v", found, err)
	}
	half := filepath.Join(filepath.Dir(found[0]), "farreach-half")
	_, err = placed(t.Context(), s, func(context.Context) (any, error) {
		if err := os.Mkdir(half, 0o700); err != nil {
			return nil, err
		}
		if s.server.sick() == nil {
			t.Error("half a log does not look lost")
		}
		if reason, judged := s.judge(); judged {
			t.Errorf("judged: %v", reason)
		}
		return nil, os.Remove(half)
	})
	if err != nil {
		t.Fatal(err)
	}
	if reason, judged := s.judge(); !judged || reason != nil {
		t.Errorf("judged: %v, %v", judged, reason)
	}
}
