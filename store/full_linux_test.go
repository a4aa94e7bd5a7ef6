package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/farreach/farreach/store"
)

// smallDisk mounts a file system of some megabytes, which needs a privileged user.
func smallDisk(t *testing.T, megabytes int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", megabytes)); err != nil {
		t.Skip("cannot mount a file system: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestBad52DiskFull fills the disk, by others and by the store itself: writes
// are refused as unavailable, reads go on, and all heals when there is space
// again (rule 18). Nothing that was acknowledged is lost.
func TestBad52DiskFull(t *testing.T) {
	for name, c := range map[string]struct {
		others int // bytes that others write
		record int // bytes of one record
	}{
		"by others":    {23 << 20, 10},
		"by the store": {16 << 20, 900 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			disk := smallDisk(t, 24)
			l := openLog(t, open(t, filepath.Join(disk, "data")), 1)
			mustAppend(t, l, "first", "k")
			others := filepath.Join(disk, "others")
			if err := os.WriteFile(others, make([]byte, c.others), 0o600); err != nil {
				t.Fatal(err)
			}
			record := bytes.Repeat([]byte{7}, c.record)
			acked := 1
			for {
				_, err := l.Append(t.Context(), []string{"k"}, record)
				if errors.Is(err, store.ErrUnavailable) {
					t.Logf("after %d records: %v", acked, err)
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				acked++
			}
			if last, err := l.Last(t.Context(), []string{"k"}); err != nil || len(last.Data) == 0 {
				t.Errorf("a full disk cannot be read: %d bytes, %v", len(last.Data), err)
			}
			if err := os.Remove(others); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			for {
				_, err := l.Append(t.Context(), []string{"k"}, []byte("healed"))
				if err == nil { // it reads over another connection
					_, err = l.Last(t.Context(), []string{"k"})
				}
				if err == nil {
					break
				}
				if !errors.Is(err, store.ErrUnavailable) || time.Since(begin) > time.Minute {
					t.Fatalf("not healed after %v: %v", time.Since(begin), err)
				}
			}
			t.Logf("healed after %v", time.Since(begin))
			found := 0
			if err := l.Read(t.Context(), store.Start{}, nil, func(r store.Record) bool { found++; return true }); err != nil {
				t.Fatal(err)
			}
			if found < acked+1 {
				t.Errorf("%d records, %d were acknowledged", found, acked+1)
			}
		})
	}
}
