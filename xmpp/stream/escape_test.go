package stream_test

import (
	"encoding/xml"
	"errors"
	"strings"
	"testing"

	"github.com/farreach/farreach/xmpp/stream"
)

func TestDecode(t *testing.T) {
	for _, tt := range []struct{ raw, attr, text string }{
		{"plain", "plain", "plain"},
		{"&lt;&gt;&amp;&apos;&quot;", `<>&'"`, `<>&'"`},
		{"&#65;&#x42;&#x1f600;&#xe9;", "AB\U0001f600\u00e9", "AB\U0001f600\u00e9"},
		{"a\tb\nc\rd\r\ne", "a b c d e", "a\tb\nc\nd\ne"},
		{"&#9;&#10;&#13;", "\t\n\r", "\t\n\r"},
		{"&amp;lt;", "&lt;", "&lt;"},
		{"\u00e9\u20ac", "\u00e9\u20ac", "\u00e9\u20ac"},
		{"&bad;&", "&bad;&", "&bad;&"}, // no scanner lets this through
	} {
		if got := string(stream.Decode([]byte(tt.raw))); got != tt.attr {
			t.Errorf("Decode(%q) = %q, want %q", tt.raw, got, tt.attr)
		}
		tok, n := stream.NextToken([]byte(tt.raw))
		if got := string(tok.Decode()); tok.Kind != stream.Chars || n != len(tt.raw) || got != tt.text {
			t.Errorf("text %q is %q, want %q", tt.raw, got, tt.text)
		}
	}
	tok, _ := stream.NextToken([]byte("<![CDATA[a&lt;]]\r\n]]>x"))
	if got := string(tok.Decode()); tok.Kind != stream.Chars || got != "a&lt;]]\n" {
		t.Errorf("CDATA: %q", got)
	}
}

// FuzzEscape: what is escaped passes the scanner and encoding/xml, and is the
// same again when it is decoded, but for what XML cannot hold.
func FuzzEscape(f *testing.F) {
	for _, s := range []string{"plain", `<>&'"`, "\t\r\n\x00\x7f", "\u00e9\U0001f600\ufffe\uffff", "\xff\xc3", "]]>", "&amp;"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 2000 {
			return
		}
		want := strings.Map(func(r rune) rune {
			if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff {
				return '\uFFFD'
			}
			return r
		}, strings.ToValidUTF8(s, "\uFFFD"))
		attr, text := stream.AppendEscaped(nil, s), stream.AppendText(nil, []byte(s))
		if a, b := string(stream.Decode(attr)), string(stream.Decode(stream.AppendEscaped(nil, []byte(s)))); norm(a) != norm(want) || a != b {
			t.Errorf("attribute %q came back as %q", s, a)
		}
		raw := "<m a='" + string(attr) + "'>" + string(text) + "</m>"
		if _, n, err := opened(stream.Limits{}).Next([]byte(raw)); err != nil || n != len(raw) {
			t.Errorf("the scanner refuses %q: %v", raw, err)
		}
		var m struct {
			A    string `xml:"a,attr"`
			Text string `xml:",chardata"`
		}
		if err := xml.Unmarshal([]byte(raw), &m); err != nil || norm(m.A) != norm(want) || norm(m.Text) != norm(want) {
			t.Errorf("%q came back as %q and %q (%v)", s, m.A, m.Text, err)
		}
	})
}

// norm makes one replacement character of several in a row: how many a run of
// bytes that are not UTF-8 becomes is left open.
func norm(s string) string {
	for strings.Contains(s, "\uFFFD\uFFFD") {
		s = strings.ReplaceAll(s, "\uFFFD\uFFFD", "\uFFFD")
	}
	return s
}

// TestErrors: each condition of RFC 6120, section 4.9.3, there and back.
func TestErrors(t *testing.T) {
	for _, condition := range strings.Fields(`bad-format bad-namespace-prefix conflict connection-timeout host-gone host-unknown
		improper-addressing internal-server-error invalid-from invalid-namespace invalid-xml not-authorized not-well-formed
		policy-violation remote-connection-failed reset resource-constraint restricted-xml see-other-host system-shutdown
		undefined-condition unsupported-encoding unsupported-feature unsupported-stanza-type unsupported-version`) {
		for _, framed := range []bool{false, true} {
			e := stream.Error{Condition: condition, Text: "it's <so>", App: "<x xmlns='urn:xmpp:errors'/>"}
			raw := e.Append(nil, framed)
			var it stream.Item
			var err error
			if framed {
				it, err = new(stream.Scanner).Frame(raw)
			} else {
				it, _, err = opened(stream.BeforeAuth()).Next(raw)
			}
			if err != nil || string(it.Name) != "error" || string(it.NS) != stream.NS {
				t.Fatalf("%s: {%s}%s, %v", raw, it.NS, it.Name, err)
			}
			if got := stream.ParseError(raw); got.Condition != condition || got.Text != e.Text {
				t.Errorf("%s came back as %+v", raw, got)
			}
		}
	}
	for _, tt := range []struct{ raw, condition, text string }{
		{`<stream:error/>`, "undefined-condition", ""},
		{`<stream:error><unheard-of xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>`, "undefined-condition", ""},
		{`<stream:error><text>a</text><text>b</text><reset/></stream:error>`, "reset", "ab"},
		{`<stream:error><reset>x</reset><conflict/></stream:error>`, "reset", ""},
		{`<stream:error><reset`, "undefined-condition", ""},
	} {
		if got := stream.ParseError([]byte(tt.raw)); got.Condition != tt.condition || got.Text != tt.text {
			t.Errorf("%s: %+v", tt.raw, got)
		}
	}
	var target *stream.Error
	if err := error(&stream.Error{Condition: "reset"}); !errors.As(err, &target) || err.Error() != "xmpp stream error: reset" {
		t.Error(err)
	}
}

func TestHeaderRoundTrip(t *testing.T) {
	want := stream.Header{To: "a'b", From: "<c>", ID: "&", Version: "1.0", Lang: "en"}
	for _, framed := range []bool{false, true} {
		raw, s := want.Append(nil), new(stream.Scanner)
		if framed {
			raw = want.AppendOpen(nil)
		}
		it, err := s.Frame(raw)
		if !framed {
			s = new(stream.Scanner)
			it, _, err = s.Next(raw)
		}
		got := stream.ParseHeader(it.Raw)
		if !framed {
			want.Namespace = stream.NSClient
		}
		if err != nil || it.Kind != stream.Opening || got != want {
			t.Errorf("%s came back as %+v (%v)", raw, got, err)
		}
		want.Namespace = ""
		end := stream.AppendClose(nil, framed)
		if framed {
			it, err = s.Frame(end)
		} else {
			it, _, err = s.Next(end)
		}
		if err != nil || it.Kind != stream.Closing {
			t.Errorf("%s: %v, %v", end, it.Kind, err)
		}
	}
}

// TestStamp: what else a server puts in.
func TestStamp(t *testing.T) {
	all := stream.Stamp{From: []byte("F"), To: []byte("T"), Lang: []byte("de"), NS: true}
	for _, tt := range []struct{ in, want string }{
		{`<presence/>`, `<presence xmlns='jabber:client' xml:lang='de' from='F' to='T'/>`},
		{`<presence to='a' x='' from='b'><c/></presence>`, `<presence xmlns='jabber:client' xml:lang='de' to='T' x='' from='F'><c/></presence>`},
		{`<presence from='b' to='a'/>`, `<presence xmlns='jabber:client' xml:lang='de' from='F' to='T'/>`},
		{`<presence xmlns='jabber:client' xml:lang='fr' to='a'/>`, `<presence from='F' xmlns='jabber:client' xml:lang='fr' to='T'/>`},
	} {
		it, _, err := opened(stream.Limits{}).Next([]byte(tt.in))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(it.AppendStamped(nil, all)); got != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.in, got, tt.want)
		}
		if got := string(it.AppendStamped(nil, stream.Stamp{})); got != tt.in {
			t.Errorf("unchanged %s is %s", tt.in, got)
		}
	}
}
