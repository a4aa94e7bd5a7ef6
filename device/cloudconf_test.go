package device_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/internal/vector"
	"github.com/farreach/farreach/oic"
)

// fleet is what joins clouds for a device.
type fleet struct {
	joined []device.Onboarding
	left   int
	refuse error
}

func newOnboarded(cfg device.CloudConf) (*device.Host, *device.Cloud, *fleet) {
	f := &fleet{}
	cfg.Join = func(_ context.Context, to device.Onboarding) error {
		if f.refuse == nil {
			f.joined = append(f.joined, to)
		}
		return f.refuse
	}
	cfg.Leave = func(context.Context) error { f.left++; return nil }
	h := device.NewHost(device.Config{ID: di})
	return h, h.AddCloudConf(cfg), f
}

const (
	cloudID   = "00000000-cafe-4bad-8000-0000000000cc"
	joinCloud = `update /CoapCloudConfResURI {"apn":"test","cis":"coaps+tcp://192.0.2.7:5684","sid":"` + cloudID + `","at":"code-1"}`
	readCloud = "retrieve /CoapCloudConfResURI"
)

func cloudRep(cis string, clec int, cps string) string {
	apn, sid := "test", cloudID
	if cis == "" {
		apn, sid = "", ""
	}
	return fmt.Sprintf(`2.05 ocf {"apn":%q,"cis":%q,"sid":%q,"clec":%d,"cps":%q}`, apn, cis, sid, clec, cps)
}

// Vector O20: an onboarding tool points the device at a cloud.
func TestOnboardingO20(t *testing.T) {
	m := vector.Get("O20").Message
	req := &oic.Request{Op: oic.Update, Href: "/" + string(m.Options[0].Value), Format: oic.OCF, Body: m.Payload}
	h, _, f := newOnboarded(device.CloudConf{})
	resp, err := h.Handle(t.Context(), req)
	if err != nil || resp.Status != oic.Changed || resp.Body != nil {
		t.Fatalf("answer %+v, %v", resp, err)
	}
	if len(f.joined) != 1 {
		t.Fatalf("joined %v", f.joined)
	}
	got := f.joined[0]
	if got.Server != "coaps+tcp://192.0.2.7:5684" || got.Cloud != cloudID || got.Provider != "test" || string(got.Code) != "code-1" {
		t.Errorf("joined %+v", got)
	}
	if strings.Contains(fmt.Sprintf("%v %+v %#v", got, got, got), "code-1") {
		t.Error("the code can be printed")
	}
	asking(t, h, readCloud, cloudRep("coaps+tcp://192.0.2.7:5684", 0, "readytoregister")) // without the code
}

// The way through all states; cloud-interface section 3.11.
func TestCloudConf(t *testing.T) {
	h, cloud, f := newOnboarded(device.CloudConf{})
	const there = "coaps+tcp://192.0.2.7:5684"
	asking(t, h,
		readCloud, cloudRep("", 0, "uninitialized"),
		joinCloud, "2.04",
		readCloud, cloudRep(there, 0, "readytoregister"))
	for _, busy := range []device.CloudState{device.CloudRegistering, device.CloudRegistered} {
		cloud.Report(busy, device.CloudOK)
		asking(t, h,
			joinCloud, `4.00 Bad Request: the device is `+string(busy)+`: leave first, with cis ""`,
			readCloud, cloudRep(there, 0, string(busy)))
	}
	asking(t, h,
		`update /CoapCloudConfResURI {"cis":""}`, "2.04",
		readCloud, cloudRep("", 0, "deregistering"),
		joinCloud, `4.00 Bad Request: the device is deregistering: leave first, with cis ""`)
	cloud.Report(device.CloudUninitialized, device.CloudOK)
	asking(t, h, joinCloud, "2.04")
	cloud.Report(device.CloudUninitialized, device.CloudOK) // of the one before, and late
	asking(t, h, readCloud, cloudRep(there, 0, "readytoregister"))
	cloud.Report(device.CloudFailed, device.CloudUnauthorized)
	asking(t, h,
		readCloud, cloudRep(there, 4, "failed"),
		joinCloud, "2.04", // with another code, perhaps
		readCloud, cloudRep(there, 0, "readytoregister"))
	cloud.Report(device.CloudFailed, device.CloudNoConnect)
	f.refuse = oic.Errorf(oic.Forbidden, "no clouds here")
	asking(t, h,
		joinCloud, "4.03 Forbidden: no clouds here",
		readCloud, cloudRep(there, 2, "failed"),
		`update /CoapCloudConfResURI {"cis":""}`, "2.04",
		readCloud, cloudRep("", 0, "uninitialized"))
	if len(f.joined) != 3 || f.left != 2 {
		t.Errorf("joined %d times, left %d times", len(f.joined), f.left)
	}
}

func TestCloudConfRefuses(t *testing.T) {
	body := func(old, new string) string { return strings.Replace(joinCloud, old, new, 1) }
	for _, c := range []struct{ name, request, want string }{
		{"without cis", `update /CoapCloudConfResURI {"at":"x"}`, "4.00 Bad Request: cis is missing: the address of the cloud, or nothing to leave it"},
		{"without at", body(`"at":"code-1"`, `"x":1`), "4.00 Bad Request: at is missing: the authorization code"},
		{"without sid", body(`"sid"`, `"x"`), "4.00 Bad Request: sid is not the UUID of the cloud"},
		{"sid of another form", body(cloudID, "urn:uuid:"+cloudID), "4.00 Bad Request: sid is not the UUID of the cloud"},
		{"no address", body("coaps+tcp://192.0.2.7:5684", "192.0.2.7"), "4.00 Bad Request: cis is not like coaps+tcp://host:port"},
		{"another scheme", body("coaps+tcp", "https"), "4.00 Bad Request: cis: https:// is not a way to a cloud"},
		{"a path", body(":5684", ":5684/a"), "4.00 Bad Request: cis is not like coaps+tcp://host:port"},
		{"somebody in it", body("//", "//me@"), "4.00 Bad Request: cis is not like coaps+tcp://host:port"},
		{"long code", body("code-1", strings.Repeat("x", 1025)), "4.00 Bad Request: at or apn is too long"},
		{"another server of nonsense", body(`"apn"`, `"x.org.iotivity.servers":[{"id":"1","uri":"coap+tcp://b"}],"apn"`), "4.00 Bad Request: sid is not the UUID of the cloud"},
		{"too many servers", body(`"apn"`, `"x.org.iotivity.servers":[{},{},{},{},{},{},{},{},{}],"apn"`), "4.00 Bad Request: more than 8 servers"},
		{"another type", body(`"code-1"`, `5`), "4.00 Bad Request: at cannot be an integer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, _, f := newOnboarded(device.CloudConf{})
			asking(t, h, c.request, c.want, readCloud, cloudRep("", 0, "uninitialized"))
			if len(f.joined) != 0 {
				t.Errorf("joined %+v", f.joined)
			}
		})
	}
}

// A device that starts again knows its cloud, and several servers of it.
func TestCloudConfAtStart(t *testing.T) {
	h, _, f := newOnboarded(device.CloudConf{Chosen: device.Onboarding{Server: "coap+tcp://b", Cloud: cloudID, Code: "secret"}})
	asking(t, h,
		readCloud, `2.05 ocf {"apn":"","cis":"coap+tcp://b","sid":"`+cloudID+`","clec":0,"cps":"readytoregister"}`,
		strings.Replace(joinCloud, `"apn"`, `"x.org.iotivity.servers":[{"id":"`+cloudID+`","uri":"coap+tcp://b:1/"}],"apn"`, 1), "2.04",
		readCloud+"?if=oic.if.baseline", `2.05 ocf {"rt":["oic.r.coapcloudconf"],"if":["oic.if.rw","oic.if.baseline"],"apn":"test","cis":"coaps+tcp://192.0.2.7:5684","sid":"`+cloudID+
			`","clec":0,"cps":"readytoregister","x.org.iotivity.servers":[{"id":"`+cloudID+`","uri":"coap+tcp://b:1/"}]}`)
	if len(f.joined) != 1 || len(f.joined[0].Others) != 1 {
		t.Errorf("joined %+v", f.joined)
	}
}

// Whoever may choose the cloud has the device: nobody may from the cloud that
// it is in.
func TestCloudConfFromAfar(t *testing.T) {
	h, _, f := newOnboarded(device.CloudConf{})
	if _, err := ask(t, h.Remote(), joinCloud, 0, 0); err == nil {
		t.Error("joined from afar")
	} else if s, _ := oic.StatusOf(err); s != oic.Forbidden {
		t.Error(err)
	}
	for _, l := range h.Links() {
		if l.Href == "/CoapCloudConfResURI" {
			t.Error("it is published")
		}
	}
	if len(f.joined) > 0 {
		t.Errorf("joined %v", f.joined)
	}
}
