package rae_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
)

// wireOf is d as it travels.
func wireOf(t testing.TB, d *rae.Document, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	wire, err := d.Append(nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	return string(wire)
}

func cbor(t testing.TB, f oic.ContentFormat, s string) []byte {
	t.Helper()
	b, err := oic.FromJSON(f, []byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func golden(t testing.TB, name string) string {
	t.Helper()
	for _, e := range examples(t) {
		if e.name == name {
			return e.wire
		}
	}
	t.Fatalf("no example %s", name)
	return ""
}

// D5, D6, RA-079: each of CRUDN as it travels, and back.
func TestCalls(t *testing.T) {
	const light = `coap://` + di + `/a/light`
	head := func(method, query, headers string) string {
		return `<rest xmlns="rest.oic.org"><url method="` + method + `">` + light + query + `</url><headers><header name="Accept">application/json</header>` + headers
	}
	const typ = `<header name="Content-Type">application/json</header>`
	for _, c := range []struct {
		name string
		call rae.Call
		wire string
	}{
		{"retrieve", rae.Call{Request: oic.Request{Accept: oic.CBOR}, Meta: rae.Meta{Token: "a1b2"}},
			head("GET", "", `<header name="OIC-Token">a1b2</header></headers></rest>`)},
		{"retrieve in OCF, with a query", rae.Call{Request: oic.Request{Href: "?if=oic.if.baseline&x=1", Accept: oic.OCF}},
			head("GET", "?if=oic.if.baseline&amp;x=1", `<header name="OCF-Version">1.0.0</header></headers></rest>`)},
		{"register", rae.Call{Request: oic.Request{Accept: oic.CBOR}, Observe: rae.Register},
			head("GET", "", `<header name="Observe">0</header></headers></rest>`)},
		{"cancel", rae.Call{Request: oic.Request{Accept: oic.CBOR}, Observe: rae.Cancel},
			head("GET", "", `<header name="Observe">1</header></headers></rest>`)},
		{"update", rae.Call{Request: oic.Request{Op: oic.Update, Accept: oic.CBOR, Format: oic.CBOR, Body: cbor(t, oic.CBOR, `{"state":false}`)}},
			head("POST", "", typ+`</headers><body><json xmlns="urn:xmpp:json:0">{"state":false}</json></body></rest>`)},
		{"replace in a container", rae.Call{Request: oic.Request{Op: oic.Replace, Accept: oic.OCF, Format: oic.OCF, Body: []byte{0xa0}}, Meta: rae.Meta{Container: true}},
			strings.Replace(head("PUT", "", `<header name="Content-Type">application/vnd.ocf+cbor</header><header name="OCF-Version">1.0.0</header></headers><body><data xmlns="urn:x-farreach:ra:0">oA==</data></body></rest>`),
				"application/json", "application/vnd.ocf+cbor", 1)},
		{"create", rae.Call{Request: oic.Request{Op: oic.Create, Href: "?if=oic.if.create", Accept: oic.CBOR, Format: oic.CBOR, Body: []byte{0xa0}}},
			head("POST", "?if=oic.if.create", typ+`</headers><body><json xmlns="urn:xmpp:json:0">{}</json></body></rest>`)},
		{"delete if", rae.Call{Request: oic.Request{Op: oic.Delete, Accept: oic.CBOR}, IfMatch: []string{"\x01\xab", ""}, IfNothing: true, Meta: rae.Meta{ETags: []string{"\xff"}, MaxMessage: 65536}},
			head("DELETE", "", `<header name="If-Match">&quot;01ab&quot;, *</header><header name="If-None-Match">*</header><header name="ETag">&quot;ff&quot;</header><header name="OIC-Max-Message">65536</header></headers></rest>`)},
	} {
		c.call.Device = di
		c.call.Href = "/a/light" + c.call.Href
		d, err := c.call.Document()
		wire := wireOf(t, d, err)
		if want := strings.ReplaceAll(c.wire, "&quot;", `"`); wire != want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, wire, want)
		}
		got, err := rae.ParseCall(decode(t, wire))
		if err != nil || !reflect.DeepEqual(*got, c.call) {
			t.Errorf("%s came back as\n%+v, %v\nwas\n%+v", c.name, got, err, c.call)
		}
	}
}

// E-06 to E-08 as package oic sees them.
func TestExampleCalls(t *testing.T) {
	for _, c := range []struct{ name, want string }{
		{"E-06 request", "retrieve /a/light?if=oic.if.baseline a1b2 0"},
		{"E-07 request", `update /a/light a1b3 0 {"state":false}`},
		{"E-08 register", "retrieve /a/light b001 1"},
		{"E-08 cancel", "retrieve /a/light b001 2"},
		{"RA request: method in another case (D5), headers that mean nothing", "retrieve /mybinaryswitch  0"},
	} {
		call, err := rae.ParseCall(decode(t, golden(t, c.name)))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := oic.ToJSON(call.Format, call.Body)
		got := strings.TrimSpace(fmt.Sprintf("%v %s %s %d %s", call.Op, call.Href, call.Token, call.Observe, body))
		if strings.ToLower(got) != c.want || call.Device != "" && call.Device != di {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	a, err := rae.ParseAnswer(decode(t, golden(t, "E-07 answer")), oic.Update, oic.CBOR)
	if err != nil || a.Refusal == nil || a.Refusal.Status != oic.Forbidden || a.Word != "acl" || a.Token != "a1b3" {
		t.Errorf("E-07: %+v, %v", a, err)
	}
	a, err = rae.ParseAnswer(decode(t, golden(t, "E-08 second notification")), oic.Retrieve, oic.NoFormat)
	if err != nil || a.Response == nil || a.Response.Status != oic.Content || !a.Observed || a.Sequence != 3 || a.ContentLocation != "/a/light" {
		t.Errorf("E-08: %+v, %v", a, err)
	}
	a, err = rae.ParseAnswer(decode(t, golden(t, "RA answer: Content-Encoding for Content-Type (A-12), blank in front of a value")), oic.Retrieve, oic.OCF)
	if err != nil || a.Response == nil || a.Response.Format != oic.OCF || len(a.Response.Body) == 0 {
		t.Errorf("RA answer: %+v, %v", a, err)
	}
}

// A-06, D6: URLs.
func TestURLs(t *testing.T) {
	for _, c := range []struct{ url, device, href string }{
		{"coap://" + di + "/a", di, "/a"},
		{"coap://" + strings.ToUpper(di) + ":5683/a", di, "/a"},
		{"OCF://" + di, di, "/"},
		{"oic://" + di + "?x=1", di, "/?x=1"},
		{"coaps+tcp://mydevice/a", "", "/a"},
		{"https://[::1]:443/a?b=c;d", "", "/a?b=c;d"},
		{"http:///a", "", "/a"},
		{"coap://u@" + di + "/a", di, "/a"},
		{"/a/b?c", "", "/a/b?c"},
		{"/", "", "/"},
		{"/oic/%73ec/pstat", "", "/oic/sec/pstat"}, // what means the same is the same
		{"/a%2fb/ü", "", "/a%2Fb/%C3%BC"},
		{"/a?&&", "", "/a"},
		{"ftp://a/b", "", ""},
		{"a/b", "", ""},
		{"/a#b", "", ""},
		{"//a", "", ""},
		{"/a//b", "", ""},
		{"/a/", "", ""},
		{"/a/../oic/sec/acl2", "", ""},
		{"/a/%2e%2E/b", "", ""},
		{"/a/./b", "", ""},
		{"/a%00", "", ""},
		{"/a%ff", "", ""},
	} {
		call, err := rae.ParseCall(&rae.Document{Method: rae.Get, URL: []byte(c.url)})
		if err != nil {
			if status, _ := oic.StatusOf(err); c.href != "" || status != oic.BadRequest {
				t.Errorf("%s: %v", c.url, err)
			}
		} else if call.Device != c.device || call.Href != c.href {
			t.Errorf("%s: %q %q, want %q %q", c.url, call.Device, call.Href, c.device, c.href)
		}
	}
}

// What a call can be refused for, and what types are taken.
func TestCallTypes(t *testing.T) {
	for _, c := range []struct{ method, accept, contentType, version, want string }{
		{"GET", "", "", "", "application/cbor <- none"},
		{"GET", "", "", "1.0.0", "application/vnd.ocf+cbor <- none"},
		{"GET", "", "", "0.9", "application/cbor <- none"},
		{"GET", "application/CBOR", "", "", "application/cbor in a container <- none"},
		{"GET", "text/html, */*;q=0.1", "", "", "application/cbor <- none"},
		{"GET", "text/html", "", "", "4.06"},
		{"PATCH", "", "", "", "4.05"},
		{"POST", "", "Application/JSON; charset=utf-8", "", "application/cbor <- application/cbor"},
		{"POST", "", "application/json", "2", "application/vnd.ocf+cbor <- application/vnd.ocf+cbor"},
		{"POST", "", "text/plain", "", "4.15"},
		{"POST", "", "application/cbor", "", "4.15"}, // not in <json/>
	} {
		d := &rae.Document{Method: c.method, URL: []byte("/a")}
		for name, value := range map[string]string{"accept": c.accept, "content-type": c.contentType, "OCF-VERSION": c.version} {
			if value != "" {
				d.Headers = append(d.Headers, rae.Header{Name: []byte(name), Value: []byte(value)})
			}
		}
		if c.contentType != "" {
			d.Media, d.Body = rae.JSON, []byte("{}")
		}
		call, err := rae.ParseCall(d)
		got := ""
		if err != nil {
			status, _ := oic.StatusOf(err)
			got = status.String()[:4]
		} else {
			got = call.Accept.String()
			if call.Container {
				got += " in a container"
			}
			got += " <- " + call.Format.String()
		}
		if got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
	d := &rae.Document{Method: rae.Post, URL: []byte("/a"), Media: rae.JSON, Body: []byte(`{"a":1,"a":2}`)}
	if _, err := rae.ParseCall(d); err == nil || !strings.HasPrefix(err.Error(), "4.00") {
		t.Errorf("key twice: %v", err)
	}
}

// statuses is the table, and for which op each line of it is.
var statuses = []struct {
	status oic.Status
	op     oic.Op
	line   string
}{
	{2<<5 | 1, oic.Update, "201 Created"}, {2<<5 | 1, oic.Create, "201 Created"},
	{2<<5 | 2, oic.Delete, "200 OK"}, {2<<5 | 3, oic.Retrieve, "304 Not Modified"},
	{2<<5 | 4, oic.Update, "204 No Content"}, {2<<5 | 4, oic.Replace, "204 No Content"}, {2<<5 | 5, oic.Retrieve, "200 OK"},
	{4 << 5, 0, "400 Bad Request"}, {4<<5 | 1, 0, "401 Unauthorized"}, {4<<5 | 2, 0, "400 Bad Request"},
	{4<<5 | 3, 0, "403 Forbidden"}, {4<<5 | 4, 0, "404 Not Found"}, {4<<5 | 5, 0, "405 Method Not Allowed"},
	{4<<5 | 6, 0, "406 Not Acceptable"}, {4<<5 | 8, 0, "408 Request Timeout"}, {4<<5 | 12, 0, "412 Precondition Failed"},
	{4<<5 | 13, 0, "413 Payload Too Large"}, {4<<5 | 15, 0, "415 Unsupported Media Type"}, {4<<5 | 22, 0, "422 Unprocessable Entity"},
	{4<<5 | 29, 0, "429 Too Many Requests"}, {5 << 5, 0, "500 Internal Server Error"}, {5<<5 | 1, 0, "501 Not Implemented"},
	{5<<5 | 2, 0, "502 Bad Gateway"}, {5<<5 | 3, 0, "503 Service Unavailable"}, {5<<5 | 4, 0, "504 Gateway Timeout"},
	{5<<5 | 5, 0, "502 Bad Gateway"},
}

// Every status of CoAP comes back as it was (RA-082, D7).
func TestStatusIsLossless(t *testing.T) {
	for _, c := range statuses {
		for _, diag := range []string{"", "why", "two words", "not-found", "bad-option"} {
			a := &rae.Answer{Response: &oic.Response{Status: c.status}}
			if c.status.Class() != 2 {
				a = &rae.Answer{Refusal: &oic.StatusError{Status: c.status, Diag: diag}}
			}
			d, err := a.Document(c.op)
			got, err2 := rae.ParseAnswer(decode(t, wireOf(t, d, err)), c.op, oic.CBOR)
			if err2 != nil || string(d.URL) != c.line || !reflect.DeepEqual(got, a) {
				t.Errorf("%v %q as %s came back as %+v %+v, %v", c.status, diag, d.URL, got, got.Refusal, err2)
			}
		}
	}
}

// other forms of status lines, and codes that the table does not have.
func TestStatusForms(t *testing.T) {
	for _, c := range []struct {
		line string
		op   oic.Op
		want string
	}{
		{"200 OK", oic.Retrieve, "2.05"}, {"200 OK", oic.Update, "2.04"}, {"200", oic.Delete, "2.02"}, {"204 No Content", oic.Replace, "2.04"},
		{"HTTP/1.1 404 Not Found", 0, "4.04"}, {"http/2 403", 0, "4.03"}, {"2.05", oic.Retrieve, "2.05"}, {"2.04 Changed", oic.Update, "2.04"},
		{"4.22 x", 0, "4.22"}, {"404 Nothing here", 0, "4.04"}, {"299", oic.Retrieve, "2.05"}, {"299", oic.Update, "2.04"},
		{"418 Teapot", 0, "4.00"}, {"599", 0, "5.00"}, {"301 Moved", 0, "5.02"}, {"100", 0, "5.02"}, {"2.31 Continue", oic.Update, "2.04"},
		{"4.99", 0, "4.00"}, {"7.01", 0, "5.02"}, {"0.00", 0, "5.02"}, {"9.01", 0, "5.02"},
		{"OK", 0, "none"}, {"-20", 0, "none"}, {"0200", 0, "none"}, {"600", 0, "none"}, {"HTTP/1.1", 0, "none"},
	} {
		a, err := rae.ParseAnswer(&rae.Document{Method: rae.Result, URL: []byte(c.line)}, c.op, oic.CBOR)
		got := "none"
		if err == nil && a.Refusal != nil {
			got = a.Refusal.Status.String()[:4]
		} else if err == nil {
			got = a.Response.Status.String()[:4]
		}
		if got != c.want {
			t.Errorf("%q after %v: %s, want %s", c.line, c.op, got, c.want)
		}
	}
}

// What else an answer carries comes back as it was.
func TestAnswers(t *testing.T) {
	body := cbor(t, oic.OCF, `{"state":true,"x":42.0}`)
	for _, c := range []struct {
		name string
		op   oic.Op
		a    rae.Answer
	}{
		{"notification", oic.Retrieve, rae.Answer{Response: &oic.Response{Status: oic.Content, Format: oic.OCF, Body: body}, Observed: true, Sequence: 1<<24 - 1,
			ContentLocation: "/a/light?if=oic.if.s", Meta: rae.Meta{Token: "b001", ETags: []string{"\x00\x01"}, MaxMessage: 100}}},
		{"created", oic.Create, rae.Answer{Response: &oic.Response{Status: oic.Created, Location: "/a/2"}}},
		{"valid", oic.Retrieve, rae.Answer{Response: &oic.Response{Status: oic.Valid}, MaxAge: 90 * time.Second, Meta: rae.Meta{ETags: []string{"12345678"}}}},
		{"stale", oic.Retrieve, rae.Answer{Response: &oic.Response{Status: oic.Content, Format: oic.OCF, Body: body}, MaxAge: -1}},
		{"container", oic.Update, rae.Answer{Response: &oic.Response{Status: oic.Changed, Format: oic.CBOR, Body: body}, Meta: rae.Meta{Container: true}}},
		{"later", oic.Update, rae.Answer{Refusal: &oic.StatusError{Status: oic.TooMany, Diag: "slow down", Retry: 3 * time.Second}}},
		{"refusal with a body", oic.Update, rae.Answer{Refusal: &oic.StatusError{Status: oic.Forbidden, Format: oic.OCF, Body: body}}},
		{"word", oic.Retrieve, rae.Answer{Refusal: &oic.StatusError{Status: oic.NotFound, Diag: "unknown-device"}, Word: "unknown-device"}},
		{"word and text", oic.Retrieve, rae.Answer{Refusal: &oic.StatusError{Status: oic.Forbidden, Diag: "no entry"}, Word: "acl"}},
		{"too large", oic.Retrieve, *rae.TooLarge(rae.Meta{Token: "a1"})},
		{"refused by the device", oic.Update, *rae.Refuse(fmt.Errorf("lamp: %w", &oic.StatusError{Status: oic.Unavailable, Retry: time.Second, Format: oic.OCF, Body: body}), rae.Meta{Token: "a1"})},
		{"offline", oic.Retrieve, *rae.Refuse(oic.ErrOffline, rae.Meta{})},
	} {
		d, err := c.a.Document(c.op)
		got, err := rae.ParseAnswer(decode(t, wireOf(t, d, err)), c.op, oic.NoFormat)
		if err != nil || !reflect.DeepEqual(*got, c.a) {
			t.Errorf("%s came back as\n%+v %+v %+v, %v\nwas\n%+v", c.name, got, got.Response, got.Refusal, err, c.a)
		}
	}
}

// RA-077, RA-080: what cannot travel is refused, or made so that it can.
func TestAnswersThatCannotTravel(t *testing.T) {
	a := rae.Answer{Response: &oic.Response{Status: oic.Content, Format: oic.CBOR, Body: []byte{0xa1, 0x01, 0x02}}} // {1: 2}
	if _, err := a.Document(oic.Retrieve); err == nil || !strings.HasPrefix(err.Error(), "5.02") {
		t.Errorf("key that is no text: %v", err)
	}
	r := rae.Answer{Refusal: &oic.StatusError{Status: oic.NotFound, Diag: " Tür\r\n" + strings.Repeat("x", 2000)}}
	d, err := r.Document(oic.Retrieve)
	wireOf(t, d, err)
	if v, _ := d.Header("OIC-Error"); !strings.HasPrefix(v, "not-found T?r  xx") || len(v) > 600 {
		t.Errorf("diagnostic %q", v)
	}
	for _, d := range []*rae.Document{
		{Method: rae.Get, URL: []byte("/a")},
		{Method: rae.Result, URL: []byte("200 OK"), Media: rae.JSON, Body: []byte("{")},
	} {
		if _, err := rae.ParseAnswer(d, oic.Retrieve, oic.CBOR); err == nil || !strings.HasPrefix(err.Error(), "5.02") {
			t.Errorf("%s: %v", describe(d), err)
		}
	}
	for token, want := range map[string]string{"a": "", "A1b2": "a1b2", "xyz1": "", "0123456789abcdef0": "", "": ""} {
		d := &rae.Document{Headers: []rae.Header{{Name: []byte("oic-token"), Value: []byte(token)}}}
		if got := d.Token(); got != want {
			t.Errorf("token %q is %q, want %q", token, got, want)
		}
	}
}
