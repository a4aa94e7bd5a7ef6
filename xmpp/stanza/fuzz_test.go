package stanza_test

import (
	"encoding/xml"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
)

var seeds = []string{
	`<message to='a@b/c' from="x" id='1' type="error" xml:lang='de'><body>hi &amp; <![CDATA[<x>]]></body><error type='wait'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>u</gone></error></message >`,
	"<iq\n\tid = '&lt;&#65;\r\n'\r\nto='' type='get'\r><q:query xmlns:q='jabber:iq:roster' q:to='x' /></iq>",
	`<presence><priority>-80</priority><show>xa</show><status>&#13;</status></presence>`,
	`<m xmlns:x='u:a&amp;' xmlns='' x:q="'" xml:space='preserve'>a<x:y>]]&gt;</x:y>b</m>`,
	`<m xmlns:stream='u:a'><stream:q xmlns='u:b'><z/></stream:q><xml:y xml:y=''><w/></xml:y></m>`,
	"<m>\r\n\r<b>\u00e9\U0001f600</b></m>",
}

// FuzzSameTree: what the scanner accepts, encoding/xml accepts with the same
// tree; and the tree is the same again after it was written. (The reverse does
// not hold: encoding/xml accepts what is ill-formed.)
func FuzzSameTree(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var s stream.Scanner
		s.Next([]byte(open))
		it, _, err := s.Next(in)
		if err != nil || it.Kind != stream.Stanza {
			return
		}
		got, err := stanza.Parse(it.Raw, stream.NSClient)
		if err != nil {
			t.Fatalf("the scanner accepts %q: %v", it.Raw, err)
		}
		want, err := reference(string(it.Raw))
		if err != nil {
			t.Fatalf("encoding/xml refuses %q: %v", it.Raw, err)
		}
		if flat(got); !reflect.DeepEqual(flat(got), want) {
			t.Fatalf("%q\n got %+v\nwant %+v", it.Raw, got, want)
		}
		raw := got.Append(nil, stream.NSClient)
		scan(t, raw)
		if again, err := stanza.Parse(raw, stream.NSClient); err != nil || !reflect.DeepEqual(again, got) {
			t.Fatalf("%q, written as %q:\n got %+v\nwant %+v (%v)", it.Raw, raw, again, got, err)
		}
	})
}

// reference makes a tree with encoding/xml.
func reference(raw string) (stanza.Element, error) {
	d := xml.NewDecoder(strings.NewReader(open + raw + "</stream:stream>"))
	open := []stanza.Element{{}}
	for {
		tok, err := d.Token()
		switch tok := tok.(type) {
		case nil:
			if !errors.Is(err, io.EOF) {
				return stanza.Element{}, err
			}
			return open[0].Children[0].Children[0], nil
		case xml.StartElement:
			e := stanza.Element{NS: tok.Name.Space, Name: tok.Name.Local}
			for _, a := range tok.Attr {
				if a.Name.Space != "xmlns" && a.Name != (xml.Name{Local: "xmlns"}) {
					e.Attrs = append(e.Attrs, stanza.Attr{NS: a.Name.Space, Name: a.Name.Local, Value: a.Value})
				}
			}
			open = append(open, e)
		case xml.EndElement:
			e := open[len(open)-1]
			open = open[:len(open)-1]
			open[len(open)-1].Children = append(open[len(open)-1].Children, flat(e))
		case xml.CharData:
			open[len(open)-1].Text += string(tok)
		}
	}
}

// flat makes spaces of line feeds and tabs in attributes, which encoding/xml
// forgets to do (XML 1.0, section 3.3.3), in a copy of e.
func flat(e stanza.Element) stanza.Element {
	attrs := append([]stanza.Attr(nil), e.Attrs...)
	for i := range attrs {
		attrs[i].Value = strings.NewReplacer("\n", " ", "\t", " ", "\r", " ").Replace(attrs[i].Value)
	}
	e.Attrs = attrs
	var children []stanza.Element
	for _, c := range e.Children {
		children = append(children, flat(c))
	}
	e.Children = children
	return e
}

// FuzzStanza: a stanza of each kind, there and back, from whatever bytes; what
// is written is one stanza, and the same when it is read and written again.
func FuzzStanza(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		type stanzaOf interface{ Append([]byte) []byte }
		for _, parse := range []func([]byte) (stanzaOf, error){
			func(b []byte) (stanzaOf, error) { m, err := stanza.ParseMessage(b); return &m, err },
			func(b []byte) (stanzaOf, error) { p, err := stanza.ParsePresence(b); return &p, err },
			func(b []byte) (stanzaOf, error) { iq, err := stanza.ParseIQ(b); return &iq, err },
		} {
			st, err := parse(in)
			if err != nil || !accepted(in) {
				continue
			}
			raw := st.Append(nil)
			scan(t, raw)
			again, err := parse(raw)
			if err != nil || string(again.Append(nil)) != string(raw) {
				t.Errorf("%q, written as %q, came back as %q (%v)", in, raw, again.Append(nil), err)
			}
		}
	})
}

func accepted(raw []byte) bool {
	var s stream.Scanner
	s.Next([]byte(open))
	_, n, err := s.Next(raw)
	return err == nil && n == len(raw)
}

func BenchmarkParseIQ(b *testing.B) {
	raw := []byte(`<iq type='get' id='s9' from='home.example' to='ann@home.example/c'><ping xmlns='urn:xmpp:ping'/></iq>`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := stanza.ParseIQ(raw); err != nil {
			b.Fatal(err)
		}
	}
}
