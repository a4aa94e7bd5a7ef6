package store

import (
	"slices"
	"strings"
	"testing"
)

func TestSubjects(t *testing.T) {
	for _, c := range []struct {
		tokens []string
		want   string
	}{
		{[]string{"home", "/a/light"}, ".home./a/light"},
		{[]string{""}, ".="},
		{[]string{"", "", "x"}, ".=.=.x"},
		{[]string{"*"}, ".=2A"},
		{[]string{">"}, ".=3E"},
		{[]string{"a.b c"}, ".a=2Eb=20c"},
		{[]string{"="}, ".=3D"},
		{[]string{"\x00\xff"}, ".=00=FF"},
		{[]string{Any}, ".=00any"},
	} {
		got, err := appendSubject(nil, c.tokens, false)
		if err != nil || string(got) != c.want {
			t.Errorf("%q becomes %q, %v, want %q", c.tokens, got, err, c.want)
		}
	}
	if got, _ := appendSubject(nil, []string{"a", Any, "*"}, true); string(got) != ".a.*.=2A" {
		t.Errorf("a pattern becomes %q", got)
	}
	for _, bad := range []string{"", "a..b", "=4", "=4g", "a.=", "=a1", "=="} {
		if tokens, err := parseSubject(bad); err == nil && bad != "a.=" {
			t.Errorf("%q is read as %q", bad, tokens)
		}
	}
}

// FuzzKeys: whatever a key holds, it is one token of a subject without
// wildcards, no two keys have the same, and it comes back (threats 27).
func FuzzKeys(f *testing.F) {
	for _, s := range []string{"", "a", "a.b", "*", ">", "=", "=41", "a/b", "%2F", "%", "\x00", "\xff", "é"} {
		f.Add(s, "b")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		subject, err := appendSubject(nil, []string{a, b}, false)
		if err != nil {
			if len(a)+len(b) < maxSubject/3-2 {
				t.Fatal(err)
			}
			return
		}
		if strings.ContainsAny(string(subject), "*> \t\r\n") || strings.Count(string(subject), ".") != 2 {
			t.Errorf("%q, %q becomes %q", a, b, subject)
		}
		if back, err := parseSubject(string(subject[1:])); err != nil || !slices.Equal(back, []string{a, b}) {
			t.Errorf("%q, %q came back as %q, %v", a, b, back, err)
		}
		if back := Tokens(Key(a, b)); !slices.Equal(back, []string{a, b}) {
			t.Errorf("Key(%q, %q) came back as %q", a, b, back)
		}
	})
}

// FuzzSubject: foreign subjects are refused or come back as they were.
func FuzzSubject(f *testing.F) {
	f.Add("a.=41.=")
	f.Fuzz(func(t *testing.T, s string) {
		tokens, err := parseSubject(s)
		if err != nil {
			return
		}
		subject, err := appendSubject(nil, tokens, false)
		if err != nil {
			return
		}
		if again, err := parseSubject(string(subject[1:])); err != nil || !slices.Equal(again, tokens) {
			t.Errorf("%q: %q came back as %q, %v", s, tokens, again, err)
		}
	})
}
