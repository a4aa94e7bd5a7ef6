package store

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// syncing opens a store whose syncer reports what it syncs: file and content.
func syncing(t *testing.T) (s *Store, y *syncer, files map[string][]byte) {
	t.Helper()
	s, err := Open(t.Context(), Config{Dir: filepath.Join(t.TempDir(), "data"), Sync: time.Hour, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	y = newSyncer(s.server.dir, time.Millisecond, s.log)
	files = map[string][]byte{}
	y.synced = func(file string) {
		files[file], _ = os.ReadFile(file) // nothing, if it is a directory
	}
	s.syncer = y
	return s, y, files
}

// holds reports whether what is in a file that was synced.
func holds(files map[string][]byte, what string) bool {
	for _, content := range files {
		if bytes.Contains(content, []byte(what)) {
			return true
		}
	}
	return false
}

// TestSync: what was acknowledged is in a file that is synced, and while
// nothing is written, nothing is synced (rule 17).
func TestSync(t *testing.T) {
	s, y, files := syncing(t)
	table, err := OpenTable[string](t.Context(), s, "words", 0)
	if err != nil {
		t.Fatal(err)
	}
	l, err := OpenLog(t.Context(), s, "lines", LogConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"first word", "second word"} {
		if _, err := table.Put(t.Context(), "k", word); err != nil {
			t.Fatal(err)
		}
		if !y.sync() || !holds(files, word) {
			t.Fatalf("%q is in no file that was synced", word)
		}
	}
	if err := table.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if !y.sync() || !holds(files, "KV-Operation: PURGE") {
		t.Error("a deletion was not synced")
	}
	if _, err := l.Append(t.Context(), []string{"k"}, []byte("a line")); err != nil {
		t.Fatal(err)
	}
	if !y.sync() || !holds(files, "a line") {
		t.Error("a record was not synced")
	}
	for _, name := range []string{"", "..", "farreach-lines", "farreach-lines/meta.inf", "farreach-lines/msgs", "KV_farreach-words/meta.sum"} {
		if _, ok := files[filepath.Join(y.dir, name)]; !ok {
			t.Errorf("the new %q was not synced", name)
		}
	}
	clear(files)
	if !y.sync() || len(files) > 0 {
		t.Errorf("synced although nothing was written: %d files", len(files))
	}
}

// TestSyncManyBlocks: a burst fills several files between two syncs.
func TestSyncManyBlocks(t *testing.T) {
	s, y, files := syncing(t)
	l, err := OpenLog(t.Context(), s, "lines", LogConfig{})
	if err != nil {
		t.Fatal(err)
	}
	y.sync()
	clear(files)
	big := []byte(strings.Repeat("x", MaxValue-100))
	for range 20 {
		if _, err := l.Append(t.Context(), []string{"k"}, big); err != nil {
			t.Fatal(err)
		}
	}
	blocks, err := filepath.Glob(filepath.Join(y.dir, "farreach-lines", "msgs", "*.blk"))
	if err != nil || len(blocks) < 2 {
		t.Fatalf("%d blocks, %v", len(blocks), err)
	}
	y.sync()
	for _, block := range append(blocks, filepath.Join(y.dir, "farreach-lines", "msgs")) {
		if _, ok := files[block]; !ok {
			t.Errorf("%s was not synced", block)
		}
	}
	clear(files)
	y.mark("farreach-lines")
	if y.sync(); len(files) != 1 {
		t.Errorf("%d files are synced for the newest block", len(files))
	}
}

// TestSyncRuns: nobody needs to call sync.
func TestSyncRuns(t *testing.T) {
	s, y, _ := syncing(t)
	files := make(chan string, 100)
	y.synced = func(file string) { files <- file }
	done, ended := make(chan struct{}), make(chan struct{})
	go func() { y.run(done); close(ended) }()
	if _, err := OpenLog(t.Context(), s, "lines", LogConfig{}); err != nil {
		t.Fatal(err)
	}
	<-files
	close(done)
	<-ended
}

// TestSyncAlways: what is acknowledged is synced already, once for each record at
// most, and for each of a writer at least.
func TestSyncAlways(t *testing.T) {
	s, y, files := syncing(t)
	y.after = 0
	syncs := 0
	y.synced = func(file string) {
		syncs++
		files[file], _ = os.ReadFile(file)
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() { y.run(done); close(ended) }()
	defer func() { close(done); <-ended }()
	table, err := OpenTable[string](t.Context(), s, "words", 0)
	if err != nil {
		t.Fatal(err)
	}
	l, err := OpenLog(t.Context(), s, "lines", LogConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"first word", "second word"} {
		if _, err := table.Put(t.Context(), "k", word); err != nil || !holds(files, word) {
			t.Fatalf("%q, error %v, is in no file that was synced", word, err)
		}
	}
	if _, err := l.Append(t.Context(), []string{"k"}, []byte("a line")); err != nil || !holds(files, "a line") {
		t.Fatalf("a record, error %v, is in no file that was synced", err)
	}
	syncs = 0
	const writers, each = 32, 10
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				if _, err := l.Append(t.Context(), []string{"k"}, []byte("one of many")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if syncs < each || syncs > writers*each {
		t.Errorf("%d syncs for %d records of %d writers", syncs, writers*each, writers)
	}
	t.Logf("%d syncs for %d records of %d writers", syncs, writers*each, writers)
}

// TestSyncShared: all who wait for the next sync of a stream wait for the same.
func TestSyncShared(t *testing.T) {
	s, y, files := syncing(t)
	if _, err := OpenLog(t.Context(), s, "lines", LogConfig{}); err != nil {
		t.Fatal(err)
	}
	y.sync()
	clear(files)
	one := y.mark("farreach-lines")
	for range 32 {
		if y.mark("farreach-lines") != one {
			t.Fatal("one who waits has a sync of its own")
		}
	}
	if y.sync(); len(files) != 1 {
		t.Errorf("%d files are synced for the newest block", len(files))
	}
	if <-one.done; one.err != nil || y.mark("farreach-lines") == one {
		t.Errorf("after the sync: %v; what is written now waits for it", one.err)
	}
}

// TestSyncFails: while the disk does not sync, writes are refused.
func TestSyncFails(t *testing.T) {
	s, y, _ := syncing(t)
	l, err := OpenLog(t.Context(), s, "lines", LogConfig{})
	if err != nil {
		t.Fatal(err)
	}
	dir := y.dir
	y.dir = t.TempDir() // no stream is there
	if y.sync() || s.Ready(t.Context()) == nil {
		t.Error("a stream that is not there was synced")
	}
	if _, err := l.Append(t.Context(), []string{"k"}, nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a write is acknowledged: %v", err)
	}
	r := y.mark("farreach-lines")
	if y.sync(); r.err == nil {
		t.Error("one that waits for the sync is told that it went well")
	}
	y.dir = dir
	if !y.sync() || s.Ready(t.Context()) != nil {
		t.Error("it does not heal")
	}
}
