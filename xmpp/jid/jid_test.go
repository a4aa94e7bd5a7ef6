package jid_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/farreach/farreach/xmpp/jid"
)

// TestParse takes the examples of RFC 7622, table 1, and more.
func TestParse(t *testing.T) {
	for _, tt := range []struct{ in, local, domain, resource string }{
		{"juliet@example.com", "juliet", "example.com", ""},
		{"juliet@example.com/foo", "juliet", "example.com", "foo"},
		{"juliet@example.com/foo bar", "juliet", "example.com", "foo bar"},
		{"juliet@example.com/foo@bar", "juliet", "example.com", "foo@bar"},
		{`foo\20bar@example.com`, `foo\20bar`, "example.com", ""},
		{"fussball@example.com", "fussball", "example.com", ""},
		{"fu\u00dfball@example.com", "fu\u00dfball", "example.com", ""},
		{"\u03c0@example.com", "\u03c0", "example.com", ""},
		{"\u03a3@example.com/foo", "\u03c3", "example.com", "foo"},
		{"\u03c3@example.com/foo", "\u03c3", "example.com", "foo"},
		{"\u03c2@example.com/foo", "\u03c2", "example.com", "foo"},
		{"king@example.com/\u265a", "king", "example.com", "\u265a"},
		{"example.com", "", "example.com", ""},
		{"example.com/foobar", "", "example.com", "foobar"},
		{"a.example.com/b@example.net", "", "a.example.com", "b@example.net"},

		{"juliet@example.com/ foo", "juliet", "example.com", " foo"}, // table 2 errs: RFC Editor's erratum 4560
		{"Ann@Home.Example./Case Kept", "ann", "home.example", "Case Kept"},
		{"ann@home.example/OIC/1.0/Client/3D2C", "ann", "home.example", "OIC/1.0/Client/3D2C"}, // RA-052, A-07
		{"ann@home.example/a\u00a0b", "ann", "home.example", "a b"},
		{"ann@home.example/e\u0301", "ann", "home.example", "\u00e9"},
		{"\uff21\uff4e\uff4e@home.example", "ann", "home.example", ""},
		{"ann@xn--bcher-kva.example", "ann", "b\u00fccher.example", ""},
		{"ann@B\u00dcCHER.example", "ann", "b\u00fccher.example", ""},
		{"ann@fa\u00df.example", "ann", "fa\u00df.example", ""},
		{"ann@192.0.2.1", "ann", "192.0.2.1", ""},
		{"ann@[2001:DB8:0::1]/x", "ann", "[2001:db8::1]", "x"},
		{"localhost", "", "localhost", ""},
		{strings.Repeat("a", 1023) + "@x/" + strings.Repeat("r", 1023), strings.Repeat("a", 1023), "x", strings.Repeat("r", 1023)},
	} {
		j, err := jid.Parse(tt.in)
		if err != nil {
			t.Errorf("Parse(%q): %v", tt.in, err)
			continue
		}
		if j.Local() != tt.local || j.Domain() != tt.domain || j.Resource() != tt.resource {
			t.Errorf("Parse(%q) = %q, %q, %q; want %q, %q, %q", tt.in, j.Local(), j.Domain(), j.Resource(), tt.local, tt.domain, tt.resource)
		}
		checkParts(t, j)
	}
}

// checkParts checks what must hold of every address.
func checkParts(t *testing.T, j jid.JID) {
	t.Helper()
	again, err := jid.Parse(j.String())
	if err != nil || again != j {
		t.Errorf("Parse(%q) = %v, %v; want the same address", j.String(), again, err)
	}
	if made, err := jid.New(j.Local(), j.Domain(), j.Resource()); err != nil || made != j {
		t.Errorf("New of the parts of %q = %q, %v", j, made, err)
	}
	if bare := j.Bare(); !bare.IsBare() || bare.Local() != j.Local() || bare.Domain() != j.Domain() || j.IsBare() != (j == bare) {
		t.Errorf("Bare of %q = %q", j, bare)
	}
	if full, err := j.Bare().WithResource(j.Resource()); err != nil || full != j {
		t.Errorf("%q with resource %q = %q, %v", j.Bare(), j.Resource(), full, err)
	}
	if j.IsZero() {
		t.Errorf("%q is zero", j)
	}
}

// TestBad26Addresses takes the examples of RFC 7622, table 2, and more.
func TestBad26Addresses(t *testing.T) {
	for _, tt := range []struct{ in, part string }{
		{`"juliet"@example.com`, "local"},
		{"foo bar@example.com", "local"},
		{"@example.com/", "local"},
		{"henry\u2163@example.com", "local"},
		{"\u265a@example.com", "local"},
		{"juliet@", "domain"},
		{"/foobar", "domain"},

		{"", "domain"},
		{"@", "local"},
		{"a@b@c", "domain"},
		{"a@b/", "resource"},
		{"a@", "domain"},
		{"a@.", "domain"},
		{"a@b..c", "domain"},
		{"a@.b", "domain"},
		{"a@-b", "domain"},
		{"a@b_c", "domain"},
		{"a@b c", "domain"},
		{"a@xn--", "domain"},
		{"a@xn--a", "domain"},
		{"a@ab--cd", "domain"},
		{"a@" + strings.Repeat("b", 64), "domain"},
		{"a@[::1", "domain"},
		{"a@[192.0.2.1]", "domain"},
		{"a@[fe80::1%eth0]", "domain"},
		{"a@[::1]x", "domain"},
		{"a\x00@b", "local"},
		{"a\x7f@b", "local"},
		{"a'b@c", "local"},
		{"a&b@c", "local"},
		{"a:b@c", "local"},
		{"a<b@c", "local"},
		{"\uff1ca@b", "local"}, // full-width <, which is mapped to it
		{"a\xff@b", "local"},
		{"a@b\xff", "domain"},
		{"a@b/\xff", "resource"},
		{"a@b/x\ny", "resource"},
		{"a@b/\u0000", "resource"},
		{"a@b/\u202e\ue000", "resource"},
		{"a\u0430\u200b@b", "local"},
		{strings.Repeat("a", 1024) + "@b", "local"},
		{"a@" + strings.Repeat("b.", 512) + "c", "domain"},
		{"a@b/" + strings.Repeat("c", 1024), "resource"},
		{"a@b/" + strings.Repeat("\u00e9", 512), "resource"},
		{strings.Repeat("a", 5000), "domain"},
		{strings.Repeat("\u00e9", 5000) + "@b", "local"},
	} {
		j, err := jid.Parse(tt.in)
		bad, ok := errors.AsType[*jid.Error](err)
		if !ok || bad.Part != tt.part {
			t.Errorf("Parse(%.40q) = %v, %v; want an error in the %s part", tt.in, j, err, tt.part)
		}
	}
}

func TestZero(t *testing.T) {
	var j jid.JID
	if !j.IsZero() || !j.IsBare() || j.String()+j.Local()+j.Domain()+j.Resource() != "" || j.Bare() != j {
		t.Errorf("the zero JID is not empty: %+v", j)
	}
}

func TestCache(t *testing.T) {
	var c jid.Cache
	spellings := [][]byte{[]byte("Ann@Home.Example/x"), []byte("ann@home.example/x")}
	for range 2 {
		for _, s := range spellings {
			if j, err := c.Get(s); err != nil || j.String() != "ann@home.example/x" {
				t.Fatalf("Get(%s) = %v, %v", s, j, err)
			}
		}
	}
	for range 2 {
		if _, err := c.Get([]byte("a@b@c")); err == nil {
			t.Fatal("Get(a@b@c) is no error")
		}
	}
	if n := testing.AllocsPerRun(100, func() { c.Get(spellings[0]) }); n != 0 {
		t.Errorf("a hit allocates %v times", n)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"juliet@example.com/foo bar", "\u03a3@B\u00dcCHER.example", "a@[2001:db8::1]/x", "a@xn--bcher-kva/\uff21", "\u0345@b", "a@b@c/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		j, err := jid.Parse(s)
		if err != nil {
			return
		}
		checkParts(t, j)
		if len(j.Local()) > 1023 || len(j.Domain()) > 1023 || len(j.Resource()) > 1023 {
			t.Errorf("a part of %q is too long", j)
		}
	})
}

func BenchmarkCacheHit(b *testing.B) {
	var c jid.Cache
	addr := []byte("ann@home.example/OIC/1.0/oic.d.light/0685b960-736f-46f7-bec0-9e6cbd61adc1")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Get(addr); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := jid.Parse("ann@home.example/OIC/1.0/oic.d.light/0685b960-736f-46f7-bec0-9e6cbd61adc1"); err != nil {
			b.Fatal(err)
		}
	}
}
