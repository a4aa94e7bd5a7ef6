package cloudlink_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
)

// A publication whose echo is longer than the device takes (rule 8) is answered
// with 2.04 all the same: with what devices look for, href and ins, of as many
// links as fit. All of them are published.
func TestLongPublication(t *testing.T) {
	const title = "with a title that nobody needs to hear again, for whoever wrote it knows it"
	for _, tt := range []struct {
		name  string
		links int
		csm   *coap.Message
		whole bool // the answer has all links
		brief bool // without what is not looked for
	}{
		{"short", 10, nil, true, false},
		{"href and ins fit", 100, nil, true, true},
		{"too many", 400, nil, false, true},
		{"an empty CSM", 100, &coap.Message{Code: coap.CSM, Token: coap.TokenFrom(1)}, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCloud()
				r, _, stop := signedIn(t, c)
				defer stop()
				limit := 6144
				if tt.csm != nil {
					r.send(tt.csm)
					limit = 64 << 10
				}
				p := cloudlink.Publication{Device: device1}
				for i := range tt.links {
					p.Links = append(p.Links, oic.Link{
						Href: fmt.Sprintf("/r/%d", i), Types: []string{"x.r"}, Interfaces: []string{oic.IfSensor}, Title: title,
						Policy: oic.Policy{Mask: oic.Discoverable},
					})
				}
				body, err := oic.Encode(oic.OCF, p)
				if err != nil {
					t.Fatal(err)
				}
				m := &coap.Message{Code: coap.POST, Token: coap.TokenFrom(7), Payload: body}
				m.SetPath("/oic/rd")
				m.SetQuery("rt=oic.wk.rdpub")
				m.AddUint(coap.ContentFormat, 10000)
				r.send(m)
				answer := r.must()
				if wire, err := answer.Append(coap.TCP, nil); answer.Code != coap.Changed || err != nil || len(wire) > limit {
					t.Fatalf("answered %v with %d bytes, %v", answer.Code, len(wire), err)
				}
				sets, err := oic.ParseLinks(oic.OCF, answer.Payload)
				if err != nil || len(sets) != 1 || sets[0].Device != device1 {
					t.Fatalf("answered %v, %v", sets, err)
				}
				links := sets[0].Links
				if (len(links) == tt.links) != tt.whole || len(links) < min(tt.links, 200) {
					t.Errorf("%d of %d links in the answer", len(links), tt.links)
				}
				for i, l := range links {
					if l.Href != p.Links[i].Href || l.Instance != 42+int64(i) || (l.Title == "") != tt.brief {
						t.Errorf("link %d of the answer: %+v", i, l)
					}
				}
				c.mu.Lock()
				defer c.mu.Unlock()
				if calls := strings.Join(c.calls, ", "); !strings.Contains(calls, fmt.Sprintf("publish %d", tt.links)) || len(c.devices[device1].links) != tt.links {
					t.Errorf("%d links are published; calls: %s", len(c.devices[device1].links), calls)
				}
			})
		})
	}
}
