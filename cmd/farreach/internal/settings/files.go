package settings

import (
	"fmt"
	"os"
	"os/user"
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
	home, ok := lookup("HOME")
	if !ok {
		if me, err := user.Current(); err == nil { // as services and cron jobs start
			home = me.HomeDir
		}
	}
	return filepath.Join(home, below, "farreach") // without a home: relative to where we are
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
