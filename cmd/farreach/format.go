package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/farreach/farreach/internal/kept"
)

// dataFormat is what the data directory of this program looks like. It grows by
// one with a change that an older program would misunderstand, which is then
// made here when the directory is opened. Before there was a number it was 1.
const dataFormat = 1

// checkFormat refuses a data directory that a newer program has written, and
// leaves the number for older ones.
func checkFormat(dir string) error {
	name := filepath.Join(dir, "format")
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return kept.Write(name, []byte(strconv.Itoa(dataFormat)+"\n"), 0o600)
	}
	if err != nil {
		return fail(exitConfig, "another --data", "data: %w", err)
	}
	format, err := strconv.Atoi(strings.TrimSpace(string(text)))
	switch {
	case err != nil || format < 1:
		return fail(exitConfig, "another --data, or a backup", "data: %s is damaged: it is to say which format the directory has", name)
	case format > dataFormat:
		return fail(exitConfig, "a newer farreach, or another --data", "data: %s was written by a newer farreach: its format is %d, and this one knows %d", dir, format, dataFormat)
	}
	return nil
}
