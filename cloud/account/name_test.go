package account

import (
	"strings"
	"testing"

	"github.com/farreach/farreach/oic"
)

var names = []struct{ name, want string }{ // want "": refused
	{"home", "home"},
	{"Home", "home"},
	{"müller", "müller"},
	{"mu\u0308ller", "müller"},
	{"ｈｏｍｅ", "home"},
	{"anna-lena_2", "anna-lena_2"},
	{"家", "家"},
	{strings.Repeat("a", 64), strings.Repeat("a", 64)},
	{strings.Repeat("a", 65), ""},
	{"", ""},
	{"#", ""}, {"+", ""}, {"*", ""}, {">", ""}, {".", ""},
	{"a.b", ""}, {"a>b", ""}, {"a*", ""}, {"$SYS", ""},
	{"a b", ""}, {" a", ""}, {"a\u00a0b", ""}, {"a\u2003b", ""},
	{"a/b", ""}, {"a@b", ""}, {"a:b", ""}, {"a\\b", ""}, {"a%2Fb", ""}, {"a?b", ""}, {"a=b", ""},
	{"..", ""}, {"-a", ""}, {"_", ""}, {"\u0308a", ""},
	{"a\x00b", ""}, {"a\nb", ""}, {"a\u200bb", ""}, {"a\u202eb", ""},
	{"\xff\xfe", ""}, {"a\xc0\x80", ""},
}

// TestBad27NamesMeanTheSameEverywhere: no name is a wildcard or a separator of
// topics, subjects, paths or addresses.
func TestBad27NamesMeanTheSameEverywhere(t *testing.T) {
	for _, n := range names {
		got, err := Name(n.name)
		if got != n.want || (n.want == "") != (err != nil) {
			t.Errorf("Name(%q) = %q, %v; want %q", n.name, got, err, n.want)
		}
		if status, _ := oic.StatusOf(err); err != nil && status != oic.BadRequest {
			t.Errorf("Name(%q): %v, want a 4.00", n.name, err)
		}
	}
}

// FuzzName: what is accepted is its own one form and has nothing special in it.
func FuzzName(f *testing.F) {
	for _, n := range names {
		f.Add(n.name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got, err := Name(name)
		if err != nil {
			return
		}
		if again, err := Name(got); err != nil || again != got {
			t.Fatalf("%q became %q, which became %q (%v)", name, got, again, err)
		}
		if strings.ContainsAny(got, "#+*>.$ /@:\\%?&'\"<=,;\x00\n\t") || len(got) > maxName {
			t.Fatalf("%q became %q", name, got)
		}
	})
}
