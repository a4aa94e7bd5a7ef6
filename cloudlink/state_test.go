package cloudlink_test

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/farreach/farreach/cloudlink"
)

func TestFileState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lamp", "state.json")
	f := cloudlink.FileState(path)
	if st, err := f.Load(); err != nil || !reflect.DeepEqual(st, cloudlink.State{}) {
		t.Fatalf("without a file: %v", err)
	}
	want := cloudlink.State{
		Server: "coaps+tcp://cloud", Device: device1,
		Grant:     cloudlink.Grant{Account: "u-1", Access: "at-1", Refresh: "rt-1", Expires: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		Published: map[string]cloudlink.Published{"/a/light": {Instance: 42, Sum: "x"}},
	}
	for range 2 { // a second time over the first
		if err := f.Save(want); err != nil {
			t.Fatal(err)
		}
		if got, err := f.Load(); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("came back as %v, %v", got, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestBad46: a file of secrets that others can read is refused, and so is what
// is not ours.
func TestBad46StateFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	for _, test := range []struct {
		name, content string
		mode          os.FileMode
	}{
		{"readable by others", `{"version":1}`, 0o644},
		{"readable by the group", `{"version":1}`, 0o640},
		{"empty", ``, 0o600},
		{"cut off", `{"version":1,"acc`, 0o600},
		{"of a later version", `{"version":2}`, 0o600},
	} {
		os.Remove(path)
		if err := os.WriteFile(path, []byte(test.content), test.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := cloudlink.FileState(path).Load(); err == nil {
			t.Errorf("a file that is %s was taken", test.name)
		}
	}
}
