package oic_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/farreach/farreach/oic"
)

// vectors are the lines of a file in testdata: name and bytes.
func vectors(tb testing.TB, file string) map[string][]byte {
	tb.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		tb.Fatal(err)
	}
	found := map[string][]byte{}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] != "#" {
			found[fields[0]] = unhex(tb, strings.Join(fields[1:], ""))
		}
	}
	return found
}

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

const di = "0685b960-736f-46f7-bec0-9e6cbd61adc1"

// The three generations' vectors say the same of /a/light, but for what only
// OCF has.
func TestParseLinksOfEachGeneration(t *testing.T) {
	for name, wire := range vectors(t, "links.txt") {
		t.Run(name, func(t *testing.T) {
			sets, err := oic.ParseLinks(oic.CBOR, wire)
			if err != nil || len(sets) != 1 || len(sets[0].Links) != 1 {
				t.Fatalf("ParseLinks = %+v, %v", sets, err)
			}
			if sets[0].Device != di {
				t.Errorf("di = %q", sets[0].Device)
			}
			got := sets[0].Links[0]
			got.Anchor, got.Endpoints = "", nil
			want := oic.Link{Href: "/a/light", Types: []string{"core.light"},
				Interfaces: []string{oic.IfActuator, oic.IfBaseline}, Policy: oic.Policy{Mask: 3}}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("link = %+v\n  want %+v", got, want)
			}
		})
	}
	sets, _ := oic.ParseLinks(oic.OCF, vectors(t, "links.txt")["ocf"])
	link := sets[0].Links[0]
	if link.Anchor != "ocf://"+di || !reflect.DeepEqual(link.Endpoints, []oic.Endpoint{{URI: "coaps://[fe80::1]:40123"}}) {
		t.Errorf("anchor and eps are %q, %v", link.Anchor, link.Endpoints)
	}
}

// Rules 19 and 20: what varies or is missing is no error.
func TestParseLinksTolerates(t *testing.T) {
	light := `"href":"/l","rt":["r"],"if":["oic.if.a"]`
	for _, c := range []struct{ name, body, want string }{
		{"publication", `{"di":"d","n":"lamp","ttl":3600,"links":[{` + light + `,"rel":"hosts","ins":7,"p":{"bm":3}}]}`, "d lamp 3600: /l [r] [hosts] 7 3"},
		{"publication of classic", `{"di":"d","lt":60,"links":[{` + light + `}]}`, "d  60: /l [r] [] 0 0"},
		{"rel as array", `[{` + light + `,"rel":["hosts","item"]}]`, "  0: /l [r] [hosts item] 0 0"},
		{"rt as text", `[{"href":"/l","rt":"a b"}]`, "  0: /l [a b] [] 0 0"},
		{"baseline", `[{"rt":["oic.wk.res"],"if":["oic.if.ll"],"links":[{` + light + `,"anchor":"ocf://d"}]}]`, "d  0: /l [r] [] 0 0"},
		{"two devices", `[{` + light + `,"anchor":"ocf://d"},{` + light + `,"di":"e"},{"href":"/m","anchor":"ocf://d/"}]`,
			"d  0: /l [r] [] 0 0, /m [] [] 0 0; e  0: /l [r] [] 0 0"},
		{"ocf href", `[{"href":"ocf://d/l"}]`, "d  0: /l [] [] 0 0"},
		{"relative href dropped", `[{"href":"l"},{"href":5},{"rt":["r"]},7,null]`, ""},
		{"device without links", `{"di":"d","links":[]}`, "d  0: "},
		{"links of another type", `{"di":"d","links":7}`, "d  0: "},
		{"everything of another type", `[{"href":"/l","rt":5,"if":{},"rel":null,"p":3,"eps":"x","ins":"7","title":1,"anchor":[]}]`, "  0: /l [] [] 0 0"},
		{"unknown bits", `[{"href":"/l","p":{"bm":263,"x":1}}]`, "  0: /l [] [] 0 7"},
		{"empty", `[]`, ""},
		{"links before di", `{"links":[{` + light + `}],"di":"d"}`, "d  0: /l [r] [] 0 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sets, err := oic.ParseLinks(oic.JSON, []byte(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if got := text(sets); got != c.want {
				t.Errorf("ParseLinks = %q\n       want %q", got, c.want)
			}
		})
	}
}

func text(sets []oic.LinkSet) string {
	var devices []string
	for _, s := range sets {
		var links []string
		for _, l := range s.Links {
			links = append(links, fmt.Sprintf("%s %v %v %d %d", l.Href, l.Types, l.Rel, l.Instance, l.Policy.Mask))
		}
		devices = append(devices, fmt.Sprintf("%s %s %d: %s", s.Device, s.Name, s.TTL, strings.Join(links, ", ")))
	}
	return strings.Join(devices, "; ")
}

func TestParseLinksRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		format oic.ContentFormat
		body   []byte
		want   oic.Status
	}{
		{"text", oic.JSON, []byte(`"links"`), oic.BadRequest},
		{"truncated", oic.OCF, []byte{0x81, 0xa1}, oic.BadRequest},
		{"text format", oic.Text, []byte("x"), oic.BadFormat},
		{"too many", oic.JSON, []byte("[" + strings.Repeat(`{"href":"/a"},`, 3000) + "{}]"), oic.TooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := oic.ParseLinks(c.format, c.body)
			if e, ok := errors.AsType[*oic.StatusError](err); !ok || e.Status != c.want {
				t.Errorf("err = %v, want %v", err, c.want)
			}
		})
	}
}

// A document that we make is understood again, and by name and type like the
// vectors of the other side.
func TestLinksRoundTrip(t *testing.T) {
	link := oic.Link{Href: "/a/light", Types: []string{"core.light"}, Interfaces: []string{oic.IfActuator, oic.IfBaseline},
		Policy: oic.Policy{Mask: 3}, Rel: []string{"hosts"}, Instance: 42, Anchor: "ocf://" + di,
		Endpoints: []oic.Endpoint{{URI: "coaps+tcp://192.0.2.7:5684", Priority: 1}}}
	set := oic.LinkSet{Device: di, Name: "lamp", TTL: 3600, Gateway: "b", Links: []oic.Link{link}}
	for name, doc := range map[string]any{"publication": set, "oic11": []oic.LinkSet{set}, "flat": []oic.Link{link},
		"baseline": []oic.LinkCollection{{Types: []string{"oic.wk.res"}, Interfaces: []string{oic.IfLinkList}, Links: []oic.Link{link}}}} {
		for _, f := range []oic.ContentFormat{oic.OCF, oic.CBOR, oic.JSON} {
			b, err := oic.Encode(f, doc)
			if err != nil {
				t.Fatal(err)
			}
			sets, err := oic.ParseLinks(f, b)
			if err != nil || len(sets) != 1 || sets[0].Device != di || !reflect.DeepEqual(sets[0].Links, set.Links) {
				t.Errorf("%s in %v: %+v, %v", name, f, sets, err)
			}
			if (name == "publication" || name == "oic11") && !reflect.DeepEqual(sets[0], set) {
				t.Errorf("%s in %v: %+v", name, f, sets[0])
			}
		}
	}
	b, _ := oic.Encode(oic.OCF, []oic.Link{{Href: "/a"}})
	if got, _ := oic.ToJSON(oic.OCF, b); string(got) != `[{"href":"/a","rt":[],"if":[],"p":{"bm":0}}]` {
		t.Errorf("a bare link is %s", got)
	}
}

func FuzzParseLinks(f *testing.F) {
	for _, wire := range vectors(f, "links.txt") {
		f.Add(wire)
	}
	f.Add(unhex(f, "9fbf6468726566622f61ffff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var sets []oic.LinkSet
		var err error
		used := allocated(func() { sets, err = oic.ParseLinks(oic.OCF, b) })
		links := 0
		for _, s := range sets {
			links += 1 + len(s.Links)
		}
		if limit := uint64(16*len(b) + 64<<10 + 1024*links); used > limit {
			t.Fatalf("%d bytes cost %d, over %d", len(b), used, limit)
		}
		if err != nil {
			return
		}
		again, err := oic.Encode(oic.OCF, sets)
		if err != nil {
			t.Fatal(err)
		}
		got, err := oic.ParseLinks(oic.OCF, again)
		if err != nil || count(got) != count(sets) {
			t.Fatalf("%+v came back as %+v (%v)", sets, got, err)
		}
	})
}

func count(sets []oic.LinkSet) (links int) {
	for _, s := range sets {
		links += len(s.Links)
	}
	return links
}
