package store_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/farreach/farreach/store"
	"github.com/farreach/farreach/store/storetest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("FARREACH_TEST_APPEND"); dir != "" {
		os.Exit(appendForever(dir))
	}
	goleak.VerifyTestMain(m)
}

// quiet is a log that shows only what would wake someone.
func quiet(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// open opens a store on the embedded server in dir.
func open(t testing.TB, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{Dir: dir, Log: quiet(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// newDir returns a fresh directory that the store accepts.
func newDir(t testing.TB) string { return filepath.Join(t.TempDir(), "data") }

// overEach runs f on the embedded server, on one that listens, and on a cluster.
func overEach(t *testing.T, f func(t *testing.T, s *store.Store)) {
	t.Run("embedded", func(t *testing.T) { f(t, open(t, newDir(t))) })
	t.Run("url", func(t *testing.T) { f(t, at(t, storetest.Server(t), 1)) })
	t.Run("cluster", func(t *testing.T) { f(t, at(t, storetest.NewCluster(t).URL(), 3)) })
}

// at opens a store on the servers at url.
func at(t testing.TB, url string, replicas int) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{URL: url, Replicas: replicas, Log: quiet(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestOpenRefuses(t *testing.T) {
	open755 := t.TempDir()
	if err := os.Chmod(open755, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		cfg  store.Config
		want string
	}{
		{"nothing", store.Config{}, "neither"},
		{"both", store.Config{Dir: "a", URL: "b"}, "one is wanted"},
		{"TestBad46 readable by others", store.Config{Dir: open755}, "chmod 700"},
		{"a file", store.Config{Dir: file}, "not a directory"},
		{"nobody listens", store.Config{URL: "nats://127.0.0.1:1"}, "unavailable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := store.Open(t.Context(), c.cfg)
			if err == nil {
				s.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q does not say %q", err, c.want)
			}
		})
	}
}

// TestBad46Modes: nothing that the store writes can be read by others.
func TestBad46Modes(t *testing.T) {
	dir := newDir(t)
	s := open(t, dir)
	table, err := store.OpenTable[string](t.Context(), s, "words", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := table.Put(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o700 {
		t.Errorf("data directory has mode %#o, want 0700", got)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := newDir(t)
	s := open(t, dir)
	want := fmt.Sprintf("in use by another process (pid %d)", os.Getpid())
	if _, err := store.Open(t.Context(), store.Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("second Open: %v, want %q", err, want)
	}
	s.Close()
	open(t, dir)
}

func TestClosed(t *testing.T) {
	s := open(t, newDir(t))
	table, err := store.OpenTable[int](t.Context(), s, "n", 0)
	if err != nil {
		t.Fatal(err)
	}
	l, err := store.OpenLog(t.Context(), s, "l", store.LogConfig{})
	if err != nil {
		t.Fatal(err)
	}
	followed := make(chan error, 1)
	go func() {
		followed <- l.Follow(context.Background(), 1, nil, nil, func(store.Record) error { return nil })
	}()
	if _, err := l.Append(t.Context(), []string{"k"}, nil); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s.Close() // again does nothing
	if err := <-followed; !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Follow of a closed store = %v, want ErrUnavailable", err)
	}
	if _, err := table.Put(t.Context(), "k", 1); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Put = %v, want ErrUnavailable", err)
	}
	if err := s.Ready(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Ready = %v, want ErrUnavailable", err)
	}
}
