package store

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// syncRetry is the time between attempts while the disk refuses to sync.
const syncRetry = time.Second

// syncer brings what the embedded server has written onto the disk.
//
//	server has it ── wrote ──▶ dirty ── at most Config.Sync later ──▶ fsync of the stream's newest block
//	                   ▲                                                  │
//	                   └───── if before every acknowledgement: waits ◀────┘
//
// The server can do this too, but not well: with an interval of 10 ms it
// flushes the disk's cache a hundred times a second for each stream, written or
// not, and if it is to sync always, once for each record. The syncer sleeps
// while nothing is written, and all writes that wait have one fsync in common.
type syncer struct {
	dir   string        // with one directory for each stream
	after time.Duration // 0: at once, and wrote waits for it
	log   *slog.Logger
	bad   atomic.Bool   // the last attempt failed
	wake  chan struct{} // holds one if dirty is not empty

	mu    sync.Mutex // guards dirty
	dirty map[string]*round

	blocks map[string]int // the newest block of each stream that was synced; run's alone
	synced func(file string)
}

// round is one sync of a stream: it has what was written before it began.
type round struct {
	done chan struct{} // closed afterwards; then
	err  error         // is how it went
}

func newSyncer(dir string, after time.Duration, log *slog.Logger) *syncer {
	return &syncer{
		dir:   filepath.Join(dir, "jetstream", "$G", "streams"),
		after: after, log: log,
		wake:   make(chan struct{}, 1),
		dirty:  map[string]*round{},
		blocks: map[string]int{},
		synced: func(string) {},
	}
}

// wrote takes note that the server has written to stream, of s, and returns
// when that is as safe as Config.Sync says. y may be nil.
func (y *syncer) wrote(ctx context.Context, s *Store, stream string) error {
	if y == nil {
		return nil
	}
	r := y.mark(stream)
	if y.after > 0 {
		return nil
	}
	ctx, cancel := s.patience(ctx)
	defer cancel()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// mark returns the next round of stream.
func (y *syncer) mark(stream string) *round {
	y.mu.Lock()
	defer y.mu.Unlock()
	if r := y.dirty[stream]; r != nil {
		return r
	}
	r := &round{done: make(chan struct{})}
	y.dirty[stream] = r
	select {
	case y.wake <- struct{}{}:
	default:
	}
	return r
}

// run syncs until done is closed, and then what is left.
func (y *syncer) run(done <-chan struct{}) {
	wait := y.after
	for {
		select {
		case <-y.wake:
		case <-done:
			y.sync()
			return
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-done:
			timer.Stop()
		}
		if wait = y.after; !y.sync() {
			wait = syncRetry
		}
	}
}

// sync syncs all dirty streams. Those that fail stay dirty.
func (y *syncer) sync() bool {
	y.mu.Lock()
	dirty := y.dirty
	y.dirty = map[string]*round{}
	y.mu.Unlock()
	var failed error
	for stream, r := range dirty {
		if r.err = y.stream(stream); r.err != nil {
			failed = errors.Join(failed, r.err)
			y.mark(stream)
		}
		close(r.done)
	}
	if failed != nil {
		y.log.Error("what was stored is not on the disk", "err", failed)
	}
	y.bad.Store(failed != nil)
	return failed == nil
}

// stream syncs the blocks of a stream from the last one on that was synced:
// the server writes to the newest alone, and syncs an older one itself when it
// rewrites it. The first time it syncs the stream's other files and directories
// as well, and all blocks: another process may have written them just now.
func (y *syncer) stream(name string) error {
	dir := filepath.Join(y.dir, name)
	msgs := filepath.Join(dir, "msgs")
	entries, err := os.ReadDir(msgs)
	if err != nil {
		return err
	}
	last, known := y.blocks[name]
	newest := last
	for _, e := range entries {
		index, err := strconv.Atoi(strings.TrimSuffix(e.Name(), ".blk"))
		if err != nil || index < last {
			continue
		}
		newest = max(newest, index)
		err = y.file(filepath.Join(msgs, e.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // removed meanwhile: its records were
			return err
		}
	}
	if !known {
		if err := y.created(dir); err != nil {
			return err
		}
	}
	if !known || newest != last {
		if err := y.file(msgs); err != nil {
			return err
		}
	}
	y.blocks[name] = newest
	return nil
}

// created syncs what makes up a stream beside its blocks.
func (y *syncer) created(dir string) error {
	for _, file := range []string{filepath.Join(dir, "meta.inf"), filepath.Join(dir, "meta.sum"), dir, y.dir, filepath.Dir(y.dir)} {
		if err := y.file(file); err != nil {
			return err
		}
	}
	return nil
}

// file syncs one file or directory: its content, by whomever written.
func (y *syncer) file(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	err = errors.Join(f.Sync(), f.Close())
	y.synced(name)
	return err
}
