package oic_test

import (
	"testing"

	"github.com/farreach/farreach/oic"
)

func TestScopes(t *testing.T) {
	all := []oic.Scope{oic.ScopeAdmin, oic.ScopeCommand, oic.ScopeRead}
	for i, s := range all {
		text, _ := s.MarshalText()
		var back oic.Scope
		if err := back.UnmarshalText(text); err != nil || back != s {
			t.Errorf("%v came back as %v (%v)", s, back, err)
		}
		for j, needed := range all {
			if s.Allows(needed) != (i <= j) {
				t.Errorf("%v allows what needs %v: %v", s, needed, s.Allows(needed))
			}
		}
	}
	for _, name := range []string{"", "Read", "all", "scope 3"} {
		if s, err := oic.ParseScope(name); err == nil || s != oic.ScopeRead {
			t.Errorf("ParseScope(%q) = %v, %v; want the narrowest and an error", name, s, err)
		}
	}
}
