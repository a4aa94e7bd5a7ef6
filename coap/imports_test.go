package coap_test

import (
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

// codec are the files that make up the codec.
var codec = []string{"coap.go", "code.go", "option.go", "path.go", "codec.go", "codec_option.go", "uri.go"}

// The codec needs no network, no goroutine, no clock and no other file of this
// package: whoever brings a server takes these files, or this package without
// paying for more (CI-013).
func TestCodecStandsAlone(t *testing.T) {
	allowed := []string{"bytes", "encoding/binary", "errors", "fmt", "net/netip", "slices", "strconv", "strings"}
	for _, name := range codec {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imp := range file.Imports {
			if path, _ := strconv.Unquote(imp.Path.Value); !slices.Contains(allowed, path) {
				t.Errorf("%s imports %s", name, path)
			}
		}
	}

	dir := t.TempDir()
	for _, name := range codec {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module codec\n\ngo 1.26\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, arch := range []string{"amd64", "arm"} { // the second has an int of 32 bits
		cmd := exec.CommandContext(t.Context(), "go", "build", ".")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "GOWORK=off", "GOFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("alone for %s: %v\n%s", arch, err, out)
		}
	}
}
