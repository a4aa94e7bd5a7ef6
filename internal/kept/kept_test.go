package kept_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/farreach/farreach/internal/kept"
)

// doc is a document.
type doc struct {
	Name  string   `json:"name"`
	Items []string `json:"items,omitempty"`
}

// only fails if there is anything else in the directory of a file.
func only(t *testing.T, name string) {
	t.Helper()
	all, err := os.ReadDir(filepath.Dir(name))
	if err != nil || len(all) != 1 {
		t.Errorf("%v, %v beside %s", all, err, name)
	}
}

// What is saved comes back, also over what was there before, for its owner alone.
func TestSave(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lamp", "state.json")
	for _, want := range []doc{{"a", []string{"x", "y"}}, {"b", nil}} {
		if err := kept.Save(name, want); err != nil {
			t.Fatal(err)
		}
		var got doc
		if err := kept.Load(name, &got); err != nil || got.Name != want.Name || len(got.Items) != len(want.Items) {
			t.Errorf("%+v came back as %+v, %v", want, got, err)
		}
		only(t, name)
	}
	text, _ := os.ReadFile(name)
	if want := "{\n\t\"version\": 1,\n\t\"name\": \"b\"\n}\n"; string(text) != want {
		t.Errorf("the file is %s, want %s", text, want)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// What is no such document is refused; what is not there is nothing.
func TestLoad(t *testing.T) {
	name := filepath.Join(t.TempDir(), "state.json")
	got := doc{Name: "as it was"}
	if err := kept.Load(name, &got); err != nil || got.Name != "as it was" {
		t.Errorf("no file: %+v, %v", got, err)
	}
	for _, text := range []string{``, `{"version":1,"na`, `{"version":2}`, `{"name":"x"}`, `[]`, `{"version":1,"name":7}`} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := kept.Load(name, &got); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A file of secrets that others can read is refused.
func TestLoadSecrets(t *testing.T) {
	name := filepath.Join(t.TempDir(), "state.json")
	var got doc
	for _, mode := range []os.FileMode{0o600, 0o640, 0o604, 0o700} {
		os.Remove(name)
		if err := kept.Write(name, []byte(`{"version":1,"name":"x"}`), mode); err != nil {
			t.Fatal(err)
		}
		if err := kept.LoadSecrets(name, &got); (err == nil) != (mode&0o077 == 0) {
			t.Errorf("mode %v: %v", mode, err)
		}
		if err := kept.Load(name, &got); err != nil {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
}

// A file that cannot be written whole stays as it was.
func TestReplace(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := kept.Write(name, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	broken := errors.New("broken")
	err := kept.Replace(name, func(w io.Writer) error {
		if _, err := w.Write([]byte("half")); err != nil {
			t.Fatal(err)
		}
		return broken
	})
	if text, _ := os.ReadFile(name); !errors.Is(err, broken) || string(text) != "old" {
		t.Errorf("%v, the file is %q", err, text)
	}
	only(t, name)
	if err := kept.Replace(name, func(w io.Writer) error { _, err := io.WriteString(w, "new"); return err }); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(name); string(text) != "new" {
		t.Errorf("the file is %q", text)
	}
	only(t, name)
}

// Without a file it is remembered as long as the program runs.
func TestMemory(t *testing.T) {
	var m kept.Memory[doc]
	if got, err := m.Load(); err != nil || got.Name != "" {
		t.Errorf("%+v, %v", got, err)
	}
	if err := m.Save(doc{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	if got, err := m.Load(); err != nil || got.Name != "a" {
		t.Errorf("%+v, %v", got, err)
	}
}
