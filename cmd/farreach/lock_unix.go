//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// locksHold says whether locks keep others out.
const locksHold = true

// lock is a file that one process at a time holds. The system lets go of it
// when the process ends, however it ends.
type lock struct{ f *os.File }

// heldError says who has the lock.
type heldError struct{ pid string }

func (e *heldError) Error() string {
	if e.pid == "" {
		return ""
	}
	return fmt.Sprintf(" (pid %s)", e.pid)
}

// takeLock takes the lock, or fails at once with a *heldError.
func takeLock(name string) (*lock, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, err
		}
		pid := make([]byte, 20)
		n, _ := f.Read(pid) // for a person; none is fine
		return nil, &heldError{strings.TrimSpace(string(pid[:n]))}
	}
	if err := errors.Join(f.Truncate(0), writePID(f)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &lock{f}, nil
}

func writePID(f *os.File) error {
	_, err := fmt.Fprintln(f, os.Getpid())
	return err
}

// release lets go. The file stays: removing it would let two processes hold
// two files of the same name.
func (l *lock) release() { _ = l.f.Close() }
