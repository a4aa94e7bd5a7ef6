package stream_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/farreach/farreach/xmpp/stream"
)

const header = `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='home.example' version='1.0'>`

// scan feeds in to s, step bytes at a time, and returns a line for each item
// and for the error at the end.
func scan(s *stream.Scanner, in string, step int) (lines []string) {
	start, end := 0, 0
	var blank int
	for {
		it, n, err := s.Next([]byte(in[start:end]))
		switch {
		case err == stream.ErrShort && end < len(in):
			end = min(len(in), end+step)
			continue
		case err == nil && it.Kind == stream.Space:
			blank += n
		default:
			if blank > 0 {
				lines = append(lines, fmt.Sprintf("space %d", blank))
				blank = 0
			}
			lines = append(lines, describe(it, n, err))
		}
		if err != nil {
			return lines
		}
		start += n
	}
}

// describe writes what is known of an item in one line.
func describe(it stream.Item, n int, err error) string {
	if bad, ok := errors.AsType[*stream.Error](err); ok {
		return bad.Condition + ": " + bad.Text
	}
	if err != nil {
		return "short"
	}
	var b strings.Builder
	switch it.Kind {
	case stream.Opening:
		fmt.Fprintf(&b, "opening %+v", stream.ParseHeader(it.Raw))
	case stream.Closing:
		b.WriteString("closing")
	case stream.Stanza:
		fmt.Fprintf(&b, "stanza {%s}%s", it.NS, it.Name)
		for _, a := range []struct {
			name  string
			value []byte
		}{{"to", it.To}, {"from", it.From}, {"id", it.ID}, {"type", it.Type}, {"lang", it.Lang}} {
			if a.value != nil {
				fmt.Fprintf(&b, " %s=%q", a.name, stream.Decode(a.value))
			}
		}
		if it.Child.Name != nil {
			fmt.Fprintf(&b, " child={%s}%s", it.Child.NS, it.Child.Name)
		}
	}
	if n != len(it.Raw) {
		fmt.Fprintf(&b, " but %d bytes taken of %d", n, len(it.Raw))
	}
	return b.String()
}

// opened returns a scanner that has seen a header.
func opened(limits stream.Limits) *stream.Scanner {
	s := new(stream.Scanner)
	if _, n, err := s.Next([]byte(header)); err != nil || n != len(header) {
		panic(err)
	}
	s.Limits = limits
	return s
}

// eachStep runs test with all bytes at once, one by one, and in between.
func eachStep(t *testing.T, test func(t *testing.T, step int)) {
	for _, step := range []int{1 << 20, 1, 2, 7} {
		t.Run(fmt.Sprintf("step %d", step), func(t *testing.T) { test(t, step) })
	}
}

func TestHeaders(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{header, "opening {To:home.example From: ID: Version:1.0 Lang: Namespace:jabber:client}"},
		{"\n" + header, "space 1|opening {To:home.example From: ID: Version:1.0 Lang: Namespace:jabber:client}"},
		{`<stream:stream from="a&amp;b" id='++T=' xml:lang='de' xmlns:stream="http://etherx.jabber.org/streams" xmlns="jabber:client" >`,
			"opening {To: From:a&b ID:++T= Version: Lang:de Namespace:jabber:client}"},
		{"<?xml version=\"1.0\" encoding='utf-8' standalone = 'yes' ?>\r\n <stream xmlns='http://etherx.jabber.org/streams'>",
			"opening {To: From: ID: Version: Lang: Namespace:http://etherx.jabber.org/streams}"}, // RFC 6120, 4.8.2: prefix-free
		{`<stream:stream xmlns:xml='http://www.w3.org/XML/1998/namespace' xmlns:stream='http://etherx.jabber.org/streams'>`,
			"opening {To: From: ID: Version: Lang: Namespace:}"},
		{`<stream:stream xmlns:stream='http://etherx.jabber.org/stream&#115;' xmlns='jabber:clien&#x74;'>`,
			"opening {To: From: ID: Version: Lang: Namespace:jabber:client}"},
	} {
		eachStep(t, func(t *testing.T, step int) {
			if got := strings.Join(scan(new(stream.Scanner), tt.in, step), "|"); got != tt.want+"|short" {
				t.Errorf("%s\n got %s\nwant %s", tt.in, got, tt.want)
			}
		})
	}
}

func TestHeaderRefusals(t *testing.T) {
	const streams = `xmlns:stream='http://etherx.jabber.org/streams'`
	for _, tt := range []struct{ in, condition string }{
		{`hello`, stream.BadFormat},
		{"\uFEFF" + header, stream.BadFormat},
		{`<message/>`, stream.BadFormat},
		{`<stream:stream ` + streams + `/>`, stream.BadFormat},
		{`<stream:features ` + streams + `>`, stream.BadFormat},
		{`</stream:stream>`, stream.NotWellFormed},
		{`<stream:stream>`, stream.NotWellFormed}, // the prefix is not declared
		{`<stream xmlns='jabber:client'>`, stream.InvalidNamespace},
		{`<stream>`, stream.InvalidNamespace},
		{`<stream:stream xmlns:stream='http://etherx.jabber.org/stream'>`, stream.InvalidNamespace},
		{`<stream:stream xmlns='jabber:server' ` + streams + `>`, stream.InvalidNamespace},
		{`<stream xmlns='http://etherx.jabber.org/streams' xmlns:stream='jabber:client'>`, stream.InvalidNamespace},
		{`<flash:stream xmlns:flash='http://etherx.jabber.org/streams'>`, stream.BadNamespacePrefix},
		{`<stream:stream to='a' to='b' ` + streams + `>`, stream.NotWellFormed},
		{`<!DOCTYPE stream>`, stream.RestrictedXML},
		{`<!-- -->`, stream.RestrictedXML},
		{`<?php ?>`, stream.RestrictedXML},
		{`<?xmlx version='1.0'?>`, stream.RestrictedXML},
		{` <?xml version='1.0'?><?xml version='1.0'?>`, stream.RestrictedXML},
		{`<?xml version='1.0'?><!DOCTYPE stream>`, stream.RestrictedXML},
		{`<?xml version='1.0'?>x`, stream.NotWellFormed},
		{`<?xml version='1.0'>`, stream.NotWellFormed},
		{`<?xml version='1.1'?>`, stream.NotWellFormed},
		{`<?xml version="1.0'?>`, stream.NotWellFormed},
		{`<?xml version=x1.0x?>`, stream.NotWellFormed},
		{`<?xml encoding='UTF-8'?>`, stream.NotWellFormed},
		{`<?xml version='1.0'encoding='UTF-8'?>`, stream.NotWellFormed},
		{`<?xml version='1.0' standalone='maybe'?>`, stream.NotWellFormed},
		{`<?xml version='1.0' standalone='yes' encoding='UTF-8'?>`, stream.NotWellFormed},
		{`<?xml version='1.0' more='1'?>`, stream.NotWellFormed},
		{`<?xml version='1.0' <`, stream.NotWellFormed},
		{`<?xml version='1.0' encoding='UTF-16'?>`, stream.UnsupportedEncoding},
		{`<?xml version='1.0' encoding='ISO-8859-1'?>`, stream.UnsupportedEncoding},
	} {
		refused(t, new(stream.Scanner), tt.in, tt.condition)
	}
}

// refused checks that in ends a stream with condition, however its bytes come.
// s has accepted nothing but a header yet.
func refused(t *testing.T, s *stream.Scanner, in, condition string) {
	t.Helper()
	for _, step := range []int{1 << 20, 1, 3} {
		fresh := *s
		got := scan(&fresh, in, step)
		if last := got[len(got)-1]; !strings.HasPrefix(last, condition+": ") {
			t.Errorf("%.300q, %d bytes at a time: %.300q, want %s", in, step, got, condition)
		}
		if _, _, err := fresh.Next([]byte("<presence/>")); err == nil || err == stream.ErrShort {
			t.Errorf("%.300q: the stream goes on (Bad11)", in)
		}
	}
}

func TestStanzas(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`<message/>`, `stanza {jabber:client}message`},
		{`<message to='a@b/c' from="x" id='1' type="chat" xml:lang='de'><body>hi</body></message >`,
			`stanza {jabber:client}message to="a@b/c" from="x" id="1" type="chat" lang="de" child={jabber:client}body`},
		{"<iq\n\tid = '&lt;&#65;&#x42;\t'\r\nto=''\r><q:query xmlns:q='jabber:iq:roster' q:to='x' /> <other/></iq>",
			`stanza {jabber:client}iq to="" id="<AB " child={jabber:iq:roster}query`},
		{`<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>`,
			`stanza {http://etherx.jabber.org/streams}features child={urn:ietf:params:xml:ns:xmpp-tls}starttls`},
		{`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='X'>=</auth>`, `stanza {urn:ietf:params:xml:ns:xmpp-sasl}auth`},
		{`<message xmlns=''><a/></message>`, `stanza {}message child={}a`},
		{`<message><x:a xmlns:x='u:&#97;'><x:b><x:c xmlns:x='u:b' x:d='1' d='2'/></x:b></x:a></message>`, `stanza {jabber:client}message child={u:a}a`},
		{`<message xmlns:stream='u:x'><stream:error/></message>`, `stanza {jabber:client}message child={u:x}error`},
		{`<message><b>a]]&gt;b ]]] > é € 😀 ` + "\u0085\u007f\ufffd" + `</b></message>`, `stanza {jabber:client}message child={jabber:client}b`},
		{`<message>text first<b/></message>`, `stanza {jabber:client}message child={jabber:client}b`},
		{`<message a='">' b="'>/"/>`, `stanza {jabber:client}message`},
		{"<presence/> \t\r\n<presence/>", `stanza {jabber:client}presence|space 4|stanza {jabber:client}presence`},
		{`<a/></stream:stream>`, `stanza {jabber:client}a|closing`},
		{"<a/></stream:stream\n >", `stanza {jabber:client}a|closing`},
	} {
		eachStep(t, func(t *testing.T, step int) {
			if got := strings.Join(scan(opened(stream.Limits{}), tt.in, step), "|"); got != tt.want+"|short" {
				t.Errorf("%s\n got %s\nwant %s", tt.in, got, tt.want)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	for _, tt := range []struct{ in, condition string }{
		{`text`, stream.BadFormat},
		{`&amp;`, stream.BadFormat},
		{`<stream:stream>`, stream.BadFormat},
		{`<s:stream xmlns:s='http://etherx.jabber.org/streams'>`, stream.BadFormat},
		{`<message xmlns:stream='u:x'></message><stream:stream>`, stream.BadFormat},

		{`< message/>`, stream.NotWellFormed},
		{`<1/>`, stream.NotWellFormed},
		{`<:a/>`, stream.NotWellFormed},
		{`<a:/>`, stream.NotWellFormed},
		{`<a:1/>`, stream.NotWellFormed},
		{`<a:b:c/>`, stream.NotWellFormed},
		{`<message / >`, stream.NotWellFormed},
		{`<message a/>`, stream.NotWellFormed},
		{`<message a=1/>`, stream.NotWellFormed},
		{`<message a=='1'/>`, stream.NotWellFormed},
		{`<message a'1'/>`, stream.NotWellFormed},
		{`<message a='1'b='2'/>`, stream.NotWellFormed},
		{`<message a='<'/>`, stream.NotWellFormed},
		{`<message a='1' a='2'/>`, stream.NotWellFormed},
		{`<message xmlns='a' xmlns='a'/>`, stream.NotWellFormed},
		{`<message xmlns:x='u:a' xmlns:y='u:&#97;' x:q='' y:q=''/>`, stream.NotWellFormed},
		{`<message =''/>`, stream.NotWellFormed},
		{`<message></messag>`, stream.NotWellFormed},
		{`<message></messages>`, stream.NotWellFormed},
		{`<message></message x>`, stream.NotWellFormed},
		{`<message></ message>`, stream.NotWellFormed},
		{`<message><x:a xmlns:x='u:a' xmlns:y='u:a'></y:a></message>`, stream.NotWellFormed},
		{`</message>`, stream.NotWellFormed},
		{`</stream>`, stream.NotWellFormed},
		{`</stream:streams>`, stream.NotWellFormed},
		{`<message><b>]]></b></message>`, stream.NotWellFormed},
		{"<message>\x00</message>", stream.NotWellFormed},
		{"<message>\x1b[31m</message>", stream.NotWellFormed},
		{"<message a='\x0b'/>", stream.NotWellFormed},
		{"<message>\uffff</message>", stream.NotWellFormed},
		{"<message>\ufffe</message>", stream.NotWellFormed},
		{`<message>&#0;</message>`, stream.NotWellFormed},
		{`<message>&#31;</message>`, stream.NotWellFormed},
		{`<message>&#xD800;</message>`, stream.NotWellFormed},
		{`<message>&#xFFFF;</message>`, stream.NotWellFormed},
		{`<message>&#x110000;</message>`, stream.NotWellFormed},
		{`<message>&#9999999999;</message>`, stream.NotWellFormed},
		{`<message>&#;</message>`, stream.NotWellFormed},
		{`<message>&#x;</message>`, stream.NotWellFormed},
		{`<message>&#X41;</message>`, stream.NotWellFormed},
		{`<message>&#1a;</message>`, stream.NotWellFormed},
		{`<message a='&#-1;'/>`, stream.NotWellFormed},

		{`<message>&nbsp;</message>`, stream.RestrictedXML},
		{`<message>&AMP;</message>`, stream.RestrictedXML},
		{`<message>& </message>`, stream.RestrictedXML},
		{`<message>&;</message>`, stream.RestrictedXML},
		{`<message a='&ent;'/>`, stream.RestrictedXML},
		{`<!-- x -->`, stream.RestrictedXML},
		{`<message><!-- x --></message>`, stream.RestrictedXML},
		{`<message><?php ?></message>`, stream.RestrictedXML},
		{`<?xml version='1.0'?>`, stream.RestrictedXML},
		{`<![CDATA[x]]>`, stream.RestrictedXML},
		{`<message><![CDAT[x]]></message>`, stream.RestrictedXML},
		{`<message><![INCLUDE[x]]></message>`, stream.RestrictedXML},

		{`<message>&#0000000000000065;</message>`, stream.PolicyViolation},
		{`<é/>`, stream.PolicyViolation}, // parsers of XML 1.0, 4th edition, do not agree with those of the 5th
		{`<message é=''/>`, stream.PolicyViolation},
		{`<aé/>`, stream.PolicyViolation},
	} {
		refused(t, opened(stream.Limits{}), tt.in, tt.condition)
	}
}

func TestReset(t *testing.T) {
	s := opened(stream.BeforeAuth())
	s.Next([]byte("<message><b"))
	s.Reset()
	if _, _, err := s.Next([]byte("<message/>")); err == nil {
		t.Error("a stanza is accepted before a new header")
	}
	s.Reset()
	if it, _, err := s.Next([]byte(header)); err != nil || it.Kind != stream.Opening || s.Limits != stream.BeforeAuth() {
		t.Errorf("header after Reset: %v, %v", it.Kind, err)
	}
}

// TestFrames: RFC 7395, section 3.3.
func TestFrames(t *testing.T) {
	const open = `<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='home.example' version='1.0'/>`
	var s stream.Scanner
	for _, tt := range []struct{ in, want string }{
		{open, "opening {To:home.example From: ID: Version:1.0 Lang: Namespace:}"},
		{`<message xmlns='jabber:client' to='a'><b/></message>`, `stanza {jabber:client}message to="a" child={jabber:client}b`},
		{`<stream:error xmlns:stream='http://etherx.jabber.org/streams'><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>`,
			`stanza {http://etherx.jabber.org/streams}error child={urn:ietf:params:xml:ns:xmpp-streams}reset`},
		{`<message/>`, `stanza {}message`},
		{`<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>`, "closing"},
	} {
		it, err := s.Frame([]byte(tt.in))
		if got := describe(it, len(tt.in), err); got != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.in, got, tt.want)
		}
	}
	for _, tt := range []struct{ in, condition string }{
		{``, stream.NotWellFormed},
		{`<message>`, stream.NotWellFormed},
		{`<message/><message/>`, stream.NotWellFormed},
		{`<message/> `, stream.NotWellFormed},
		{` <message/>`, stream.NotWellFormed},
		{`<?xml version='1.0'?><message/>`, stream.RestrictedXML},
		{`</stream:stream>`, stream.NotWellFormed},
		{`<stream:features/>`, stream.NotWellFormed}, // the prefix is not declared
		{`<message xmlns='jabber:client'>` + strings.Repeat("x", 10_000) + `</message>`, stream.PolicyViolation},
	} {
		s := stream.Scanner{Limits: stream.BeforeAuth()}
		_, err := s.Frame([]byte(tt.in))
		if bad, ok := errors.AsType[*stream.Error](err); !ok || bad.Condition != tt.condition {
			t.Errorf("%.100q: %v, want %s", tt.in, err, tt.condition)
		}
	}
}
