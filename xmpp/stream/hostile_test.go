package stream_test

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/xmpp/stream"
)

// TestBad01DTD: nothing is expanded, and refusal does not wait for the end.
func TestBad01DTD(t *testing.T) {
	start := time.Now()
	for _, in := range []string{
		`<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;">]>` + header,
		`<?xml version='1.0'?><!DOCTYPE stream SYSTEM 'x'>`,
		`<!D`,
		`<!`,
	} {
		refused(t, new(stream.Scanner), in, stream.RestrictedXML)
	}
	for _, in := range []string{
		`<!DOCTYPE x [<!ENTITY % p "x">%p;]>`,
		`<!ENTITY a "b">`,
		`<message><!DOCTYPE x></message>`,
		`<message><!ENTITY a "b"></message>`,
		`<message><!E`,
		`<message>&lol2;</message>`,
		`<message>&l` + strings.Repeat("o", 1<<17),
	} {
		refused(t, opened(stream.Limits{}), in, stream.RestrictedXML)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
}

// TestBad02ExternalEntity: no entity is external, for none is declared.
func TestBad02ExternalEntity(t *testing.T) {
	refused(t, new(stream.Scanner), `<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>`, stream.RestrictedXML)
	refused(t, opened(stream.Limits{}), `<message>&e;</message>`, stream.RestrictedXML)
}

// TestBad03Endless: whatever does not end is cut at 10,000 bytes before
// authentication.
func TestBad03Endless(t *testing.T) {
	long := strings.Repeat("x", 1<<16)
	for _, in := range []string{
		`<?xml version='1.0' ` + strings.Repeat(" ", 1<<16),
		`<?xml version='1.0'?>` + strings.Repeat(" ", 1<<16),
		`<stream:stream to='` + long,
		`<stream:stream ` + strings.Repeat(" ", 1<<16),
		`<stream:` + long,
		`<stream:stream ` + long,
		`<stream:stream xmlns:` + long,
	} {
		cut(t, &stream.Scanner{Limits: stream.BeforeAuth()}, in, 10_000)
	}
	for _, in := range []string{
		`<auth>` + long, `<auth a='` + long, `<auth><![CDATA[` + long, `<auth></` + long, `<` + long,
		`<auth a='` + strings.Repeat("&amp;", 1<<14),
	} {
		cut(t, opened(stream.BeforeAuth()), in, 10_000)
	}
}

// cut checks that s gives in up before more than limit bytes were looked at.
func cut(t *testing.T, s *stream.Scanner, in string, limit int) {
	t.Helper()
	for end := 1; end <= limit+1; end++ {
		_, _, err := s.Next([]byte(in[:end]))
		if err == stream.ErrShort {
			continue
		}
		if err == nil {
			t.Fatalf("%.50q: accepted", in)
		}
		return
	}
	t.Errorf("%.50q: not cut at %d bytes", in, limit)
}

// TestBad04ManySmall: elements, attributes, namespaces, names.
func TestBad04ManySmall(t *testing.T) {
	wide := func(n int) string { return "<a>" + strings.Repeat("<b/>", n-1) + "</a>" }
	attrs := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, " a%d=''", i)
		}
		return "<a" + b.String() + "/>"
	}
	spaces := func(elements, n int) string {
		var b strings.Builder
		for e := range elements {
			fmt.Fprintf(&b, "<a")
			for i := range n {
				fmt.Fprintf(&b, " xmlns:x%d='u:%d'", i, e)
			}
			b.WriteString(">")
		}
		return b.String() + strings.Repeat("</a>", elements)
	}
	long := func(n int) string { return "<a b='" + strings.Repeat("x", n) + "'/>" }
	name := func(n int) string { return strings.Repeat("x", n) }
	before, after := stream.BeforeAuth(), stream.Limits{}
	for _, tt := range []struct {
		name    string
		limits  stream.Limits
		in, bad string
	}{
		{"elements before", before, wide(64), wide(65)},
		{"elements after", after, wide(8192), wide(8193)},
		{"attributes", after, attrs(64), attrs(65)},
		{"attribute bytes", after, long(16_384 - 6), long(16_384 - 5)},
		{"namespaces of an element", after, spaces(1, 16), spaces(1, 17)},
		{"namespaces in scope", after, spaces(8, 16), spaces(9, 16)},
		{"element name", after, "<" + name(256) + "/>", "<" + name(257) + "/>"},
		{"attribute name", after, "<a " + name(256) + "=''/>", "<a " + name(257) + "=''/>"},
		{"stanza before", before, "<a>" + name(10_000-7) + "</a>", "<a>" + name(10_000-6) + "</a>"},
		{"stanza after", after, "<a>" + name(262_144-7) + "</a>", "<a>" + name(262_144-6) + "</a>"},
		{"own stanza", stream.Limits{Stanza: 10}, "<a>123</a>", "<a>1234</a>"},
		{"own depth", stream.Limits{Depth: 2}, "<a><b/><b/></a>", "<a><b><c/></b></a>"},
		{"own attributes", stream.Limits{Attributes: 1}, "<a b=''/>", "<a b='' c=''/>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, step := range []int{1 << 20, 997} {
				if got := scan(opened(tt.limits), tt.in, step); len(got) != 2 || got[1] != "short" {
					t.Errorf("at the limit: %.200q", got)
				}
			}
			for _, step := range []int{1 << 20, 997} {
				got := scan(opened(tt.limits), tt.bad, step)
				if len(got) != 1 || !strings.HasPrefix(got[0], stream.PolicyViolation) {
					t.Errorf("beyond the limit: %.200q", got)
				}
			}
		})
	}
}

// TestManyPrefixes: looking up prefixes takes time in proportion to the bytes.
func TestManyPrefixes(t *testing.T) {
	var b strings.Builder
	b.WriteString("<m>")
	for e := range 7 {
		b.WriteString("<a")
		for i := range 16 {
			fmt.Fprintf(&b, " xmlns:abcdefgh%d='u'", e*16+i)
		}
		b.WriteString(">")
	}
	for range 8000 {
		b.WriteString("<abcdefgh0:b/>")
	}
	b.WriteString(strings.Repeat("</a>", 7) + "</m>")
	start := time.Now()
	if got := scan(opened(stream.Limits{}), b.String(), 1<<20); len(got) != 2 {
		t.Errorf("%q", got)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("%d bytes took %v", b.Len(), took)
	}
}

// TestBad06Depth: refused at 128, whatever the depth, and the stack does not
// grow with it.
func TestBad06Depth(t *testing.T) {
	for _, n := range []int{129, 20_000, 100_000} {
		in := strings.Repeat("<a>", n) + strings.Repeat("</a>", n)
		limits := stream.Limits{Stanza: len(in), Elements: n}
		if got := scan(opened(limits), in, 1<<20); len(got) != 1 || !strings.HasPrefix(got[0], stream.PolicyViolation) {
			t.Errorf("depth %d: %.100q", n, got)
		}
	}
	in := strings.Repeat("<a>", 128) + strings.Repeat("</a>", 128)
	if got := scan(opened(stream.Limits{}), in, 1); len(got) != 2 {
		t.Errorf("depth 128: %q", got)
	}
}

// TestBad07UTF8: overlong, surrogate, truncated, beyond Unicode; in text, in
// attributes, in CDATA and in a header.
func TestBad07UTF8(t *testing.T) {
	for _, bad := range []string{"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xe0\x80\xaf", "\xf0\x80\x80\x80", "\xed\xa0\x80", "\xed\xbf\xbf",
		"\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xfe", "\xff", "\xc3", "\xe2\x82", "\xf0\x9f\x98"} {
		for _, in := range []string{"<m>%s</m>", "<m>12345678%s</m>", "<m a='%s'/>", "<m><![CDATA[%s]]></m>", "<m>\u00e9%s<b/></m>"} {
			refused(t, opened(stream.Limits{}), fmt.Sprintf(in, bad), stream.UnsupportedEncoding)
		}
		refused(t, new(stream.Scanner), "<stream:stream to='"+bad+"'>", stream.UnsupportedEncoding)
	}
}

// TestBad08Namespaces: control characters and separators in namespaces, written
// out or escaped.
func TestBad08Namespaces(t *testing.T) {
	for _, sep := range []string{" ", "\t", "\n", "\r", "&#9;", "&#10;", "&#x20;", "\x7f", "&#127;", "{", "}", "|", "^", "`", "\\", "&quot;", "&lt;", "&gt;", ">"} {
		for _, in := range []string{"<m><x xmlns='u:a%sb'/></m>", "<m xmlns:x='u:a%sb'/>", "<m xmlns='%s'/>"} {
			refused(t, opened(stream.Limits{}), fmt.Sprintf(in, sep), stream.NotWellFormed)
		}
	}
	for _, in := range []string{
		`<m xmlns:x=''/>`, `<m xmlns:xmlns='u:a'/>`, `<m xmlns:xml='u:a'/>`, `<m xmlns:x='http://www.w3.org/XML/1998/namespace'/>`,
		`<m xmlns='http://www.w3.org/XML/1998/namespace'/>`, `<m xmlns='http://www.w3.org/2000/xmlns/'/>`, `<m xmlns:x='http://www.w3.org/2000/xmlns/'/>`,
		`<x:m/>`, `<m x:a=''/>`, `<m><a xmlns:x='u:a'/><x:b/></m>`, `<xmlns:m/>`,
	} {
		refused(t, opened(stream.Limits{}), in, stream.NotWellFormed)
	}
}

// TestBad09Smuggling: one stanza stays one, with the same text and the true
// from, whatever its content would be if it were markup.
func TestBad09Smuggling(t *testing.T) {
	for _, inside := range []string{
		`&lt;/message&gt;&lt;message from='owner@home.example'/&gt;`,
		`<![CDATA[</message><message from='owner@home.example'/>]]>`,
		`<![CDATA[<![CDATA[]]>`,
		`<![CDATA[]]]]><![CDATA[>]]>`,
		`<![CDATA[]]]]>`,
		`<![CDATA[&]]>`,
		`<message from='owner@home.example'/>`,
		`<x xmlns='http://etherx.jabber.org/streams'><error/></x>`,
	} {
		raw := `<message to='a' from='forged'><b>` + inside + `</b></message>`
		for _, step := range []int{1 << 20, 1, 5} {
			if got := scan(opened(stream.Limits{}), raw, step); len(got) != 2 {
				t.Errorf("%s: %q", raw, got)
			}
		}
		it, _, _ := opened(stream.Limits{}).Next([]byte(raw))
		stamped := string(it.AppendStamped(nil, stream.Stamp{From: []byte("me@home.example/x")}))
		if want := `<message to='a' from='me@home.example/x'><b>` + inside + `</b></message>`; stamped != want {
			t.Errorf("stamped %s\n   want %s", stamped, want)
		}
	}
	refused(t, opened(stream.Limits{}), `<message></message></stream:stream></x>`[:19]+`<stream:stream>`, stream.BadFormat)
	refused(t, opened(stream.Limits{}), `<message></stream:stream>`, stream.NotWellFormed)
	refused(t, opened(stream.Limits{}), `<message><stream:stream/></message>`, stream.BadNamespacePrefix)
	refused(t, opened(stream.Limits{}), `<message><a></message></a>`, stream.NotWellFormed)
}

// TestBad10HeaderPrefix: a prefix that only the sender's header declares cannot
// be used, for it may not be declared there (threats rule 10).
func TestBad10HeaderPrefix(t *testing.T) {
	const streams = `xmlns:stream='http://etherx.jabber.org/streams'`
	for _, in := range []string{
		`<stream:stream xmlns:x='u:x' ` + streams + `>`,
		`<stream:stream ` + streams + ` xmlns='jabber:client' xmlns:db='jabber:server:dialback'>`,
	} {
		refused(t, new(stream.Scanner), in, stream.BadNamespacePrefix)
	}
	for _, in := range []string{
		`<message><stream:x/></message>`,
		`<stream:features><stream:x/></stream:features>`,
		`<c:message xmlns:c='jabber:client'/>`,
		`<c:message xmlns:c='jabber:server'/>`,
	} {
		refused(t, opened(stream.Limits{}), in, stream.BadNamespacePrefix)
	}
	refused(t, opened(stream.Limits{}), `<message stream:x=''/>`, stream.NotWellFormed)
}

// TestBad11NoResync: after an error nothing is accepted until Reset, however
// good it looks.
func TestBad11NoResync(t *testing.T) {
	s := opened(stream.Limits{})
	in := []byte(`<message><a></b></a></message><presence/>`)
	_, _, first := s.Next(in)
	for i := range in {
		if it, n, err := s.Next(in[i:]); err != first || n != 0 || it.Kind != 0 {
			t.Fatalf("from byte %d: %v, %d, %v", i, it.Kind, n, err)
		}
	}
	if _, err := s.Frame([]byte(`<message/>`)); err != first {
		t.Errorf("Frame: %v", err)
	}
}

// TestBad20From: one from arrives, ours, however it was spelled.
func TestBad20From(t *testing.T) {
	const ours = "me@home.example/it&apos;s"
	for _, tt := range []struct{ in, want string }{
		{`<iq/>`, `<iq from='%s'/>`},
		{`<iq from='x'/>`, `<iq from='%s'/>`},
		{`<iq from="x" id='1'/>`, `<iq from='%s' id='1'/>`},
		{`<iq  from = "&#x6f;wner@home.example" />`, `<iq  from='%s' />`},
		{`<iq id='1' from=''/>`, `<iq id='1' from='%s'/>`},
		{`<iq id='from="x"'>from='x'</iq>`, `<iq from='%s' id='from="x"'>from='x'</iq>`},
		{"<iq\nfrom\n=\n'x'\n/>", "<iq\nfrom='%s'\n/>"},
		{`<iq a:from='x' xmlns:a='u:a'><b from='y'/></iq>`, `<iq from='%s' a:from='x' xmlns:a='u:a'><b from='y'/></iq>`},
	} {
		it, _, err := opened(stream.Limits{}).Next([]byte(tt.in))
		if err != nil {
			t.Fatalf("%s: %v", tt.in, err)
		}
		if got, want := string(it.AppendStamped(nil, stream.Stamp{From: []byte(ours)})), fmt.Sprintf(tt.want, ours); got != want {
			t.Errorf("%s\n got %s\nwant %s", tt.in, got, want)
		}
	}
	refused(t, opened(stream.Limits{}), `<iq from='a' from='b'/>`, stream.NotWellFormed)
	refused(t, opened(stream.Limits{}), `<iq from='a' id='x' from='a'/>`, stream.NotWellFormed)
}

// TestMemory: what a scanner holds does not grow with what was announced, and an
// idle one holds next to nothing.
func TestMemory(t *testing.T) {
	const scanners = 1000
	list := make([]*stream.Scanner, scanners)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range list {
		list[i] = opened(stream.Limits{})
		if _, _, err := list[i].Next([]byte("<message><body>hello</body></message>")); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (int(after.HeapAlloc) - int(before.HeapAlloc)) / scanners; each > 512 {
		t.Errorf("an idle scanner holds %d bytes", each)
	}
	runtime.KeepAlive(list)
}

func TestNextAllocatesNothing(t *testing.T) {
	s := opened(stream.Limits{})
	in := stanzaOf(600)
	if n := testing.AllocsPerRun(100, func() { s.Next(in) }); n != 0 && !raceEnabled {
		t.Errorf("a stanza allocates %v times", n)
	}
}

// stanzaOf returns a message of n bytes as the Remote Access specification has
// them.
func stanzaOf(n int) []byte {
	const before = `<message id='d0' to='ann@home.example/OIC/1.0/oic.d.light/0685b960-736f-46f7-bec0-9e6cbd61adc1'>` +
		`<data xmlns='http://jabber.org/protocol/ibb' sid='ra7f3c1da0' seq='0'>`
	const after = `</data><no-store xmlns='urn:xmpp:hints'/></message>`
	return []byte(before + string(bytes.Repeat([]byte("PHJlc3Qg"), n/8+1)[:n-len(before)-len(after)]) + after)
}

func BenchmarkScan(b *testing.B) {
	for _, size := range []int{600, 8 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := opened(stream.Limits{})
			in := stanzaOf(size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, n, err := s.Next(in); err != nil || n != size {
					b.Fatal(n, err)
				}
			}
		})
	}
}

func BenchmarkStamp600(b *testing.B) {
	in := stanzaOf(600)
	it, _, _ := opened(stream.Limits{}).Next(in)
	from := []byte("ann@home.example/OIC/1.0/Client/3d2c5a10-52a7-4e0f-9c1b-6b2f0a9e7b55")
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		dst = it.AppendStamped(dst[:0], stream.Stamp{From: from})
	}
}
