package rae_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
)

var update = flag.Bool("update", false, "write testdata/golden.txt")

// example is one document of testdata/documents.txt.
type example struct{ name, wire string }

func examples(t testing.TB) (all []example) {
	t.Helper()
	b, err := os.ReadFile("testdata/documents.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range strings.Split(string(b), "\n== ")[1:] {
		name, wire, _ := strings.Cut(s, "\n")
		all = append(all, example{name, strings.TrimSuffix(wire, "\n")})
	}
	return all
}

// describe is what a document says, for people.
func describe(d *rae.Document) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", d.Method, d.URL)
	for _, h := range d.Headers {
		fmt.Fprintf(&b, "  %s: %s\n", h.Name, h.Value)
	}
	switch d.Media {
	case rae.JSON:
		fmt.Fprintf(&b, "  json %q\n", d.Body)
	case rae.Binary:
		fmt.Fprintf(&b, "  data %x\n", d.Body)
	}
	return b.String()
}

func decode(t testing.TB, wire string) *rae.Document {
	t.Helper()
	var dec rae.Decoder
	dec.Feed([]byte(wire))
	doc := new(rae.Document)
	if err := dec.Next(doc); err != nil {
		t.Fatalf("Next: %v\n%s", err, wire)
	}
	return doc
}

// Each example means what golden.txt says and goes out in the form there
// (RA-075 to RA-082, A-10 to A-14).
func TestExamples(t *testing.T) {
	var got strings.Builder
	for _, e := range examples(t) {
		doc := decode(t, e.wire)
		strict, err := doc.Append(nil, 0)
		if err != nil {
			t.Errorf("%s: Append: %v", e.name, err)
		}
		fmt.Fprintf(&got, "== %s\n%s%s\n", e.name, describe(doc), strict)
		again := decode(t, string(strict))
		if describe(again) != describe(doc) {
			t.Errorf("%s: came back as\n%swas\n%s", e.name, describe(again), describe(doc))
		}
	}
	if *update {
		if err := os.WriteFile("testdata/golden.txt", []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/golden.txt")
	if err != nil || string(want) != got.String() {
		t.Errorf("not as in testdata/golden.txt (%v):\n%s", err, got.String())
	}
}

// events is what a Decoder makes of blocks.
func events(blocks ...string) string {
	var dec rae.Decoder
	var doc rae.Document
	var b strings.Builder
	for _, block := range blocks {
		own := []byte(block)
		dec.Feed(own)
		for {
			err := dec.Next(&doc)
			if err == rae.ErrShort {
				break
			}
			if err != nil {
				fmt.Fprintf(&b, "%v\n", err)
			} else {
				b.WriteString(describe(&doc))
			}
			if _, ok := errors.AsType[*rae.FormatError](err); ok {
				return b.String()
			}
		}
		for i := range own {
			own[i] = '!' // the block is the caller's again
		}
	}
	return b.String()
}

// RA-075: several documents in a block, and one over several blocks, cut
// anywhere.
func TestBlocks(t *testing.T) {
	var all strings.Builder
	for _, e := range examples(t) {
		all.WriteString(e.wire + "\n")
		want := events(e.wire)
		for cut := range len(e.wire) {
			if got := events(e.wire[:cut], e.wire[cut:]); got != want {
				t.Fatalf("%s cut at %d:\n%swant\n%s", e.name, cut, got, want)
			}
		}
	}
	want := events(all.String())
	if n := strings.Count(want, "\nRESPONSE"); n < 5 || strings.Contains(want, "rae:") {
		t.Fatalf("all in one block: %s", want)
	}
	for _, size := range []int{1, 2, 7, 64, 1000} {
		var blocks []string
		for s := all.String(); s != ""; {
			n := min(size, len(s))
			blocks, s = append(blocks, s[:n]), s[n:]
		}
		if got := events(blocks...); got != want {
			t.Errorf("blocks of %d:\n%swant\n%s", size, got, want)
		}
	}
}

const open = `<rest xmlns="rest.oic.org"><url method="GET">/a</url>`

// What ends the session (RA-076): it comes again at every call.
func TestFormatErrors(t *testing.T) {
	for _, c := range []struct{ name, wire, why string }{
		{"junk", "hello <", "text outside a document"},
		{"junk behind", open + "</rest>x<", "text outside a document"},
		{"CDATA outside", "<![CDATA[x]]>", "text outside a document"},
		{"document type", "<!DOCTYPE rest>", "document type"},
		{"document type inside", open + "<!DOCTYPE", "document type"},
		{"conditional section", open + "<![IGNORE[", "conditional section"},
		{"processing instruction", "<?php ?>", "processing instruction"},
		{"declaration inside", open + "<?xml version='1.0'?>", "processing instruction"},
		{"declaration of Latin-1", "<?xml version='1.0' encoding='latin1'?>", "XML declaration"},
		{"stylesheet", "<?xml-stylesheet href='x'?>", "XML declaration"},
		{"entity", open + "&eacute;<", "entity"},
		{"entity in an attribute", `<rest a="&x;">`, "entity"},
		{"NUL by reference", open + "&#0;<", "entity"},
		{"surrogate by reference", open + "&#xD800;<", "entity"},
		{"control character", open + "\x01<", "control character"},
		{"not UTF-8", open + "\xff<", "not UTF-8"},
		{"surrogate", open + "\xed\xa0\x80<", "not UTF-8"},
		{"U+FFFE", open + "\uFFFE<", "no character of XML"},
		{"]]>", open + "]]><", "]]> in text"},
		{"comment", open + "<!-- -- -->", "-- in a comment"},
		{"end tag", open + "</url>", "end tag does not match"},
		{"end without start", "</rest>", "end tag does not match"},
		{"prefix", "<a:rest>", "prefix that is not declared"},
		{"prefix of an attribute", "<rest a:b=''>", "prefix that is not declared"},
		{"prefix out of scope", `<rest><a xmlns:p="q"/><p:b/>`, "prefix that is not declared"},
		{"reserved prefix", "<rest xmlns:xml='a'>", "reserved prefix"},
		{"prefix for nothing", "<rest xmlns:a=''>", "reserved prefix"},
		{"attribute twice", "<rest a='' a=''>", "attribute twice"},
		{"attribute twice by namespace", "<rest xmlns:p='u' xmlns:q='u' p:a='' q:a=''>", "attribute twice"},
		{"attribute without quotes", "<rest a=b>", "start tag"},
		{"attributes without a space", "<rest a='b'c='d'>", "start tag"},
		{"< in an attribute", "<rest a='<'>", "< in a tag"},
		{"name", "<1>", "start tag"},
		{"no name", "<>", "start tag"},
		{"two colons", "<a:b:c>", "start tag"},
		{"name not ASCII", "<é>", "start tag"},
		{"too many attributes", "<rest " + manyAttributes(17) + ">", "too many attributes"},
		{"too many namespaces", strings.Repeat("<a "+manyPrefixes(12)+">", 3), "too many namespaces"},
		{"depth 17", strings.Repeat("<a>", 17), "too deep"},
		{"endless", open + strings.Repeat("x", 262144), "too long"},
		{"endless tag", "<" + strings.Repeat("x", 262144), "too long"},
	} {
		var dec rae.Decoder
		var doc rae.Document
		dec.Feed([]byte(c.wire))
		var err error
		for range 3 {
			if err = dec.Next(&doc); err != nil {
				break
			}
		}
		var wrong *rae.FormatError
		if !errors.As(err, &wrong) || !strings.Contains(wrong.Why, c.why) || wrong.Spec == "" {
			t.Errorf("%s: %v, want %s", c.name, err, c.why)
		}
		dec.Feed([]byte(open + "</rest>"))
		if again := dec.Next(&doc); again != err {
			t.Errorf("%s: then %v", c.name, again)
		}
	}
}

func manyAttributes(n int) (s string) {
	for i := range n {
		s += fmt.Sprintf(" a%d=''", i)
	}
	return s
}

func manyPrefixes(n int) (s string) {
	for i := range n {
		s += fmt.Sprintf(" xmlns:a%d='u'", i)
	}
	return s
}

// What is a document but means nothing is 4.00, and the next one counts (A-14,
// limits of RA-076). Its token is known, so that it can be answered.
func TestRefusedDocuments(t *testing.T) {
	const token = `<headers><header name="OIC-Token">a1b2</header></headers>`
	header := func(name, value string) string {
		return `<headers><header name="` + name + `">` + value + `</header></headers>`
	}
	for _, c := range []struct{ name, wire, why string }{
		{"another namespace", `<rest xmlns="rest.example"><url method="GET">/a</url></rest>`, "not a rest element"},
		{"no namespace", `<rest/>`, "not a rest element"},
		{"another element", `<crud xmlns="rest.oic.org"/>`, "not a rest element"},
		{"no url", `<rest xmlns="rest.oic.org">` + token + `</rest>`, "no url"},
		{"no method", `<rest xmlns="rest.oic.org"><url>/a</url></rest>`, "no url with a method"},
		{"empty url", `<rest xmlns="rest.oic.org"><url method="GET"> </url></rest>`, "URL is empty"},
		{"two urls", open + `<url method="GET">/b</url></rest>`, "two url"},
		{"two bodies", open + `<body><json xmlns="urn:xmpp:json:0">1</json><json xmlns="urn:xmpp:json:0">2</json></body></rest>`, "two bodies"},
		{"long URL", `<rest xmlns="rest.oic.org"><url method="GET">/` + strings.Repeat("a", 1024) + `</url></rest>`, "too long"},
		{"long method", `<rest xmlns="rest.oic.org"><url method="` + strings.Repeat("a", 65) + `">/</url></rest>`, "too long"},
		{"URL with a line feed", `<rest xmlns="rest.oic.org"><url method="GET">/a&#10;b</url></rest>`, "control"},
		{"long value", open + header("a", strings.Repeat("a", 1025)) + `</rest>`, "too long"},
		{"long name", open + header(strings.Repeat("a", 65), "b") + `</rest>`, "too long"},
		{"header without a name", open + `<headers><header>b</header></headers></rest>`, "without a name"},
		{"65 headers", open + `<headers>` + strings.Repeat(`<header name="a">b</header>`, 65) + `</headers></rest>`, "too many headers"},
		{"no base64", open + `<body><data xmlns="urn:x-farreach:ra:0">oWV2YWx1ZfU</data></body></rest>`, "no base64"},
	} {
		var dec rae.Decoder
		var doc rae.Document
		dec.Feed([]byte(c.wire + open + token + "</rest>"))
		err := dec.Next(&doc)
		if status, diag := oic.StatusOf(err); status != oic.BadRequest || !strings.Contains(diag, c.why) {
			t.Errorf("%s: %v, want %s", c.name, err, c.why)
		}
		if strings.Contains(c.wire, token) && doc.Token() != "a1b2" {
			t.Errorf("%s: token %q", c.name, doc.Token())
		}
		if err := dec.Next(&doc); err != nil || doc.Token() != "a1b2" || string(doc.URL) != "/a" {
			t.Errorf("%s: the next document: %v, %s", c.name, err, describe(&doc))
		}
	}
}

// The limits are what fits, and one less than what does not.
func TestLimits(t *testing.T) {
	amp := strings.Repeat("&amp;", 1024) // 1,024 bytes when unescaped
	for _, wire := range []string{
		`<rest xmlns="rest.oic.org"><url method="GET">` + amp + `</url></rest>`,
		open + `<headers><header name="` + strings.Repeat("a", 64) + `">` + amp + `</header></headers></rest>`,
		open + `<headers>` + strings.Repeat(`<header name="a">b</header>`, 64) + `</headers></rest>`,
		open + strings.Repeat("<a>", 15) + strings.Repeat("</a>", 15) + `</rest>`,
	} {
		decode(t, wire)
	}
	wire := open + `</rest>`
	dec := rae.Decoder{Max: len(wire)}
	dec.Feed([]byte(wire + wire))
	for range 2 {
		if err := dec.Next(new(rae.Document)); err != nil {
			t.Errorf("document of Max bytes: %v", err)
		}
	}
}

// What no document can hold, and what is too long for a block, is refused.
func TestAppendRefusals(t *testing.T) {
	ok := rae.Document{Method: rae.Get, URL: []byte("/a")}
	for _, c := range []struct {
		name   string
		change func(d *rae.Document)
		why    string
	}{
		{"no method", func(d *rae.Document) { d.Method = "" }, "no method"},
		{"no URL", func(d *rae.Document) { d.URL = nil }, "URL"},
		{"long URL", func(d *rae.Document) { d.URL = make([]byte, 1025) }, "URL"},
		{"URL with a blank", func(d *rae.Document) { d.URL = []byte("/a ") }, "URL"},
		{"header not ASCII", func(d *rae.Document) { d.Headers = []rae.Header{{[]byte("a"), []byte("é")}} }, "header"},
		{"65 headers", func(d *rae.Document) { d.Headers = make([]rae.Header, 65) }, "65 headers"},
		{"empty body", func(d *rae.Document) { d.Media = rae.JSON }, "empty"},
		{"body not UTF-8", func(d *rae.Document) { d.Media, d.Body = rae.JSON, []byte("\"\xff\"") }, "UTF-8"},
	} {
		d := ok
		c.change(&d)
		if b, err := d.Append([]byte("x"), 0); err == nil || !strings.Contains(err.Error(), c.why) || string(b) != "x" {
			t.Errorf("%s: %q, %v", c.name, b, err)
		}
	}
	ok.Media, ok.Body = rae.JSON, []byte(`"<>"`)
	wire, err := ok.Append(nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ok.Append(nil, len(wire)); err != nil {
		t.Errorf("limit of its size: %v", err)
	}
	for _, limit := range []int{len(wire) - 1, 3} {
		_, err = ok.Append(nil, limit)
		if size, is := errors.AsType[*rae.SizeError](err); !is || size.Max != limit || limit > 3 && size.Size != len(wire) {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}

// Characters that JSON takes and XML does not become escapes of JSON (RA-077).
func TestJSONBeyondXML(t *testing.T) {
	d := rae.Document{Method: rae.Post, URL: []byte("/a"), Media: rae.JSON, Body: []byte("\"\uFFFD\uFFFE\uFFFF\uFFE6\uFFFF\"")}
	wire, err := d.Append(nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := "\"\uFFFD\\ufffe\\uffff\uFFE6\\uffff\""
	if got := decode(t, string(wire)); string(got.Body) != want {
		t.Errorf("%+q, want %+q", got.Body, want)
	}
}
