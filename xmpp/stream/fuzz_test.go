package stream_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/farreach/farreach/xmpp/stream"
)

// FuzzScanner: how the bytes come changes nothing, and what is stamped is one
// stanza whose only from is ours.
func FuzzScanner(f *testing.F) {
	for _, s := range []string{
		`<message to='a@b/c' from="x" id='1' type="chat" xml:lang='de'><body>hi &amp; <![CDATA[<x>]]></body></message >`,
		"<iq\n\tid = '&lt;&#65;'\r\nto=''\r><q:query xmlns:q='jabber:iq:roster' q:to='x' /> <other/></iq> </stream:stream>",
		`<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>`,
		`<m xmlns:x='u:a' xmlns:y='u:&#97;' x:q='' y:q=''/>`, "<m>\xf0\x9f\x98\x80\xed\xa0\x80</m>", `<m><![CDATA[]]]]><![CDATA[>]]></m>`,
		`<!DOCTYPE x [<!ENTITY a "b">]>`, `<m>]]></m>`, `<m><x:a xmlns:x='u'></x:a></m><presence/>`, `<m>&#00000000000000065;</m>`,
		`<m aaa= '` + strings.Repeat("0", 40) + `' ` + strings.Repeat("a", 40), // two limits at once
		"<a00000000000:0", // a limit, and what is wrong behind it
	} {
		f.Add([]byte(s), uint8(3))
	}
	tight := stream.Limits{Stanza: 300, Depth: 4, Elements: 6, Attributes: 4, AttributeBytes: 60, Namespaces: 2, Name: 12}
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		for _, limits := range []stream.Limits{{}, tight} {
			want := scan(opened(limits), string(in), len(in)+1)
			for _, step := range []int{1, int(step)%64 + 1} {
				if got := scan(opened(limits), string(in), step); !slices.Equal(got, want) {
					t.Fatalf("%q, %d bytes at a time:\n got %q\nwant %q", in, step, got, want)
				}
			}
		}
		checkStamps(t, in)
	})
}

// checkStamps stamps each stanza at the start of in and scans it again.
func checkStamps(t *testing.T, in []byte) {
	s := opened(stream.Limits{})
	for {
		it, n, err := s.Next(in)
		if err != nil {
			return
		}
		in = in[n:]
		if it.Kind != stream.Stanza || !bytes.HasPrefix(it.Raw, append([]byte("<"), it.Name...)) {
			continue
		}
		stamped := it.AppendStamped(nil, stream.Stamp{From: []byte("me"), To: []byte("you"), NS: true})
		again, n, err := opened(stream.Limits{Stanza: len(stamped), AttributeBytes: len(stamped), Attributes: 70}).Next(stamped)
		if err != nil || n != len(stamped) || string(again.From) != "me" || string(again.To) != "you" || !bytes.Equal(again.Name, it.Name) ||
			!bytes.Equal(again.NS, it.NS) || !bytes.Equal(again.ID, it.ID) || !bytes.Equal(again.Child.Name, it.Child.Name) {
			t.Fatalf("%q stamped is %q: %+v, %v", it.Raw, stamped, again, err)
		}
	}
}

// FuzzHeader is FuzzScanner for what comes first.
func FuzzHeader(f *testing.F) {
	f.Add([]byte(header))
	f.Add([]byte("<?xml version=\"1.0\" encoding='utf-8' standalone = 'yes' ?>\r\n <stream xmlns='http://etherx.jabber.org/streams'>"))
	f.Add([]byte(`<stream:stream xmlns:stream="http://etherx.jabber.org/streams" xmlns="jabber:client" to='&amp;' ><a/>`))
	f.Fuzz(func(t *testing.T, in []byte) {
		at := func(step int) []string { return scan(&stream.Scanner{Limits: stream.BeforeAuth()}, string(in), step) }
		want := at(len(in) + 1)
		for _, step := range []int{1, 5} {
			if got := at(step); !slices.Equal(got, want) {
				t.Fatalf("%q, %d bytes at a time:\n got %q\nwant %q", in, step, got, want)
			}
		}
	})
}

// FuzzTokens: bytes that no scanner has seen give no panic and no endless loop.
func FuzzTokens(f *testing.F) {
	for _, s := range []string{"<a b='c' d=\"/>\"/>text<![CDATA[x]]></a>", "<", "</", "<![CDATA[", "<?", "<a b=", "<a b=x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		stream.ParseHeader(in)
		stream.ParseError(in)
		total := 0
		for rest := in; len(rest) > 0; {
			tok, n := stream.NextToken(rest)
			if n <= 0 {
				t.Fatalf("no progress at %q", rest)
			}
			total += len(tok.Decode()) + strings.Count(string(tok.Attrs), "=")
			for name, _, attrs := stream.NextAttr(tok.Attrs); name != nil; name, _, attrs = stream.NextAttr(attrs) {
				total++
			}
			rest = rest[n:]
		}
		if total > 4*len(in) {
			t.Errorf("%d bytes became %d", len(in), total)
		}
	})
}
