// Package kept keeps what has to be there when a program starts again: files that
// are replaced as a whole or not at all, also when the power goes meanwhile.
//
//	Write, Save ──▶ new file ── synced ──▶ takes the place of the old one
package kept

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
)

// Replace replaces a file by what write writes, mode 0600; if there is any error,
// the file is as it was.
func Replace(name string, write func(io.Writer) error) error {
	return replace(name, 0o600, write)
}

// Write replaces a file by b.
func Write(name string, b []byte, mode fs.FileMode) error {
	return replace(name, mode, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

func replace(name string, mode fs.FileMode, write func(io.Writer) error) error {
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, "."+filepath.Base(name)+"-*") // mode 0600
	if err != nil {
		return err
	}
	err = errors.Join(write(f), f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(dir)
}

// syncDir makes a rename in dir survive a power loss.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if runtime.GOOS == "windows" {
		err = nil // it cannot, and need not
	}
	return errors.Join(err, d.Close())
}

// version is that of the documents of Load and Save.
const version = 1

// Load reads the JSON document that Save wrote into doc. Without a file doc stays
// as it is.
func Load(name string, doc any) error {
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var is struct{ Version int }
	if err := json.Unmarshal(b, &is); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if is.Version != version {
		return fmt.Errorf("%s: version %d is not known here", name, is.Version)
	}
	if err := json.Unmarshal(b, doc); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// LoadSecrets is Load of a file with tokens or passwords in it. One that others can
// read is refused: they may have done so already.
func LoadSecrets(name string, doc any) error {
	info, err := os.Stat(name)
	if err == nil && info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		return fmt.Errorf("%s holds secrets and can be read by others: chmod 600 it", name)
	}
	return Load(name, doc)
}

// Save replaces a file by doc, a struct, as JSON, mode 0600, and makes its
// directory, mode 0700, if there is none.
func Save(name string, doc any) error {
	b, err := json.MarshalIndent(doc, "", "\t")
	if err != nil {
		return err
	}
	first := fmt.Appendf(nil, "{\n\t\"version\": %d,", version)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	return Write(name, append(append(first, b[1:]...), '\n'), 0o600)
}

// Memory keeps a T as long as the program runs. Its methods may be called from
// several goroutines.
type Memory[T any] struct {
	mu    sync.Mutex // guards value
	value T
}

// Load returns what was saved last, or the zero T.
func (m *Memory[T]) Load() (T, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.value, nil
}

// Save keeps value.
func (m *Memory[T]) Save(value T) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.value = value
	return nil
}
