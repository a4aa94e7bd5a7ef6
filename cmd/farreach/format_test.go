package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFormat: a data directory of a newer program is not touched; one from
// before there was a number gets it.
func TestFormat(t *testing.T) {
	for _, test := range []struct {
		text, why string // "": there is no file
	}{
		{"", ""},
		{"1\n", ""},
		{"1", ""},
		{"2\n", "was written by a newer farreach: its format is 2, and this one knows 1"},
		{"0\n", "is damaged"},
		{"one\n", "is damaged"},
		{"\n", "is damaged"},
	} {
		dir := t.TempDir()
		name := filepath.Join(dir, "format")
		if test.text != "" {
			if err := os.WriteFile(name, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		err := checkFormat(dir)
		if test.why == "" && err != nil || test.why != "" && (err == nil || !strings.Contains(err.Error(), test.why) || codeOf(err) != exitConfig) {
			t.Errorf("format %q: %v", test.text, err)
		}
		if b, err := os.ReadFile(name); err != nil || test.text == "" && string(b) != "1\n" || test.text != "" && string(b) != test.text {
			t.Errorf("format %q: the file is %q, %v", test.text, b, err)
		}
	}
}
