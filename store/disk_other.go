//go:build !(linux || darwin || freebsd)

package store

import (
	"os"
	"path/filepath"
)

// lockDir opens the lock file; these systems are not protected from a second process.
func lockDir(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
}

// diskSpace is not known: a full disk is noticed when a write fails.
func diskSpace(string) (free, size uint64, ok bool) { return 0, 0, false }
