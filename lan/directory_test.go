package lan_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/simnet"
	"github.com/farreach/farreach/lan"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
)

// Devices of all generations are read alike.
func TestGenerations(t *testing.T) {
	of := func(link string) map[string]string {
		return map[string]string{"/oic/d": `{"di":"` + strings.ToUpper(lampID) + `","n":"old\u001b[2J lamp","icv":"core.1.0.0","rt":"core.light oic.wk.d"}`, "/oic/res": link}
	}
	for name, h := range map[string]oic.Handler{
		"OIC 1.0": answers(oic.CBOR, of(`[{"di":"`+lampID+`","links":[{"href":"/l","rt":"core.light x","if":"oic.if.a oic.if.baseline","p":{"bm":3}}]}]`)),
		"OIC 1.1": answers(oic.CBOR, of(`[{"di":"`+lampID+`","n":"x","links":[{"href":"/l","rt":["core.light","x"],"if":["oic.if.a","oic.if.baseline"],"p":{"bm":3,"sec":false}}]}]`)),
		"OCF":     answers(oic.OCF, of(`[{"anchor":"ocf://`+lampID+`","href":"/l","rt":["core.light","x"],"if":["oic.if.a","oic.if.baseline"],"p":{"bm":3},"eps":[{"ep":"coap://10.0.0.2:40002"}]}]`)),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t, simnet.Config{})
				n.plug("10.0.0.2:40002", h)
				w := n.watch(lan.Config{})
				pass(5 * time.Second)
				w.expect("+old[2J lamp")
				d := w.device(lampID)
				if len(d.Links) != 1 || len(d.Types) != 1 || d.Types[0] != "core.light" || d.Endpoints[0].URI != "coap://10.0.0.2:40002" {
					t.Fatalf("it is %+v", d)
				}
				if l := d.Links[0]; l.Href != "/l" || len(l.Types) != 2 || len(l.Interfaces) != 2 || !l.Observable() || l.Anchor != "ocf://"+lampID {
					t.Errorf("the link is %+v", l)
				}
			})
		})
	}
}

// A device publishes itself, renews that, and takes it back; it is asked
// whether that is true.
func TestDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, simnet.Config{Delay: time.Millisecond})
		n.serve(n.Listen("10.0.0.3:40003"), simulated(t, "door", doorID, "door"))
		lamp := n.serve(n.Listen("10.0.0.2:40002"), simulated(t, "lamp", lampID, "lamp"))
		w := n.watch(lan.Config{Directory: proxyID, Groups: []netip.AddrPort{}})
		pass(time.Second)
		publisher := oiccoap.NewClient(lamp.Peer(netip.MustParseAddrPort("10.0.0.1:49153")))
		ask := func(op oic.Op, href, body string) string {
			b, _ := oic.FromJSON(oic.OCF, []byte(body))
			resp, err := publisher.Handle(t.Context(), &oic.Request{Op: op, Href: href, Format: oic.OCF, Body: b})
			if err != nil {
				return err.Error()
			}
			text, _ := oic.ToJSON(resp.Format, resp.Body)
			return resp.Status.String() + " " + string(text)
		}
		if got := ask(oic.Retrieve, "/oic/rd?rt=oic.wk.rd", ""); !strings.Contains(got, `"sel":60`) {
			t.Errorf("the directory says %s", got)
		}
		if got := ask(oic.Retrieve, "/oic/res?rt=oic.wk.rd", ""); !strings.Contains(got, `"anchor":"ocf://`+proxyID+`"`) || !strings.Contains(got, "/oic/rd") {
			t.Errorf("found %s", got)
		}
		if got := ask(oic.Update, "/oic/rd?rt=oic.wk.rdpub", `{"di":"`+lampID+`","n":"lamp","ttl":600,"links":[
			{"href":"/a/light","rt":["oic.r.switch.binary"],"if":["oic.if.a"],"p":{"bm":3},"eps":[{"ep":"coap://10.0.0.3:40003"}]}]}`); !strings.HasPrefix(got, "2.04") || !strings.Contains(got, `"ins":1`) {
			t.Errorf("published: %s", got)
		}
		pass(time.Second)
		w.expect("+lamp") // and not the door, to which the publication leads
		pass(time.Hour)
		w.expect() // the publication has expired; the device is there
		for _, bad := range []string{`{"di":"x","links":[{"href":"/a"}]}`, `[]`, `{"links":[{"href":"/a"}]}`, `7`} {
			if got := ask(oic.Update, "/oic/rd", bad); !strings.HasPrefix(got, "4.00") {
				t.Errorf("%s: %s", bad, got)
			}
		}
		if got := ask(oic.Delete, "/oic/rd?di="+lampID, ""); !strings.HasPrefix(got, "2.02") {
			t.Errorf("deleted: %s", got)
		}
		pass(time.Minute)
		w.expect() // anybody can say that
		ask(oic.Delete, "/oic/rd?di="+lampID, "")
		lamp.unplug()
		pass(30 * time.Second)
		w.expect("-lamp") // after one check, not three
	})
}

// What somebody has written down of a CoAP server that knows nothing of OIC.
func TestDescribed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, simnet.Config{})
		w := n.watch(lan.Config{Known: lan.Known{Described: []lan.Described{{Address: "10.0.0.2:40002", ID: lampID, Name: "clock", Types: []string{"oic.d.clock"},
			Links: []oic.Link{{Href: "/time", Types: []string{"oic.r.time"}, Interfaces: []string{oic.IfSensor}, Policy: oic.Policy{Mask: 3}}}}}}})
		pass(10 * time.Minute)
		w.expect() // not there yet
		pc := n.Listen("10.0.0.2:40002")
		u := n.run(pc, coap.EndpointConfig{Handler: coap.HandlerFunc(func(x *coap.Exchange) { // no option of OCF
			if _, bad := x.Request().Options.Unacceptable(func(n coap.Number) bool { return n < 2000 }); bad {
				_ = x.Reply(&coap.Message{Code: coap.BadOption})
				return
			}
			_ = x.Reply(&coap.Message{Code: coap.Content, Payload: []byte("noon")})
		})})
		pass(2 * time.Minute)
		w.expect("+clock")
		d := w.device(lampID).Open()
		if got := read(t, d, "/time"); got != `"noon"` {
			t.Errorf("the time is %s", got)
		}
		if got := read(t, d, "/oic/res"); !strings.Contains(got, `"href":"/time"`) || strings.Contains(got, "10.0.0.2") {
			t.Errorf("the links are %s", got)
		}
		if got := read(t, d, "/oic/d"); !strings.Contains(got, `"di":"`+lampID+`"`) {
			t.Errorf("it is %s", got)
		}
		u.unplug()
		pass(5 * time.Minute)
		w.expect("-clock")
	})
}
