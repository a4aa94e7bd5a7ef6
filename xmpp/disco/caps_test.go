package disco

import "testing"

// TestVer: the examples of XEP-0115, sections 5.2 and 5.3.
func TestVer(t *testing.T) {
	simple := Info{
		Identities: []Identity{{Category: "client", Type: "pc", Name: "Exodus 0.9.1"}},
		Features:   []string{NSCaps, NSInfo, NSItems, "http://jabber.org/protocol/muc"},
	}
	if got := simple.Ver(); got != "QgayPKawpkPSDYmwT/WM94uAlu0=" {
		t.Errorf("simple: %s", got)
	}
	complex := Info{
		Identities: []Identity{{Category: "client", Type: "pc", Lang: "el", Name: "Ψ 0.11"}, {Category: "client", Type: "pc", Lang: "en", Name: "Psi 0.11"}},
		Features:   []string{NSCaps, NSInfo, NSItems, "http://jabber.org/protocol/muc"},
		Forms: []Form{{Type: "urn:xmpp:dataforms:softwareinfo", Fields: map[string][]string{
			"ip_version": {"ipv6", "ipv4"}, "os": {"Mac"}, "os_version": {"10.5.1"}, "software": {"Psi"}, "software_version": {"0.11"}}}},
	}
	if got := complex.Ver(); got != "q07IKJEyjvHSyhy//CH0CxmKi8w=" {
		t.Errorf("complex: %s", got)
	}
	back := read(complex.element())
	if back.Ver() != complex.Ver() {
		t.Errorf("read back: %+v", back)
	}
}

// TestSpoilers: what stands for two things does not get into a cache (XEP-0115,
// section 5.4).
func TestSpoilers(t *testing.T) {
	for name, i := range map[string]Info{
		"a separator": {Features: []string{"a<b"}},
		"twice":       {Features: []string{"a", "a"}},
		"two of one":  {Identities: []Identity{{Category: "a", Type: "b"}, {Category: "a", Type: "b"}}},
		"two forms":   {Forms: []Form{{Type: "a"}, {Type: "a"}}},
		"in a value":  {Forms: []Form{{Type: "a", Fields: map[string][]string{"b": {"c<d"}}}}},
	} {
		if i.valid() {
			t.Errorf("%s is valid", name)
		}
	}
	if i := (Info{Features: []string{"a", "b"}, Identities: []Identity{{Category: "a", Type: "b"}}}); !i.valid() {
		t.Error("what is fine is not valid")
	}
}

// TestCacheIsBounded: no number of kinds fills the memory.
func TestCacheIsBounded(t *testing.T) {
	var c Cache
	for i := range 10 * maxCached {
		info := Info{Features: []string{string(rune('a' + i))}}
		c.put(info.Ver(), info)
	}
	if len(c.known) > maxCached {
		t.Errorf("%d are known", len(c.known))
	}
}
