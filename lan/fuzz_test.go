package lan

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
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

// Whatever a peer publishes: it leads to addresses of its own host, and of a
// bounded number, and the answer can be encoded.
func FuzzDirectory(f *testing.F) {
	for _, seed := range []string{
		`{"di":"0685b960-736f-46f7-bec0-9e6cbd61adc1","ttl":60,"links":[{"href":"/a","rt":["x"],"eps":[{"ep":"coap://10.0.0.2:1"},{"ep":"coap://10.0.0.3"}]}]}`,
		`{"di":"0685b960-736f-46f7-bec0-9e6cbd61adc1","ttl":-1,"links":[]}`, `[]`, `{}`,
	} {
		b, _ := oic.FromJSON(oic.CBOR, []byte(seed))
		f.Add(uint8(oic.Update), "/oic/rd", b)
	}
	f.Add(uint8(oic.Delete), "/oic/rd?di=0685B960-736F-46F7-BEC0-9E6CBD61ADC1", []byte(nil))
	f.Add(uint8(oic.Retrieve), "/oic/res?rt=oic.wk.rd", []byte(nil))
	from := netip.MustParseAddrPort("10.0.0.2:40000")
	f.Fuzz(func(t *testing.T, op uint8, href string, body []byte) {
		w, err := newWatcher(Config{Directory: "0685b960-736f-46f7-bec0-9e6cbd61adcf", Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		w.slots = nil // who is suspected is not asked
		ctx, cancel := context.WithCancel(t.Context())
		w.ctx = ctx
		defer w.tasks.Wait()
		defer cancel()
		resp, err := directory{w, from}.Handle(ctx, &oic.Request{Op: oic.Op(op), Href: href, Format: oic.CBOR, Body: body})
		w.mu.Lock()
		defer w.mu.Unlock()
		if (resp == nil) == (err == nil) || len(w.asking) > maxPlaces {
			t.Fatalf("%v, %v, %v", resp, err, w.asking)
		}
		for at := range w.asking {
			if at.Addr() != from.Addr() {
				t.Fatalf("leads to %v", at)
			}
		}
	})
}

// Whatever stands in a file of credentials: no panic, and what is taken is whole.
func FuzzCredentials(f *testing.F) {
	for _, seed := range []string{
		`{"id":"0685b960-736f-46f7-bec0-9e6cbd61adc1","psk":"00112233445566778899aabbccddeeff"}`,
		`{"certificate":"a","key":"b","roots":"../c"}`, `{"id":1}`, `null`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		name := filepath.Join(t.TempDir(), "x.json")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := loadCredentials(name)
		if err == nil && (!isUUID(c.ID) || len(c.Key) < minKey) {
			t.Fatal("half of it was taken")
		}
	})
}

// Whatever is configured as an address, or described: an error or something whole.
func FuzzDescribed(f *testing.F) {
	f.Add([]byte(`{"address":"coap://10.0.0.2:5","di":"0685b960-736f-46f7-bec0-9e6cbd61adc1","n":"x","rt":["y"],"links":[{"href":"/a"}]}`), "/oic/res?rt=x")
	f.Add([]byte(`{"address":"::1","di":"","links":[{"href":"a"}]}`), "/oic/d")
	f.Fuzz(func(t *testing.T, b []byte, href string) {
		var d Described
		if json.Unmarshal(b, &d) != nil {
			return
		}
		k := Known{Described: []Described{d}}
		if k.Check() != nil {
			return
		}
		if _, err := parseAddress(d.Address); err != nil || !isUUID(d.ID) {
			t.Fatalf("%+v, %v", d, err)
		}
		if resp, err, ok := d.answer(&oic.Request{Href: href}); ok && (resp == nil) == (err == nil) {
			t.Fatalf("%s: %v, %v", href, resp, err)
		}
	})
}
