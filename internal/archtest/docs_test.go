package archtest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testName  = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z0-9]\w*`)
	testFunc  = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	scriptRef = regexp.MustCompile("`([\\w-]+\\.txtar)`")
	linkRef   = regexp.MustCompile(`\]\(([^)#:]+)\)`)
)

// TestDocsNameWhatExists checks that the documents name tests, scripts and
// files that are there.
func TestDocsNameWhatExists(t *testing.T) {
	const root = "../.."
	tests := map[string]bool{}
	for _, f := range parseModule(t) {
		if strings.HasSuffix(f.path, "_test.go") {
			for _, m := range testFunc.FindAllStringSubmatch(read(t, filepath.Join(root, f.path)), -1) {
				tests[m[1]] = true
			}
		}
	}
	docs, err := filepath.Glob(root + "/docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range append(docs, root+"/README.md") {
		text := read(t, doc)
		for _, name := range testName.FindAllString(text, -1) {
			if !tests[name] {
				t.Errorf("%s names the test %s, which does not exist", doc, name)
			}
		}
		for _, m := range scriptRef.FindAllStringSubmatch(text, -1) {
			exists(t, doc, filepath.Join(root, "e2e/testdata/script", m[1]))
		}
		for _, m := range linkRef.FindAllStringSubmatch(text, -1) {
			exists(t, doc, filepath.Join(filepath.Dir(doc), m[1]))
		}
	}
}

var requireLine = regexp.MustCompile(`(?m)^\t(\S+) v\S+$`) // without "// indirect"

// TestDependenciesAreJustified checks that each direct dependency has its line.
func TestDependenciesAreJustified(t *testing.T) {
	reasons := read(t, "../../docs/dependencies.md")
	for _, m := range requireLine.FindAllStringSubmatch(read(t, "../../go.mod"), -1) {
		if !strings.Contains(reasons, "| `"+m[1]+"` |") {
			t.Errorf("docs/dependencies.md does not say why %s is there", m[1])
		}
	}
}

func exists(t *testing.T, doc, name string) {
	t.Helper()
	if _, err := os.Stat(name); err != nil {
		t.Errorf("%s names %s, which does not exist", doc, name)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
