package lan

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/farreach/farreach/oic"
)

// Whatever a device says of itself: what is kept has a UUID, bounded names, and
// links and addresses of its own host only.
func FuzzAbout(f *testing.F) {
	const id = "0685b960-736f-46f7-bec0-9e6cbd61adc1"
	for _, seed := range [][2]string{
		{`{"di":"` + id + `","n":"lamp","rt":["oic.d.light","oic.wk.d"],"icv":"ocf.2.2.5"}`, `[{"anchor":"ocf://` + id + `","href":"/a","rt":["x"],"eps":[{"ep":"coap://10.0.0.2:1"},{"ep":"coap://10.0.0.3"}]}]`},
		{`{"di":"` + strings.ToUpper(id) + `","rt":"a oic.wk.d"}`, `[{"di":"` + id + `","links":[{"href":"/l","rt":"x y","p":{"sec":true,"port":9}}]}]`},
		{`{"di":7}`, `{}`},
	} {
		d, _ := oic.FromJSON(oic.CBOR, []byte(seed[0]))
		res, _ := oic.FromJSON(oic.CBOR, []byte(seed[1]))
		f.Add(d, res)
	}
	at := netip.MustParseAddrPort("10.0.0.2:40000")
	f.Fuzz(func(t *testing.T, d, res []byte) {
		h := oic.HandlerFunc(func(_ context.Context, req *oic.Request) (*oic.Response, error) {
			if strings.HasPrefix(req.Href, "/oic/res") {
				return &oic.Response{Status: oic.Content, Format: oic.CBOR, Body: res}, nil
			}
			return &oic.Response{Status: oic.Content, Format: oic.CBOR, Body: d}, nil
		})
		r, err := about(t.Context(), h, "coap", at, "")
		if err != nil {
			return
		}
		dev := r.device
		if !isUUID(dev.ID) || len(dev.Name) > maxName || len(dev.Types) > maxTypes || len(dev.Links) > maxLinks || len(r.others) > maxHostAsks {
			t.Fatalf("%+v", r)
		}
		for _, e := range dev.Endpoints {
			if !isAt(at.Addr(), e) {
				t.Fatalf("leads to %s", e.URI)
			}
		}
		for _, o := range r.others {
			if o.Addr() != at.Addr() {
				t.Fatalf("leads to %v", o)
			}
		}
	})
}
