package oiccoap_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/vector"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
)

func summary(r *oic.Request) string {
	return fmt.Sprintf("%v %s %d %d %x", r.Op, r.Href, r.Format, r.Accept, r.Body)
}

// What real devices and clients ask (cloud-interface vectors).
func TestToRequestOfVectors(t *testing.T) {
	for name, want := range map[string]string{
		"O1":  "update /oic/sec/account 10000 10000 a4626469",
		"O3":  "update /oic/sec/session 10000 10000 a463756964",
		"O9":  "update /oic/rd?rt=oic.wk.rdpub 10000 10000 a4626469",
		"O11": "delete /oic/rd?di=00000000-cafe-4bad-8000-000000000001&ins=42 0 10000 ",
		"O13": "retrieve /oic/res?if=oic.if.ll 0 10000 ",
		"O14": "retrieve /light/1?if=oic.if.baseline 0 10000 ",
		"O16": "update /light/1 10000 10000 a16576616c7565f4",
		"O18": "retrieve /api/v1/devices/00000000-cafe-4bad-8000-000000000001/light/1 0 10000 ",
		"C1":  "update /oic/account 60 60 a3626469",
		"C3":  "retrieve /oic/ping 0 0 ",
		"C7":  "retrieve /oic/route/00000000-cafe-4bad-8000-000000000001/a/light 0 0 ",
	} {
		v := vector.Get(name)
		var m coap.Message
		if _, err := m.Parse(coap.TCP, v.Wire, 1<<16); err != nil {
			t.Fatal(err)
		}
		req, err := oiccoap.ToRequest(&m)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := summary(req); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestToRequest(t *testing.T) {
	for _, c := range []struct {
		name string
		m    *coap.Message
		want string
	}{
		{"create", message(coap.POST, "/c?if=oic.if.create"), "create /c?if=oic.if.create 0 0 "},
		{"put", message(coap.PUT, "/a"), "replace /a 0 0 "},
		{"joined pairs (rule 19)", message(coap.GET, "/a", coap.Option{Number: coap.URIQuery, Value: []byte("di=x&ins=1")},
			coap.Option{Number: coap.URIQuery, Value: []byte("rt=y;if=z")}), "retrieve /a?di=x&ins=1&rt=y;if=z 0 0 "},
		{"empty query", message(coap.GET, "/a", coap.Option{Number: coap.URIQuery}), "retrieve /a 0 0 "},
		{"root", message(coap.GET, "/"), "retrieve / 0 0 "},
		{"slash inside a segment", message(coap.GET, "/a%2Fb"), "retrieve /a%2Fb 0 0 "},
		{"not ASCII", message(coap.GET, "/%C3%A9"), "retrieve /%C3%A9 0 0 "},
		{"host and port do not matter", message(coap.GET, "/a", coap.Option{Number: coap.URIHost, Value: []byte("h")}, option(coap.URIPort, 1)), "retrieve /a 0 0 "},
		{"elective options do not matter", message(coap.GET, "/a", option(coap.ETag, 1), option(258, 2), option(65002, 7)), "retrieve /a 0 0 "},
		{"format of nothing", message(coap.GET, "/a", option(coap.ContentFormat, 50)), "retrieve /a 0 0 "},
		{"format of nothing asks for the same", message(coap.GET, "/a", option(coap.ContentFormat, 60)), "retrieve /a 60 60 "},
		{"later version", message(coap.GET, "/a", option(coap.Accept, 10000), option(coap.OCFAcceptVersion, 2112)), "retrieve /a 0 10000 "},
		{"version without format", message(coap.GET, "/a", option(coap.OCFAcceptVersion, 1)), "retrieve /a 0 0 "},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := oiccoap.ToRequest(c.m)
			if err != nil {
				t.Fatal(err)
			}
			if got := summary(req); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if !req.From.Anonymous() {
				t.Error("a message said who it is from")
			}
		})
	}
}

func TestToRequestRefuses(t *testing.T) {
	body := func(m *coap.Message) *coap.Message {
		m.Payload = []byte{0xa0}
		return m
	}
	for _, c := range []struct {
		name string
		m    *coap.Message
		want oic.Status
	}{
		{"FETCH", message(coap.FETCH, "/a"), oic.MethodNotAllowed},
		{"PATCH", message(coap.PATCH, "/a"), oic.MethodNotAllowed},
		{"iPATCH", message(coap.IPATCH, "/a"), oic.MethodNotAllowed},
		{"0.31", message(31, "/a"), oic.MethodNotAllowed},
		{"unknown critical option", message(coap.GET, "/a", option(65001, 1)), oic.BadOption},
		{"If-Match", message(coap.PUT, "/a", option(coap.IfMatch, 1)), oic.BadOption},
		{"Block2 (rule 7)", message(coap.GET, "/a", option(coap.Block2, 6)), oic.BadOption},
		{"Block1 (rule 7)", body(message(coap.PUT, "/a", option(coap.Block1, 6))), oic.BadOption},
		{"Accept twice (threats row 34)", message(coap.GET, "/a", option(coap.Accept, 60), option(coap.Accept, 60)), oic.BadOption},
		{"version of three bytes", message(coap.GET, "/a", option(coap.OCFAcceptVersion, 1<<20)), oic.BadOption},
		{"proxy", message(coap.GET, "/a", coap.Option{Number: coap.ProxyURI, Value: []byte("coap://h/")}), oic.Status(coap.ProxyingNotSupported)},
		{"proxy by scheme", message(coap.GET, "/a", coap.Option{Number: coap.ProxyScheme, Value: []byte("http")}), oic.Status(coap.ProxyingNotSupported)},
		{"// in the path (threats row 41)", message(coap.GET, "/a//b"), oic.BadRequest},
		{"trailing slash", message(coap.GET, "/a/"), oic.BadRequest},
		{"%00 in the path", message(coap.GET, "/a%00"), oic.BadRequest},
		{"line feed in the path", message(coap.GET, "/a%0Ab"), oic.BadRequest},
		{"path that is not UTF-8", message(coap.GET, "/%ff"), oic.BadRequest},
		{"JSON", body(message(coap.POST, "/a", option(coap.ContentFormat, 50))), oic.BadFormat},
		{"text", body(message(coap.POST, "/a", option(coap.ContentFormat, 0))), oic.BadFormat},
		{"version before 1.0", body(message(coap.POST, "/a", option(coap.ContentFormat, 10000), option(coap.OCFContentFormatVersion, 2047))), oic.BadFormat},
		{"Accept JSON", message(coap.GET, "/a", option(coap.Accept, 50)), oic.NotAcceptable},
		{"Accept text", message(coap.GET, "/a", option(coap.Accept, 0)), oic.NotAcceptable},
		{"Accept of a version before 1.0", message(coap.GET, "/a", option(coap.Accept, 10000), option(coap.OCFAcceptVersion, 0)), oic.NotAcceptable},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := oiccoap.ToRequest(c.m)
			if e, ok := errors.AsType[*oic.StatusError](err); !ok || e.Status != c.want || e.Diag == "" {
				t.Errorf("ToRequest = %+v, %v; want %v", req, err, c.want)
			}
		})
	}
}

// FuzzToRequest: what is understood means the same when we ask it.
func FuzzToRequest(f *testing.F) {
	for _, v := range vector.All() {
		if v.Transport == "tcp" {
			f.Add(v.Wire)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m coap.Message
		if _, err := m.Parse(coap.TCP, b, 1<<16); err != nil || !m.Code.IsRequest() {
			return
		}
		req, err := oiccoap.ToRequest(&m)
		if err != nil {
			if s, diag := oic.StatusOf(err); s.Class() < 4 || diag == "" {
				t.Fatalf("refused with %v %q", s, diag)
			}
			return
		}
		wire, err := oiccoap.ToMessage(req).Append(coap.TCP, nil)
		if err != nil {
			t.Fatal(err)
		}
		var again coap.Message
		if _, err := again.Parse(coap.TCP, wire, 1<<17); err != nil {
			t.Fatalf("%s: %v", summary(req), err)
		}
		back, err := oiccoap.ToRequest(&again)
		if err != nil || back.Op != req.Op || string(back.Body) != string(req.Body) {
			t.Fatalf("%s came back as %+v (%v)", summary(req), back, err)
		}
		path, query := oic.SplitHref(req.Href)
		path2, query2 := oic.SplitHref(back.Href)
		if path2 != path || strings.Trim(query2, "&") != strings.Trim(squeeze(query), "&") {
			t.Fatalf("%s came back as %s", req.Href, back.Href)
		}
	})
}

// squeeze leaves out pairs that are empty.
func squeeze(query string) string {
	for strings.Contains(query, "&&") {
		query = strings.ReplaceAll(query, "&&", "&")
	}
	return query
}

func BenchmarkToRequest(b *testing.B) {
	for _, name := range []string{"O14", "O16"} {
		b.Run(name, func(b *testing.B) {
			v := vector.Get(name)
			var m coap.Message
			if _, err := m.Parse(coap.TCP, v.Wire, 1<<16); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := oiccoap.ToRequest(&m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
