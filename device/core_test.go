package device_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/oic"
)

// asking sends one request after another, in lines as for ask, and compares
// each answer with the line below it.
func asking(t *testing.T, h oic.Handler, lines ...string) {
	t.Helper()
	for i := 0; i+1 < len(lines); i += 2 {
		got, err := ask(t, h, lines[i], oic.NoFormat, oic.NoFormat)
		if err != nil {
			got = err.Error()
		}
		if got != lines[i+1] {
			t.Errorf("%s\n got %s\nwant %s", lines[i], got, lines[i+1])
		}
	}
}

func TestConfiguration(t *testing.T) {
	var kept []device.Settings
	h := device.NewHost(device.Config{ID: di, Name: "Desk", Settings: device.Settings{Place: "study"},
		Keep: func(_ context.Context, s device.Settings) error {
			if s.Name == "full" {
				return errors.New("disk full")
			}
			kept = append(kept, s)
			return nil
		}})
	asking(t, h,
		"retrieve /oic/con", `2.05 ocf {"n":"Desk","locn":"study"}`,
		`update /oic/con {"n":"Attic"}`, "2.04",
		`update /oic/con {"loc":[52.5,13.4],"locn":"attic","c":"EUR","r":"DE","dl":"en","ln":[{"language":"de","value":"Speicher"}]}`, "2.04",
		"retrieve /oic/con?if=oic.if.baseline", `2.05 ocf {"rt":["oic.wk.con"],"if":["oic.if.rw","oic.if.baseline"],"n":"Attic","loc":[52.5,13.4],"locn":"attic","c":"EUR","r":"DE","dl":"en","ln":[{"language":"de","value":"Speicher"}]}`,
		`update /oic/con?if=oic.if.baseline {"loc":[],"ln":[]}`, "2.04",
		"retrieve /oic/con", `2.05 ocf {"n":"Attic","locn":"attic","c":"EUR","r":"DE","dl":"en"}`,

		`update /oic/con {}`, "4.00 Bad Request: nothing to change: /oic/con has n, loc, locn, c, r, dl and ln",
		`update /oic/con {"di":"x"}`, "4.00 Bad Request: nothing to change: /oic/con has n, loc, locn, c, r, dl and ln",
		`update /oic/con {"n":""}`, "4.00 Bad Request: n cannot be empty",
		`update /oic/con {"n":5}`, "4.00 Bad Request: n cannot be an integer",
		`update /oic/con {"n":"a\nb"}`, "4.00 Bad Request: n has a control character in it",
		`update /oic/con {"locn":"`+strings.Repeat("ä", 129)+`"}`, "4.00 Bad Request: locn is longer than 128 characters",
		`update /oic/con {"loc":[1]}`, "4.00 Bad Request: loc must be latitude and longitude in degrees",
		`update /oic/con {"loc":[91,0]}`, "4.00 Bad Request: loc must be latitude and longitude in degrees",
		`update /oic/con {"ln":[`+strings.Repeat(`{},`, 16)+`{}]}`, "4.00 Bad Request: ln has more than 16 names",
		`update /oic/con {"n":"full"}`, "disk full",
		`replace /oic/con {"n":"x"}`, "4.05 Method Not Allowed: /oic/con cannot be replaced as a whole",
		"retrieve /oic/con", `2.05 ocf {"n":"Attic","locn":"attic","c":"EUR","r":"DE","dl":"en"}`,
	)
	if len(kept) != 3 || kept[0].Name != "Attic" || kept[0].Place != "study" || kept[2].Location == nil {
		t.Errorf("kept %+v", kept)
	}
	again := device.NewHost(device.Config{Name: "Desk", Settings: kept[2]})
	if again.Name() != "Attic" {
		t.Errorf("after a restart its name is %q", again.Name())
	}
}

// The name at /oic/con is that of /oic/d, of the directory and of the host.
func TestRename(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := newHost()
		ctx, cancel := context.WithCancel(t.Context())
		o := observe(t, ctx, h, "/oic/res?if=oic.if.b&rt=oic.wk.con", nil)
		asking(t, h, `update /oic/con {"n":"Attic"}`, "2.04")
		item := func(name string) string {
			return `2.05 ocf [{"href":"ocf://` + di + `/oic/con","rep":{"n":"` + name + `"}}]`
		}
		o.check(t, item("Desk"), item("Attic"))
		info, err := ask(t, h, "retrieve /oic/d", 0, 0)
		if err != nil || !strings.Contains(info, `"n":"Attic"`) || h.Name() != "Attic" {
			t.Errorf("/oic/d is %s, %v; Name is %q", info, err, h.Name())
		}
		links, err := ask(t, h, "retrieve /oic/res?if=oic.if.baseline&rt=none", 0, oic.CBOR)
		if err != nil || !strings.Contains(links, `"n":"Attic"`) {
			t.Errorf("/oic/res is %s, %v", links, err)
		}
		cancel()
		synctest.Wait()
	})
}

func TestMaintenance(t *testing.T) {
	for _, c := range []struct {
		name, request, want string
		calls               string
	}{
		{"what can be done", "retrieve /oic/mnt", `2.05 ocf {"fr":false,"rb":false}`, ""},
		{"reset", `update /oic/mnt {"fr":true}`, "2.04", "reset "},
		{"restart", `update /oic/mnt {"rb":true}`, "2.04", "reboot "},
		{"both", `update /oic/mnt {"rb":true,"fr":true}`, "2.04", "reset "},
		{"neither", `update /oic/mnt {"rb":false,"fr":false}`, "2.04", ""},
		{"nothing", `update /oic/mnt {}`, "4.00 Bad Request: nothing to do: /oic/mnt has fr and rb", ""},
		{"another type", `update /oic/mnt {"fr":1}`, "4.00 Bad Request: fr cannot be an integer", ""},
		{"read-only view", `update /oic/mnt?if=oic.if.r {"fr":true}`, "4.00 Bad Request: /oic/mnt has no interface oic.if.r", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var calls strings.Builder
			hook := func(name string) func(context.Context) error {
				return func(context.Context) error { fmt.Fprint(&calls, name+" "); return nil }
			}
			h := device.NewHost(device.Config{ID: di, Reset: hook("reset"), Reboot: hook("reboot")})
			asking(t, h, c.request, c.want)
			if calls.String() != c.calls {
				t.Errorf("called %q, want %q", calls.String(), c.calls)
			}
		})
	}
	busy := func(context.Context) error { return oic.Errorf(oic.Unavailable, "update under way") }
	h := device.NewHost(device.Config{ID: di, Reboot: busy})
	asking(t, h,
		"retrieve /oic/mnt", `2.05 ocf {"rb":false}`,
		`update /oic/mnt {"fr":true}`, "5.01 Not Implemented: no factory reset here",
		`update /oic/mnt {"rb":true}`, "5.03 Service Unavailable: update under way",
		"retrieve /oic/mnt", `2.05 ocf {"rb":false}`)
	asking(t, device.NewHost(device.Config{}), "retrieve /oic/mnt", "4.04 Not Found: no resource /oic/mnt")
}

func TestPlatform(t *testing.T) {
	h := device.NewHost(device.Config{ID: di, Platform: device.Platform{ID: "p", Manufacturer: "Acme", Website: "https://acme.example",
		Model: "One", Made: "2026-01-31", Version: "1", System: "Linux 6", Hardware: "B", Firmware: "2.1", Support: "https://acme.example/help", Vendor: "a1"}})
	asking(t, h, "retrieve /oic/p", `2.05 ocf {"pi":"p","mnmn":"Acme","mnml":"https://acme.example","mnmo":"One","mndt":"2026-01-31","mnpv":"1",`+
		`"mnos":"Linux 6","mnhw":"B","mnfv":"2.1","mnsl":"https://acme.example/help","vid":"a1"}`)
}

// Who asks in the way of OIC 1.1 hears of that release, and no piid.
func TestInfoOfOIC11(t *testing.T) {
	h, _ := newHost()
	got, err := ask(t, h, "retrieve /oic/d", oic.NoFormat, oic.CBOR)
	if want := `2.05 cbor {"di":"` + di + `","n":"Desk","icv":"core.1.1.0","dmv":"res.1.1.0"}`; got != want {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
}

// What wipes a device is not for those who come through a cloud (oic-core,
// section 5).
func TestRemote(t *testing.T) {
	reset := func(context.Context) error { t.Error("reset from afar"); return nil }
	h := device.NewHost(device.Config{ID: di, Reset: reset})
	h.Add(newLight("/a/light"))
	h.AddCollection(device.Collection{Href: "/all", Members: []string{"/oic/mnt", "/a/light"}})
	asking(t, h.Remote(),
		`update /a/light {"value":true}`, "2.04",
		`update /oic/mnt {"fr":true}`, "4.03 Forbidden: /oic/mnt is for somebody near only",
		"retrieve /oic/mnt", "4.03 Forbidden: /oic/mnt is for somebody near only",
		"retrieve /oic/res?rt=oic.wk.mnt", "2.05 ocf []",
		"retrieve /oic/res?if=oic.if.b&rt=oic.wk.mnt", "2.05 ocf []",
		`update /all?if=oic.if.b [{"href":"/oic/mnt","rep":{"fr":true}}]`, "2.04 ocf []",
		"retrieve /all?rt=oic.wk.mnt", "2.05 ocf []",
	)
	asking(t, h, "retrieve /all?if=oic.if.b&rt=oic.wk.mnt", `2.05 ocf [{"href":"/oic/mnt","rep":{"fr":false}}]`)
	if err := h.Remote().Observe(t.Context(), &oic.Request{Href: "/oic/mnt"}, nil); err == nil || errors.Is(err, oic.ErrNotObservable) {
		t.Errorf("observing: %v", err)
	}
	for _, l := range h.Links() {
		if l.Href == "/oic/mnt" {
			t.Error("it is published")
		}
	}
}

// Where the device is found stands in its links, in the form of the release.
func TestDirectoryEndpoints(t *testing.T) {
	h, _ := newHost()
	eps := []oic.Endpoint{{URI: "coap://192.0.2.7:51000"}, {URI: "coaps://192.0.2.7:40123"}, {URI: "coap+tcp://192.0.2.7:5683"}, {URI: "coaps+tcp://192.0.2.7"}}
	for _, c := range []struct {
		name   string
		accept oic.ContentFormat
		group  bool
		query  string
		want   string
	}{
		{"OCF", oic.OCF, false, "?rt=oic.r.sensor", `"p":{"bm":1},"eps":[{"ep":"coap://192.0.2.7:51000"},{"ep":"coaps://192.0.2.7:40123"},{"ep":"coap+tcp://192.0.2.7:5683"},{"ep":"coaps+tcp://192.0.2.7"}]}]`},
		{"OIC 1.1", oic.CBOR, false, "?rt=oic.r.sensor", `"p":{"bm":1,"sec":true,"port":40123,"x.org.iotivity.tcp":5683,"x.org.iotivity.tls":5684}}]}]`},
		{"its di", oic.OCF, true, "?rt=oic.r.sensor&di=" + strings.ToUpper(di), `{"ep":"coaps+tcp://192.0.2.7"}]}]`},
		{"another di", oic.OCF, true, "?di=11111111-cafe-4bad-8000-000000000001", "4.04"},
		{"no such type", oic.OCF, false, "?rt=x", "2.05 ocf []"},
		{"no such type, asked of a group", oic.OCF, true, "?rt=x", "4.04"},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp, err := h.Handle(t.Context(), &oic.Request{Href: "/oic/res" + c.query, Accept: c.accept, Reached: eps, Group: c.group})
			got := ""
			if err != nil {
				got = err.Error()[:4]
			} else {
				got = text(t, resp)
			}
			if !strings.HasSuffix(got, c.want) {
				t.Errorf("got %s\nwant … %s", got, c.want)
			}
		})
	}
}
