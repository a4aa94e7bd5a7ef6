package xcproxy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/coap/dtls"
	"github.com/farreach/farreach/oic"
)

// A lamp on the local network is read and switched as if one were near it.
func TestMirror(t *testing.T) {
	l := newLamp(t, lampID)
	m := mirrorOf(t, l, Everything())
	if got := ask(t, m, oic.Update, "/a/light", number{3}); !strings.HasPrefix(got, "2.04") {
		t.Error(got)
	}
	if got, want := ask(t, m, oic.Retrieve, "/a/light", nil), `2.05 {"value":3}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := ask(t, m, oic.Retrieve, "/oic/d", nil); !strings.Contains(got, lampID) {
		t.Error(got)
	}
	ask(t, m, oic.Update, "/oic/con", map[string]string{"n": "desk"})
	if got := ask(t, m, oic.Retrieve, "/oic/d", nil); !strings.Contains(got, `"n":"desk"`) {
		t.Errorf("after it was renamed: %s", got)
	}
	before := l.asked.Load()
	for range 100 { // as each stream does every minute
		ask(t, m, oic.Retrieve, "/oic/d", nil)
		ask(t, m, oic.Retrieve, "/oic/res", nil)
	}
	if n := l.asked.Load() - before; n > 0 {
		t.Errorf("what a device is was asked of it %d more times", n)
	}
}

// What is near only, and what is an address, is not outside (section 6 of the
// wire profile, 6 and 7; threats rule 4).
func TestNothingOfTheLAN(t *testing.T) {
	l := newLamp(t, lampID)
	m := mirrorOf(t, l, Everything())
	for _, href := range []string{"/oic/res", "/oic/res?if=oic.if.ll", "/oic/res?if=oic.if.baseline", "/oic/res?rt=oic.r.switch.binary", "/oic/res?di=" + lampID} {
		got := ask(t, m, oic.Retrieve, href, nil)
		if !strings.Contains(got, `"/a/light"`) {
			t.Errorf("%s: %s", href, got)
		}
		for _, bad := range []string{"eps", "coap:", "127.0.0.1", "port", "sec", "/oic/mnt", `"/x"`} {
			if strings.Contains(got, bad) {
				t.Errorf("%s tells %s: %s", href, bad, got)
			}
		}
	}
	if got := ask(t, m, oic.Retrieve, "/oic/res?if=oic.if.b", nil); !strings.HasPrefix(got, "4.00") {
		t.Error(got)
	}
	if got := fmt.Sprint(hrefs(m.links())); got != "[/a/dim /a/light /oic/con /oic/d /oic/p]" {
		t.Error(got)
	}
	absent := ask(t, m, oic.Retrieve, "/none", nil)
	for _, href := range []string{"/oic/sec/doxm", "/OIC/sec/doxm", "/oic//sec/doxm", "/oic/%73ec/doxm", "/oic/sec", "/oic/mnt", "/x", "/a/../oic/sec/doxm", "/oic/sec/doxm?if=oic.if.baseline"} {
		for _, op := range []oic.Op{oic.Retrieve, oic.Update, oic.Replace, oic.Create, oic.Delete} {
			path, _ := oic.SplitHref(href)
			if got, want := ask(t, m, op, href, nil), strings.Replace(absent, "/none", path, 1); got != want {
				t.Errorf("%v %s: %s, want %s", op, href, got, want)
			}
		}
		err := m.Observe(t.Context(), &oic.Request{Href: href}, func(*oic.Response) {})
		if status, _ := oic.StatusOf(err); status != oic.NotFound {
			t.Errorf("observe %s: %v", href, err)
		}
	}
}

func TestPolicy(t *testing.T) {
	l := newLamp(t, lampID)
	other := "3d2c5a10-52a7-4e0f-9c1b-6b2f0a9e7b55"
	for _, c := range []struct {
		name                    string
		policy                  Policy
		light, dim, set, device string // the statuses
	}{
		{"none", nil, "4.04", "4.04", "4.04", "4.04"},
		{"everything", Everything(), "2.05", "2.05", "2.04", "2.05"},
		{"by di", Policy{{Device: lampID}}, "2.05", "2.05", "2.04", "2.05"},
		{"in capitals", Policy{{Device: strings.ToUpper(lampID)}}, "2.05", "2.05", "2.04", "2.05"},
		{"another", Policy{{Device: other}}, "4.04", "4.04", "4.04", "4.04"},
		{"type of device", Policy{{Type: "oic.d.light"}}, "2.05", "2.05", "2.04", "2.05"},
		{"type of resource", Policy{{Type: "oic.r.switch.binary"}}, "2.05", "4.04", "2.04", "2.05"},
		{"resource", Policy{{Device: lampID, Href: "/a/light"}}, "2.05", "4.04", "2.04", "2.05"},
		{"read only", Policy{{Device: lampID, ReadOnly: true}}, "2.05", "2.05", "4.03", "2.05"},
		{"read only but for the light", Policy{{ReadOnly: true}, {Href: "/a/light"}}, "2.05", "2.05", "2.04", "2.05"},
	} {
		m := mirrorOf(t, l, c.policy)
		status := func(op oic.Op, href string, body any) string {
			code, _, _ := strings.Cut(ask(t, m, op, href, body), " ")
			return code
		}
		got := []string{status(oic.Retrieve, "/a/light", nil), status(oic.Retrieve, "/a/dim", nil),
			status(oic.Update, "/a/light", number{1}), status(oic.Retrieve, "/oic/d", nil)}
		if want := []string{c.light, c.dim, c.set, c.device}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", c.name, got, want)
		}
	}
	for _, p := range []Policy{{{Device: "lamp"}}, {{Href: "a/light"}}} {
		if _, err := New(Config{Policy: p}); err == nil {
			t.Errorf("%v is taken", p)
		}
	}
}

// faulty fails in one way.
type faulty struct{ err error }

func (f faulty) Handle(context.Context, *oic.Request) (*oic.Response, error) { return nil, f.err }
func (f faulty) Observe(context.Context, *oic.Request, func(*oic.Response)) error {
	return f.err
}

// What is wrong on the local network is told in the words of section 6, 4, and
// without the addresses in it.
func TestErrors(t *testing.T) {
	at := errors.New("write udp 192.168.1.7:5683: no route to host")
	for _, c := range []struct {
		err  error
		want string
	}{
		{coap.ErrSilent, "5.04"},
		{fmt.Errorf("%w: %w", oic.ErrOffline, coap.ErrSilent), "5.04"},
		{context.DeadlineExceeded, "5.04"},
		{fmt.Errorf("%w: %w", oic.ErrOffline, at), "5.03"},
		{at, "5.03"},
		{fmt.Errorf("%w: %w", oic.ErrOffline, &dtls.HandshakeError{Err: context.DeadlineExceeded}), "5.02"},
		{oic.Errorf(oic.BadRequest, "value cannot be text"), "4.00 Bad Request: value cannot be text"},
		{oic.Errorf(oic.Unauthorized, ""), "4.01"},
	} {
		m := newMirror(lampID, quiet)
		m.found(Found{ID: lampID, Links: []oic.Link{{Href: "/a"}}, Device: &faulty{c.err}}, Everything())
		_, asked := m.Handle(t.Context(), &oic.Request{Href: "/a"})
		watched := m.Observe(t.Context(), &oic.Request{Href: "/a"}, func(*oic.Response) {})
		for _, err := range []error{asked, watched} {
			if got := err.Error(); !strings.HasPrefix(got, c.want) || strings.Contains(got, "192.") {
				t.Errorf("%v is told as %v", c.err, got)
			}
		}
		m.tasks.Wait()
	}
	m := newMirror(lampID, quiet)
	m.found(Found{ID: lampID, Links: []oic.Link{{Href: "/a"}}, Device: &faulty{}}, Everything())
	m.lost()
	if _, err := m.Handle(t.Context(), &oic.Request{Href: "/a"}); err != error(errUnreachable) {
		t.Errorf("a device that is gone: %v", err)
	}
}

// Whoever answers in the place of a device is not taken for it.
func TestImpostor(t *testing.T) {
	l := newLamp(t, lampID)
	f := l.found(t)
	f.ID = "3d2c5a10-52a7-4e0f-9c1b-6b2f0a9e7b55"
	m := newMirror(f.ID, quiet)
	m.found(f, Everything())
	if got := ask(t, m, oic.Retrieve, "/oic/d", nil); got != errOther.Error() {
		t.Error(got)
	}
}

// replies answers everything with one document.
type replies struct{ doc any }

func (r replies) Handle(context.Context, *oic.Request) (*oic.Response, error) {
	b, err := oic.Encode(oic.OCF, r.doc)
	return &oic.Response{Status: oic.Content, Format: oic.OCF, Body: b}, err
}

func (r replies) Observe(context.Context, *oic.Request, func(*oic.Response)) error {
	return oic.ErrNotObservable
}

// A collection shows neither addresses nor what cannot be seen, in any view, nor
// can anything be done by it.
func TestCollection(t *testing.T) {
	type doc = map[string]any
	eps := []doc{{"ep": "coap://192.168.1.7:40000"}}
	links := []doc{
		{"href": "/a", "rt": []string{"r"}, "p": doc{"bm": 3, "sec": true, "port": 40000}, "eps": eps},
		{"href": "ocf://" + lampID + "/a", "eps": eps},
		{"href": "/oic/sec/doxm", "eps": eps},
		{"href": "coap://192.168.1.8/b"},
		{"href": "ocf://3d2c5a10-52a7-4e0f-9c1b-6b2f0a9e7b55/a"},
		{"href": "/none"},
		{"href": 7},
	}
	known := []oic.Link{{Href: "/col", Types: []string{"oic.wk.col"}}, {Href: "/a", Types: []string{"r"}}, {Href: "/oic/sec/doxm", Types: []string{"s"}}}
	for _, c := range []struct {
		doc  any
		want string
	}{
		{links, `2.05 [{"href":"/a","p":{"bm":3},"rt":["r"]},{"href":"ocf://` + lampID + `/a"}]`},
		{[]doc{{"href": "/a", "rep": doc{"value": 1}}, {"href": "/oic/sec/doxm", "rep": doc{"owned": true}}}, `2.05 [{"href":"/a","rep":{"value":1}}]`},
		{doc{"links": links[2:]}, `2.05 {"links":[]}`},
	} {
		m := newMirror(lampID, quiet)
		m.found(Found{ID: lampID, Links: known, Device: &replies{c.doc}}, Everything())
		if got := sortedJSON(ask(t, m, oic.Retrieve, "/col", nil)); got != c.want {
			t.Errorf("%s\nwant %s", got, c.want)
		}
	}
	m := newMirror(lampID, quiet)
	m.found(Found{ID: lampID, Links: known, Device: &replies{[]doc{}}}, Policy{{Href: "/col"}, {Href: "/a", ReadOnly: true}})
	for href, want := range map[string]string{"/a": "4.03", "/oic/sec/doxm": "4.04", "/b": "4.04", "coap://192.168.1.8/b": "4.04"} {
		if got := ask(t, m, oic.Update, "/col?if=oic.if.b", []doc{{"href": href, "rep": doc{}}}); !strings.HasPrefix(got, want) {
			t.Errorf("an item for %s: %s", href, got)
		}
	}
}
