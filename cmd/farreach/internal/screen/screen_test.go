package screen

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// TestGolden compares each form of each output with a file in testdata.
func TestGolden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it is midnight, the first of January 2000
		rows := [][]any{
			{"lamp", "0685b960-736f-46f7-beba-dcc7af8c0b61", "oic.d.light", "reachable", time.Now().Add(-4 * time.Second)},
			{"bad \x1b[2J\tname\n", "\u202ereversed", "", "offline", time.Time{}},
		}
		rep := []byte(`{"value":true,"dimming":40,"n":"<\u001b>"}`)
		for form, s := range map[string]*Screen{"terminal": {Terminal: true}, "pipe": {}, "json": {JSON: true}} {
			var out bytes.Buffer
			s.Out = &out
			if !s.JSON {
				must(t, s.Table([]string{"name", "di", "type", "state", "seen"}, rows))
				must(t, s.Line(time.Now().Add(-90*time.Minute), "lamp", "/a/light", json.RawMessage(rep)))
				must(t, s.Value(rep))
				must(t, s.Value([]byte("plain text\x07")))
			} else {
				must(t, s.Doc(struct {
					Schema string          `json:"schema"`
					Name   string          `json:"name"`
					Rep    json.RawMessage `json:"rep"`
				}{"farreach.test/v1", "a<b>\x1b", rep}))
			}
			golden(t, form, out.Bytes())
		}
	})
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant:\n%s", name, got, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "now", 0: "now", 999 * time.Millisecond: "now", time.Second: "1 s ago", 59 * time.Second: "59 s ago",
		time.Minute: "1 min ago", 3 * time.Hour: "3 h ago", 47 * time.Hour: "47 h ago", 50 * time.Hour: "2 d ago",
	} {
		if got := Age(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	for _, s := range []string{"lamp", "\x1b]0;x\x07", "\xff\xc2", "a\tb\n", "\u202e\u2066", "\u009b2J"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Printable(s)
		for _, r := range got {
			if obeyed(r) {
				t.Fatalf("%q became %q", s, got)
			}
		}
		if Printable(got) != got {
			t.Fatalf("%q is not stable", s)
		}
	})
}
