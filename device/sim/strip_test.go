package sim_test

import (
	"testing"

	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/device/sim"
	"github.com/farreach/farreach/oic"
)

// A strip is switched as a whole, or one outlet of it.
func TestStrip(t *testing.T) {
	s, err := sim.New("strip", device.Config{ID: di + "1", Name: "strip"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ href, body, want string }{
		{"/a/outlets?if=oic.if.b", `[{"href":"","rep":{"value":true}}]`,
			`[{"href":"/a/outlets/1","rep":{"value":true}},{"href":"/a/outlets/2","rep":{"value":true}},{"href":"/a/outlets/3","rep":{"value":true}},{"href":"/a/outlets/4","rep":{"value":true}}]`},
		{"/a/outlets/2", `{"value":false}`, ""},
		{"/a/outlets?if=oic.if.b", `[{"href":"/a/outlets/1","rep":{"value":false}},{"href":"/a/outlets/9","rep":{"value":false}}]`,
			`[{"href":"/a/outlets/1","rep":{"value":false}}]`},
	} {
		body, err := oic.FromJSON(oic.OCF, []byte(c.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := s.Host().Handle(t.Context(), &oic.Request{Op: oic.Update, Href: c.href, Format: oic.OCF, Body: body})
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := oic.ToJSON(resp.Format, resp.Body); string(got) != c.want {
			t.Errorf("%s %s\n got %s\nwant %s", c.href, c.body, got, c.want)
		}
	}
	resp, err := s.Host().Handle(t.Context(), &oic.Request{Href: "/a/outlets?if=oic.if.b"})
	if err != nil {
		t.Fatal(err)
	}
	const want = `[{"href":"/a/outlets/1","rep":{"value":false}},{"href":"/a/outlets/2","rep":{"value":false}},{"href":"/a/outlets/3","rep":{"value":true}},{"href":"/a/outlets/4","rep":{"value":true}}]`
	if got, _ := oic.ToJSON(resp.Format, resp.Body); string(got) != want {
		t.Errorf("got %s", got)
	}
	if err := post(t, s.Host(), oic.Update, "/a/outlets/3", `{"on":true}`); err == nil {
		t.Error("an outlet took nothing")
	}
}
