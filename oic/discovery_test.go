package oic_test

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/farreach/farreach/oic"
)

var desk = netip.MustParseAddrPort("[fe80::1%eth0]:51000")

// The vectors of the three generations become one list, but that the oldest
// has no security (oic-core, section 4.5).
func TestParseDiscoveryOfEachGeneration(t *testing.T) {
	for name, ep := range map[string]string{
		"oic10": "coap://[fe80::1%25eth0]:51000",
		"oic11": "coaps://[fe80::1%25eth0]:40123",
		"ocf":   "coaps://[fe80::1%25eth0]:40123",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := oic.ParseDiscovery(oic.CBOR, vectors(t, "links.txt")[name], "coap", desk)
			want := []oic.LinkSet{{Device: di, Links: []oic.Link{{Href: "/a/light", Types: []string{"core.light"},
				Interfaces: []string{oic.IfActuator, oic.IfBaseline}, Policy: oic.Policy{Mask: 3},
				Anchor: "ocf://" + di, Endpoints: []oic.Endpoint{{URI: ep}}}}}}
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("ParseDiscovery = %+v, %v\n              want %+v", got, err, want)
			}
		})
	}
}

func TestParseDiscovery(t *testing.T) {
	for _, c := range []struct{ name, from, body, want string }{
		{"where it comes from", "192.0.2.7:51000", `[{"href":"/l","anchor":"ocf://d"}]`, "d ocf://d coap://192.0.2.7:51000"},
		{"IPv4 in IPv6", "[::ffff:192.0.2.7]:51000", `[{"href":"/l"}]`, "  coap://192.0.2.7:51000"},
		{"secure without a port", "192.0.2.7:51000", `[{"href":"/l","p":{"sec":true}}]`, "  coap://192.0.2.7:51000"},
		{"a port that is not secure", "192.0.2.7:51000", `[{"href":"/l","p":{"port":40123}}]`, "  coap://192.0.2.7:51000"},
		{"TCP", "192.0.2.7:51000", `[{"href":"/l","p":{"x.org.iotivity.tcp":5683}}]`, "  coap://192.0.2.7:51000 coap+tcp://192.0.2.7:5683"},
		{"TLS and DTLS", "192.0.2.7:51000", `[{"href":"/l","p":{"sec":true,"port":1,"x.org.iotivity.tcp":5,"x.org.iotivity.tls":2}}]`, "  coaps://192.0.2.7:1 coaps+tcp://192.0.2.7:2"},
		{"ports of nonsense", "192.0.2.7:51000", `[{"href":"/l","p":{"sec":1,"port":-1,"x.org.iotivity.tcp":65536,"x.org.iotivity.tls":"a"}}]`, "  coap://192.0.2.7:51000"},
		{"ports of the link before", "192.0.2.7:5", `[{"href":"l","p":{"sec":true,"port":7}},{"href":"/l"}]`, "  coap://192.0.2.7:5"},
		{"eps without ports", "192.0.2.7:51000", `[{"href":"/l","eps":[{"ep":"coap://192.0.2.8"},{"ep":"coaps+tcp://[2001:db8::1]"}]}]`, "  coap://192.0.2.8:5683 coaps+tcp://[2001:db8::1]:5684"},
		{"eps that lead nowhere", "192.0.2.7:51000", `[{"href":"/l","eps":[{"ep":"coap://lamp.local:1"},{"ep":"coap://127.0.0.1:1"},{"ep":"coap://224.0.1.187"},{"ep":"coap://0.0.0.0:1"},{"ep":"coap://u@192.0.2.7"},{"ep":"http://192.0.2.7"},{"ep":"coap://192.0.2.7:99999"},{"ep":"::"}]}]`, " "},
		{"loopback from there", "127.0.0.1:51000", `[{"href":"/l","eps":[{"ep":"coap://127.0.0.1:1"}]}]`, "  coap://127.0.0.1:1"},
		{"another's zone", "[fe80::1%eth0]:5", `[{"href":"/l","eps":[{"ep":"coap://[fe80::2%25wlan7]:1"},{"ep":"coap://[2001:db8::1]:1"}]}]`, "  coap://[fe80::2%25eth0]:1 coap://[2001:db8::1]:1"},
		{"on behalf of another", "192.0.2.7:5", `[{"di":"D","links":[{"href":"/l","anchor":"ocf://e","eps":[{"ep":"coap://192.0.2.9:9"}]}]}]`, "D ; e ocf://e coap://192.0.2.9:9"},
		{"big letters", "192.0.2.7:5", `[{"href":"/l","di":"` + strings.ToUpper(di) + `"}]`, di + " ocf://" + di + " coap://192.0.2.7:5"},
		{"too many", "192.0.2.7:5", `[{"href":"/l","eps":[` + strings.Repeat(`{"ep":"coap://192.0.2.8:1"},`, 99) + `"coap://192.0.2.8:1"]}]`, " " + strings.Repeat(" coap://192.0.2.8:1", 32)},
	} {
		t.Run(c.name, func(t *testing.T) {
			sets, err := oic.ParseDiscovery(oic.JSON, []byte(c.body), "coap", netip.MustParseAddrPort(c.from))
			if err != nil {
				t.Fatal(err)
			}
			if got := reachText(sets); got != c.want {
				t.Errorf("ParseDiscovery = %q\n          want %q", got, c.want)
			}
		})
	}
	if _, err := oic.ParseDiscovery(oic.CBOR, []byte{0x81}, "coap", desk); err == nil {
		t.Error("half an answer was taken")
	}
}

func reachText(sets []oic.LinkSet) string {
	var all []string
	for _, s := range sets {
		line := s.Device + " "
		for _, l := range s.Links {
			line += l.Anchor
			for _, e := range l.Endpoints {
				line += " " + e.URI
			}
		}
		all = append(all, line)
	}
	return strings.Join(all, "; ")
}

func TestEndpoint(t *testing.T) {
	for _, c := range []struct {
		uri, scheme string
		at          string // "": cannot be one
	}{
		{"coap://192.0.2.7", "coap", "192.0.2.7:5683"},
		{"coaps+tcp://[2001:db8::1]:7000", "coaps+tcp", "[2001:db8::1]:7000"},
		{"coaps://[fe80::1%25eth0]", "coaps", "[fe80::1%eth0]:5684"},
		{"coap+tcp://host:1", "coap+tcp", ""},
		{"coap://192.0.2.7:0", "coap", ""},
		{"https://192.0.2.7:1", "https", ""},
		{"coap://[::1", "", ""},
	} {
		e := oic.Endpoint{URI: c.uri}
		scheme, at, ok := e.AddrPort()
		if ok != (c.at != "") || ok && (scheme != c.scheme || at.String() != c.at) {
			t.Errorf("%s is %s %v, %v", c.uri, scheme, at, ok)
		}
		if ok && (oic.Endpoint{URI: oic.EndpointURI(scheme, at)}) != e && at.Port() == 7000 {
			t.Errorf("%s is written as %s", c.uri, oic.EndpointURI(scheme, at))
		}
		if scheme, port := e.SchemePort(); scheme != c.scheme || ok && port != at.Port() {
			t.Errorf("%s: SchemePort is %s, %d", c.uri, scheme, port)
		}
	}
}

// FuzzParseDiscovery: whatever comes out can be dialled, and is as it was
// after one more round.
func FuzzParseDiscovery(f *testing.F) {
	for _, wire := range vectors(f, "links.txt") {
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		sets, err := oic.ParseDiscovery(oic.OCF, b, "coap", desk)
		if err != nil {
			return
		}
		for _, s := range sets {
			for _, l := range s.Links {
				for _, e := range l.Endpoints {
					if _, _, ok := e.AddrPort(); !ok {
						t.Fatalf("%s%s at %q", s.Device, l.Href, e.URI)
					}
				}
			}
		}
		again, err := oic.Encode(oic.OCF, sets)
		if err != nil {
			t.Fatal(err)
		}
		got, err := oic.ParseDiscovery(oic.OCF, again, "coap", desk)
		if err != nil || count(got) != count(sets) {
			t.Fatalf("%+v came back as %+v (%v)", sets, got, err)
		}
	})
}
