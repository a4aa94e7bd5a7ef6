package localca

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// readPrivate reads a file with a key in it and refuses it when other users
// may read it too: they may have done so already.
func readPrivate(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("%s: other users can read this key (mode %04o); make it 0600 if you are sure that nobody has", name, mode)
	}
	return os.ReadFile(name)
}

// writeFile replaces a file as a whole or not at all, also when the machine
// stops halfway.
func writeFile(name string, b []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
