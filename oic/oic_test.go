package oic_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/farreach/farreach/oic"
)

// Rule 19: pairs in one option are parted by "&" or ";".
func TestQuery(t *testing.T) {
	for _, c := range []struct{ query, want string }{
		{"", ""},
		{"rt=a", "rt=a"},
		{"rt=a&if=b;ins=1&ins=2", "rt=a|if=b|ins=1|ins=2"},
		{"&&a;;b=&", "a=|b="},
		{"a=b=c", "a=b=c"},
		{"x=%26%3D%C3%A9&y%3D=1", "x=&=é|y==1"},
		{"x=100%&y=%zz", "x=100%|y=%zz"},
		{"=v", "=v"},
	} {
		var got []string
		oic.Query(c.query, func(name, value string) { got = append(got, name+"="+value) })
		if s := strings.Join(got, "|"); s != c.want {
			t.Errorf("Query(%q) = %s, want %s", c.query, s, c.want)
		}
	}
	if v := oic.QueryValue("a=1&b=2&a=3", "a"); v != "1" {
		t.Errorf("QueryValue = %q", v)
	}
	if v := oic.QueryValue("a=1", "b"); v != "" {
		t.Errorf("QueryValue of nothing = %q", v)
	}
	if v := oic.QueryValues("a=1&b=2&a=3", "a"); !slices.Equal(v, []string{"1", "3"}) {
		t.Errorf("QueryValues = %q", v)
	}
	if path, query := oic.SplitHref("/a?b?c"); path != "/a" || query != "b?c" {
		t.Errorf("SplitHref = %q, %q", path, query)
	}
}

// FuzzQuery: no pair is lost or invented, and the work is in proportion.
func FuzzQuery(f *testing.F) {
	for _, q := range []string{"", "rt=a&if=b;ins=1", "&&;;", "x=%26&%", "a=b=c"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, query string) {
		pairs, length := 0, 0
		oic.Query(query, func(name, value string) {
			pairs++
			length += len(name) + len(value)
		})
		want := 0
		for _, p := range strings.FieldsFunc(query, func(r rune) bool { return r == '&' || r == ';' }) {
			if p != "" {
				want++
			}
		}
		if pairs != want || length > len(query) {
			t.Fatalf("Query(%q): %d pairs of %d bytes, want %d", query, pairs, length, want)
		}
	})
}

func TestStatusOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{oic.Errorf(oic.NotFound, "no resource %s", "/a"), "4.04 Not Found: no resource /a"},
		{fmt.Errorf("get: %w", oic.Errorf(oic.Forbidden, "not yours")), "4.03 Forbidden: not yours"},
		{fmt.Errorf("%w: EOF", oic.ErrOffline), "5.03 Service Unavailable: device offline"},
		{fmt.Errorf("get: %w", context.DeadlineExceeded), "5.04 Gateway Timeout: device did not answer in time"},
		{context.Canceled, "5.03 Service Unavailable: cancelled"},
		{errors.New("password is hunter2"), "5.00 Internal Server Error: internal error"},
	} {
		status, diag := oic.StatusOf(c.err)
		if got := oic.Errorf(status, "%s", diag).Error(); got != c.want {
			t.Errorf("StatusOf(%v) = %s, want %s", c.err, got, c.want)
		}
	}
	if s := oic.Status(4<<5 | 22).String(); s != "4.22" {
		t.Errorf("a status without a name is %s", s)
	}
	if s := (&oic.StatusError{Status: oic.NotFound}).Error(); s != "4.04 Not Found" {
		t.Errorf("a refusal without a word is %s", s)
	}
	if oic.NotFound.Class() != 4 {
		t.Error("4.04 is not of class 4")
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		oic.Retrieve.String(): "retrieve", oic.Update.String(): "update", oic.Replace.String(): "replace",
		oic.Create.String(): "create", oic.Delete.String(): "delete", oic.Op(9).String(): "op?",
		oic.NoFormat.String(): "none", oic.JSON.String(): "application/json", oic.CBOR.String(): "application/cbor",
		oic.OCF.String(): "application/vnd.ocf+cbor", oic.Text.String(): "text/plain", oic.ContentFormat(40).String(): "content-format 40",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if !(oic.Identity{}).Anonymous() || (oic.Identity{Account: "home"}).Anonymous() {
		t.Error("who is anonymous?")
	}
}

func TestLinkMatches(t *testing.T) {
	l := oic.Link{Types: []string{"oic.r.switch.binary", "oic.r.light.dimming"}, Policy: oic.Policy{Mask: 2}}
	for _, c := range []struct {
		types []string
		want  bool
	}{
		{nil, true}, {[]string{"oic.r.light.dimming"}, true}, {[]string{"x", "oic.r.switch.binary"}, true},
		{[]string{"oic.r.switch"}, false}, {[]string{"OIC.R.SWITCH.BINARY"}, false}, {[]string{""}, false},
	} {
		if got := l.Matches(c.types); got != c.want {
			t.Errorf("Matches(%q) = %v", c.types, got)
		}
	}
	if !l.Observable() {
		t.Error("bit 2 is not observable")
	}
}

func TestHandlerFunc(t *testing.T) {
	want := &oic.Response{Status: oic.Valid}
	h := oic.HandlerFunc(func(context.Context, *oic.Request) (*oic.Response, error) { return want, nil })
	if got, err := h.Handle(t.Context(), &oic.Request{}); got != want || err != nil {
		t.Errorf("Handle = %v, %v", got, err)
	}
}

func TestBaseline(t *testing.T) {
	link := &oic.Link{Href: "/a", Types: []string{"t"}, Interfaces: []string{"i", strings.Repeat("j", 30)}}
	for _, c := range []struct{ rep, want string }{
		{`{}`, `{"rt":["t"],"if":["i","` + strings.Repeat("j", 30) + `"]}`},
		{`{"a":1,"b":{"c":2}}`, `{"rt":["t"],"if":["i","` + strings.Repeat("j", 30) + `"],"a":1,"b":{"c":2}}`},
	} {
		rep, err := oic.FromJSON(oic.OCF, []byte(c.rep))
		if err != nil {
			t.Fatal(err)
		}
		b, err := oic.Baseline(rep, link)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := oic.ToJSON(oic.OCF, b); string(got) != c.want {
			t.Errorf("Baseline(%s) = %s, %v", c.rep, got, err)
		}
	}
	for name, rep := range map[string][]byte{"array": {0x80}, "indefinite": {0xbf, 0xff}, "nothing": nil} {
		if b, err := oic.Baseline(rep, link); err == nil {
			t.Errorf("%s: %x", name, b)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	body := unhex(b, "bf 65 76616c7565 f5 67 64696d6d696e67 1832 ff")
	b.ReportAllocs()
	for b.Loop() {
		var v struct {
			Value   bool `json:"value"`
			Dimming int  `json:"dimming"`
		}
		if err := oic.Decode(oic.OCF, body, &v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkToJSON(b *testing.B) {
	body := unhex(b, "bf 65 76616c7565 f5 67 64696d6d696e67 1832 ff")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := oic.ToJSON(oic.OCF, body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseLinks(b *testing.B) {
	body := vectors(b, "links.txt")["ocf"]
	b.ReportAllocs()
	for b.Loop() {
		if _, err := oic.ParseLinks(oic.OCF, body); err != nil {
			b.Fatal(err)
		}
	}
}
