package archtest

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/farreach/farreach"

// layers is the tree from the bottom up. A package may import what stands in a
// lower row, and what stands in its own subtree or above it there. A name ending in /
// stands for all packages below it that are not named themselves.
var layers = [][]string{
	{"internal/kept"},
	{"store", "store/storetest", "internal/"},
	{"internal/xmppservers"},
	{"coap", "coap/coaptest", "coap/dtls", "oic", "oic/oictest", "xmpp/jid", "xmpp/stream", "xmpp/stream/framing", "xmpp/sasl", "xmpp/sm"},
	{"oic/oiccoap", "device", "device/", "xmpp/stanza"},
	{"cloudlink", "lan", "xmpp"},
	{"xmpp/disco", "xmpp/ibb", "xmpp/ping", "xmpp/roster"},
	{"xmpp/xmpptest"},
	{"xmppd", "xmppd/xmppdtest"},
	{"rae"},
	{"cloud/node"},
	{"cloud", "cloud/account", "cloud/audit", "cloud/command", "cloud/webhook", "cloud/directory", "cloud/event", "cloud/metrics", "cloud/rule", "rabridge", "reach", "xcproxy"},
	{"api", "web"},
	{"cmd/farreach/internal/"},
	{"cmd/farreach", "cmd/farreach/internal/bench", "cmd/farreach/internal/checkup", "e2e", "examples/", "web/browser/crowd"},
}

// maxLines is the longest that a file may be.
const maxLines = 1200

func TestImportsPointDown(t *testing.T) {
	for _, f := range parseModule(t) {
		from := layerOf(f.pkg)
		if from < 0 {
			t.Errorf("%s: package %s stands in no layer of docs/architecture.md", f.path, f.pkg)
			continue
		}
		for _, imported := range f.imports {
			to := layerOf(imported)
			if to < 0 || to > from || to == from && !related(f.pkg, imported) {
				t.Errorf("%s: %s (layer %d) must not import %s (layer %d)", f.path, f.pkg, from, imported, to)
			}
		}
	}
}

func TestEveryPackageHasAComment(t *testing.T) {
	commented := map[string]bool{}
	for _, f := range parseModule(t) {
		if strings.HasSuffix(f.path, "_test.go") {
			continue
		}
		commented[f.pkg] = commented[f.pkg] || f.doc
	}
	for pkg, ok := range commented {
		if !ok {
			t.Errorf("package %s has no comment", pkg)
		}
	}
}

func TestFilesAreOneSitting(t *testing.T) {
	var lines []int
	for _, f := range parseModule(t) {
		if f.lines > maxLines {
			t.Errorf("%s has %d lines, more than %d", f.path, f.lines, maxLines)
		}
		lines = append(lines, f.lines)
	}
	slices.Sort(lines)
	if median := lines[len(lines)/2]; median > 260 {
		t.Errorf("the median file has %d lines, more than 260", median)
	}
}

func TestLayersNameWhatExists(t *testing.T) {
	var pkgs []string
	for _, f := range parseModule(t) {
		pkgs = append(pkgs, f.pkg)
	}
	for i, layer := range layers {
		for _, name := range layer {
			if !slices.ContainsFunc(pkgs, func(pkg string) bool { return covers(name, pkg) }) {
				t.Errorf("layer %d names %s, which does not exist", i, name)
			}
		}
	}
}

// file is what the tests need to know of one Go file.
type file struct {
	path, pkg string // relative to the module's root
	imports   []string
	doc       bool
	lines     int
}

func parseModule(t *testing.T) (files []file) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go"):
			return nil
		}
		f, err := parseFile(root, name)
		files = append(files, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func parseFile(root, name string) (file, error) {
	rel, err := filepath.Rel(root, name)
	if err != nil {
		return file{}, err
	}
	src, err := os.ReadFile(name)
	if err != nil {
		return file{}, err
	}
	syntax, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ImportsOnly|parser.ParseComments)
	if err != nil {
		return file{}, err
	}
	f := file{path: filepath.ToSlash(rel), doc: hasText(syntax.Doc), lines: bytes.Count(src, []byte("\n"))}
	f.pkg = path.Dir(f.path)
	for _, spec := range syntax.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return file{}, err
		}
		if inside, ok := strings.CutPrefix(p, module+"/"); ok && inside != f.pkg {
			f.imports = append(f.imports, inside)
		}
	}
	return f, nil
}

func hasText(doc *ast.CommentGroup) bool { return doc != nil && strings.TrimSpace(doc.Text()) != "" }

func layerOf(pkg string) int {
	named := func(layer []string) bool { return slices.Contains(layer, pkg) }
	if i := slices.IndexFunc(layers, named); i >= 0 {
		return i
	}
	return slices.IndexFunc(layers, func(layer []string) bool {
		return slices.ContainsFunc(layer, func(name string) bool { return covers(name, pkg) })
	})
}

func covers(name, pkg string) bool {
	if strings.HasSuffix(name, "/") {
		return strings.HasPrefix(pkg, name)
	}
	return name == pkg
}

// related reports whether one package stands in the subtree of the other.
func related(a, b string) bool {
	return strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/")
}
