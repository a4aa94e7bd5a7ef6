package e2e_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/device/sim"
)

// A device that has lost what it knew, or is another thing by now, joins again
// under its old id: what it had before is not in the directory any more
// (cloud-interface rule 11).
func TestRejoinedWithoutState(t *testing.T) {
	h := newHome(t, 0)
	di := uuid.NewString()
	var hrefs string
	for _, kind := range []string{"strip", "lamp"} {
		s, err := sim.New(kind, device.Config{ID: di, Name: "thing", Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		j := h.joinAs(s.Host(), s.Run, h.ways()["coap+tcp"], cloudlink.FileState(filepath.Join(t.TempDir(), "state.json")))
		j.registered(t)
		info, err := h.cloud.DeviceInfo(t.Context(), h.owner(), di)
		if err != nil {
			t.Fatal(err)
		}
		hrefs = ""
		for _, l := range info.Links {
			hrefs += l.Href + " "
		}
		if kind == "strip" && !strings.Contains(hrefs, "/a/outlets/1 ") {
			t.Fatalf("published %s", hrefs)
		}
		j.leave()
	}
	if want := "/oic/d /oic/p /oic/con /a/light "; hrefs != want {
		t.Errorf("published %s, want %s", hrefs, want)
	}
}
