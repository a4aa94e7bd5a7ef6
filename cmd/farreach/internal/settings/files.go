package settings

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxSecret is the longest token or password read from a file, in bytes.
const maxSecret = 4096

// The directories of the XDG base directory specification, for farreach.
// lookup is os.LookupEnv or a stand-in.

// DataDir is where a server keeps what must not be lost.
func DataDir(lookup func(string) (string, bool)) string {
	return xdg(lookup, "XDG_DATA_HOME", ".local/share")
}

// ConfigDir is where the user's profiles and configuration are.
func ConfigDir(lookup func(string) (string, bool)) string {
	return xdg(lookup, "XDG_CONFIG_HOME", ".config")
}

// StateDir is where a device keeps what it was given when it joined.
func StateDir(lookup func(string) (string, bool)) string {
	return xdg(lookup, "XDG_STATE_HOME", ".local/state")
}

func xdg(lookup func(string) (string, bool), name, below string) string {
	if dir, ok := lookup(name); ok && filepath.IsAbs(dir) {
		return filepath.Join(dir, "farreach")
	}
	home, _ := lookup("HOME") // without one: relative to where we are
	return filepath.Join(home, below, "farreach")
}

// WriteFile replaces a file, mode 0600, as a whole or not at all.
func WriteFile(name string, b []byte) error {
	return WriteThrough(name, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// WriteThrough replaces a file, mode 0600, by what write writes, as a whole or,
// if there is any error, not at all.
func WriteThrough(name string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*") // mode 0600
	if err != nil {
		return err
	}
	err = write(f)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// ReadSecret returns the first line of a file.
func ReadSecret(name string) (string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return "", err
	}
	if info.Size() > maxSecret {
		return "", fmt.Errorf("%s: longer than %d bytes", name, maxSecret)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimSpace(line); line == "" {
		return "", fmt.Errorf("%s: empty", name)
	}
	return line, nil
}
