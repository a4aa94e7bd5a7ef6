package device_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/oic"
)

const di = "00000000-cafe-4bad-8000-000000000001"

// light is a resource that can be changed, replaced and deleted.
type light struct {
	link    oic.Link
	Value   bool
	busy    bool // to see that calls are serialized
	deleted bool
}

func newLight(href string) *light {
	return &light{link: oic.Link{Href: href, Types: []string{"oic.r.switch.binary"},
		Interfaces: []string{oic.IfActuator, oic.IfSensor, oic.IfBaseline}, Policy: oic.Policy{Mask: 3}}}
}

func (l *light) Link() oic.Link { return l.link }

func (l *light) Retrieve(context.Context, string) (any, error) {
	if l.busy {
		panic("two calls at once")
	}
	return struct {
		Value bool `json:"value"`
	}{l.Value}, nil
}

func (l *light) Update(_ context.Context, _ string, rep []byte) (any, error) {
	l.busy = true
	defer func() { l.busy = false }()
	want := struct {
		Value *bool `json:"value"`
	}{}
	if err := oic.Decode(oic.CBOR, rep, &want); err != nil {
		return nil, err
	}
	if want.Value != nil {
		l.Value = *want.Value
	}
	return nil, nil
}

func (l *light) Replace(ctx context.Context, iface string, rep []byte) (any, error) {
	if _, err := l.Update(ctx, iface, rep); err != nil {
		return nil, err
	}
	return l.Retrieve(ctx, iface)
}

func (l *light) Delete(context.Context) error { l.deleted = true; return nil }

// sensor can only be read, and not be observed.
type sensor struct{ fail error }

func (s sensor) Link() oic.Link {
	return oic.Link{Href: "/a/sensor", Types: []string{"oic.r.sensor"}, Interfaces: []string{oic.IfSensor}, Policy: oic.Policy{Mask: 1}}
}

func (s sensor) Retrieve(context.Context, string) (any, error) { return map[string]int{"x": 1}, s.fail }

// shelf makes lights.
type shelf struct{ host *device.Host }

func (s shelf) Link() oic.Link {
	return oic.Link{Href: "/shelf", Types: []string{"oic.wk.col"}, Interfaces: []string{oic.IfLinkList, oic.IfCreate}}
}

func (s shelf) Retrieve(context.Context, string) (any, error) { return []oic.Link{}, nil }

func (s shelf) Create(context.Context, []byte) (string, any, error) {
	s.host.Add(newLight("/shelf/1"))
	return "/shelf/1", map[string]string{"href": "/shelf/1"}, nil
}

func newHost() (*device.Host, *light) {
	h := device.NewHost(device.Config{ID: di, Name: "Desk", Type: "oic.d.light", Platform: device.Platform{Model: "One"}})
	l := newLight("/a/light")
	h.Add(l)
	h.Add(sensor{})
	h.Add(shelf{h})
	return h, l
}

// ask is a request in a line: "update /a/light {…}".
func ask(t *testing.T, h oic.Handler, line string, format, accept oic.ContentFormat) (string, error) {
	t.Helper()
	parts := strings.SplitN(line, " ", 3)
	ops := map[string]oic.Op{"retrieve": oic.Retrieve, "update": oic.Update, "replace": oic.Replace, "create": oic.Create, "delete": oic.Delete}
	req := &oic.Request{Op: ops[parts[0]], Href: parts[1], Format: format, Accept: accept}
	if len(parts) == 3 {
		body, err := oic.FromJSON(oic.CBOR, []byte(parts[2]))
		if err != nil {
			t.Fatal(err)
		}
		req.Body = body
	}
	resp, err := h.Handle(t.Context(), req)
	if err != nil {
		if resp != nil {
			t.Errorf("%s: both a response and %v", line, err)
		}
		return "", err
	}
	return text(t, resp), nil
}

// text is a response in a line: "2.05 10000 {…}".
func text(t *testing.T, resp *oic.Response) string {
	t.Helper()
	body, err := oic.ToJSON(resp.Format, resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	s := resp.Status.String()[:4]
	if len(body) > 0 {
		s += map[oic.ContentFormat]string{oic.OCF: " ocf ", oic.CBOR: " cbor "}[resp.Format] + string(body)
	}
	return s + resp.Location
}

const (
	lightLink  = `"href":"/a/light","rt":["oic.r.switch.binary"],"if":["oic.if.a","oic.if.s","oic.if.baseline"]`
	anchor     = `"anchor":"ocf://` + di + `","p":`
	lightEntry = `{` + lightLink + `,` + anchor + `{"bm":3}}`
)

func TestHandle(t *testing.T) {
	for _, c := range []struct{ name, request, want string }{
		{"default interface", "retrieve /a/light", `2.05 ocf {"value":false}`},
		{"baseline", "retrieve /a/light?if=oic.if.baseline", `2.05 ocf {"rt":["oic.r.switch.binary"],"if":["oic.if.a","oic.if.s","oic.if.baseline"],"value":false}`},
		{"old name of baseline", "retrieve /a/light?if=oic.if.def", `2.05 ocf {"rt":["oic.r.switch.binary"],"if":["oic.if.a","oic.if.s","oic.if.baseline"],"value":false}`},
		{"another interface", "retrieve /a/light?x=1;if=oic.if.s", `2.05 ocf {"value":false}`},
		{"update", `update /a/light {"value":true}`, "2.04"},
		{"replace", `replace /a/light {"value":true}`, `2.04 ocf {"value":true}`},
		{"delete", "delete /a/light", "2.02"},
		{"create", "create /shelf?if=oic.if.create {}", `2.01 ocf {"href":"/shelf/1"}/shelf/1`},
		{"device", "retrieve /oic/d", `2.05 ocf {"di":"` + di + `","n":"Desk","icv":"ocf.2.2.5","dmv":"ocf.res.1.3.0,ocf.sh.1.3.0","piid":"` + di + `"}`},
		{"device, baseline", "retrieve /oic/d?if=oic.if.baseline", `2.05 ocf {"rt":["oic.d.light","oic.wk.d"],"if":["oic.if.r","oic.if.baseline"],"di":"` + di + `","n":"Desk","icv":"ocf.2.2.5","dmv":"ocf.res.1.3.0,ocf.sh.1.3.0","piid":"` + di + `"}`},
		{"platform", "retrieve /oic/p", `2.05 ocf {"pi":"` + di + `","mnmn":"Farreach","mnmo":"One"}`},
		{"links by type", "retrieve /oic/res?rt=oic.r.switch.binary", "2.05 ocf [" + lightEntry + "]"},
		{"links by several types", "retrieve /oic/res?rt=x&rt=oic.r.switch.binary", "2.05 ocf [" + lightEntry + "]"},
		{"no links", "retrieve /oic/res?rt=OIC.R.SWITCH.BINARY", "2.05 ocf []"},
		{"links, baseline", "retrieve /oic/res?if=oic.if.baseline&rt=oic.r.switch.binary",
			`2.05 ocf [{"rt":["oic.wk.res"],"if":["oic.if.ll","oic.if.b","oic.if.baseline"],"links":[` + lightEntry + "]}]"},
		{"batch", "retrieve /oic/res?if=oic.if.b&rt=oic.r.switch.binary", `2.05 ocf [{"href":"ocf://` + di + `/a/light","rep":{"value":false}}]`},

		{"unknown resource", "retrieve /a/lihgt", "4.04 Not Found: no resource /a/lihgt"},
		{"root", "retrieve /", "4.04 Not Found: no resource /"},
		{"unknown interface", "retrieve /a/light?if=oic.if.b", "4.00 Bad Request: /a/light has no interface oic.if.b"},
		{"interface without the method", `update /a/light?if=oic.if.s {"value":true}`, "4.05 Method Not Allowed: oic.if.s does not take update"},
		{"method that the resource lacks", `update /oic/d?if=oic.if.baseline {}`, "4.05 Method Not Allowed: /oic/d cannot be changed"},
		{"update a sensor", `update /a/sensor {}`, "4.05 Method Not Allowed: oic.if.s does not take update"},
		{"delete a sensor", `delete /a/sensor`, "4.05 Method Not Allowed: oic.if.s does not take delete"},
		{"create nowhere", `create /a/light {}`, "4.05 Method Not Allowed: /a/light makes no resources"},
		{"update the links", `update /oic/res {}`, "4.05 Method Not Allowed: oic.if.ll does not take update"},
		{"replace the links", `replace /oic/res?if=oic.if.baseline {}`, "4.05 Method Not Allowed: /oic/res cannot be replaced as a whole"},
		{"wrong type", `update /a/light {"value":1}`, "4.00 Bad Request: value cannot be an integer"},
		{"no body", `update /a/light`, "4.00 Bad Request: CBOR, byte 0: ends too early"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, _ := newHost()
			got, err := ask(t, h, c.request, oic.NoFormat, oic.NoFormat)
			if err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("%s\n got %s\nwant %s", c.request, got, c.want)
			}
		})
	}
}

func TestHandleFormats(t *testing.T) {
	for _, c := range []struct {
		name           string
		request        string
		format, accept oic.ContentFormat
		want           string
	}{
		{"asked for CBOR", "retrieve /a/sensor", oic.NoFormat, oic.CBOR, `2.05 cbor {"x":1}`},
		{"asked in CBOR (rule 5)", `replace /a/light {"value":true}`, oic.CBOR, oic.NoFormat, `2.04 cbor {"value":true}`},
		{"asked in CBOR for OCF", `replace /a/light {"value":true}`, oic.CBOR, oic.OCF, `2.04 ocf {"value":true}`},
		{"links of OIC 1.1", "retrieve /oic/res?rt=oic.r.switch.binary", oic.NoFormat, oic.CBOR,
			`2.05 cbor [{"di":"` + di + `","links":[{` + lightLink + `,"p":{"bm":3}}]}]`},
		{"links of OIC 1.1, baseline", "retrieve /oic/res?if=oic.if.baseline&rt=none", oic.NoFormat, oic.CBOR,
			`2.05 cbor [{"di":"` + di + `","n":"Desk","rt":["oic.wk.res"],"if":["oic.if.ll","oic.if.b","oic.if.baseline"],"links":[]}]`},
		{"JSON body", `update /a/light {"value":true}`, oic.JSON, oic.NoFormat, "4.15 Unsupported Content-Format: no bodies in application/json"},
		{"JSON answer", "retrieve /a/light", oic.NoFormat, oic.JSON, "4.06 Not Acceptable: no answers in application/json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, _ := newHost()
			got, err := ask(t, h, c.request, c.format, c.accept)
			if err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestDeleteRemoves(t *testing.T) {
	h, l := newHost()
	if _, err := ask(t, h, "delete /a/light", 0, 0); err != nil || !l.deleted {
		t.Fatalf("delete: %v, reached the resource: %v", err, l.deleted)
	}
	if _, err := ask(t, h, "retrieve /a/light", 0, 0); err == nil {
		t.Error("it is still there")
	}
	h.Add(newLight("/a/light")) // its place is free again
}

func TestLinks(t *testing.T) {
	h, _ := newHost()
	var hrefs []string
	for _, l := range h.Links() {
		hrefs = append(hrefs, l.Href)
	}
	if got, want := strings.Join(hrefs, " "), "/oic/d /oic/p /oic/con /a/light /a/sensor"; got != want {
		t.Errorf("Links = %s, want %s", got, want) // neither /oic/res nor what cannot be discovered
	}
	if h.ID() != di || h.Name() != "Desk" || h.Type() != "oic.d.light" {
		t.Errorf("host is %q, %q, %q", h.ID(), h.Name(), h.Type())
	}
	if id := device.NewHost(device.Config{}).ID(); len(id) != 36 {
		t.Errorf("a host without an ID got %q", id)
	}
}

// A link that nobody could use is a mistake in the program.
func TestAddRefuses(t *testing.T) {
	for name, link := range map[string]oic.Link{
		"taken":         {Href: "/a/light", Types: []string{"t"}, Interfaces: []string{"i"}},
		"relative":      {Href: "a/light", Types: []string{"t"}, Interfaces: []string{"i"}},
		"root":          {Href: "/", Types: []string{"t"}, Interfaces: []string{"i"}},
		"no types":      {Href: "/x", Interfaces: []string{"i"}},
		"no interfaces": {Href: "/x", Types: []string{"t"}},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := newHost()
			defer func() {
				if recover() == nil {
					t.Error("Add took it")
				}
			}()
			h.Add(&light{link: link})
		})
	}
}

// What goes wrong inside a resource stays inside.
func TestResourceFails(t *testing.T) {
	h := device.NewHost(device.Config{})
	h.Add(sensor{fail: errors.New("i2c bus stuck")})
	_, err := h.Handle(t.Context(), &oic.Request{Href: "/a/sensor"})
	if s, diag := oic.StatusOf(err); s != oic.Internal || strings.Contains(diag, "i2c") {
		t.Errorf("StatusOf = %v, %q", s, diag)
	}
	got, err := ask(t, h, "retrieve /oic/res?if=oic.if.b&rt=oic.r.sensor", 0, 0)
	if got != "2.05 ocf []" {
		t.Errorf("batch = %s, %v", got, err)
	}
}

func BenchmarkRetrieve(b *testing.B) {
	h, _ := newHost()
	req := &oic.Request{Href: "/a/light"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Handle(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
}
