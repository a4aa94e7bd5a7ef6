package main

import (
	"net/netip"
	"testing"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/reach"
)

// A device that the network and the cloud both know is one device with two
// ways; one without a di stays for itself.
func TestMergeFound(t *testing.T) {
	lan := []reach.LANDevice{
		{ID: "AA", Name: "lamp", Address: netip.MustParseAddrPort("192.0.2.7:5683"),
			Endpoints: []oic.Endpoint{{URI: "coap://192.0.2.7:5683"}, {URI: "coaps://192.0.2.7:5684"}}},
		{Name: "", Address: netip.MustParseAddrPort("[2001:db8::1]:5683")},
	}
	known := []apiclient.Device{
		{ID: "bb", Name: "door", State: "offline"},
		{ID: "aa", Name: "attic-lamp", Type: "oic.d.light", State: "reachable"},
	}
	found := merge(lan, known, "coaps+tcp://cloud")
	var names []string
	for _, f := range found {
		line := f.Name
		for _, w := range f.Ways {
			line += " " + w.String()
		}
		names = append(names, line)
	}
	want := []string{
		" coap://[2001:db8::1]:5683",
		"attic-lamp cloud (reachable) coap://192.0.2.7:5683 coaps://192.0.2.7:5684",
		"door cloud (offline)",
	}
	for i := range want {
		if i >= len(names) || names[i] != want[i] {
			t.Fatalf("%q, want %q", names, want)
		}
	}
}

func TestWantsType(t *testing.T) {
	lamp := apiclient.Device{Type: "oic.d.light", Links: []apiclient.Link{{Types: []string{"oic.r.switch.binary"}}}}
	for kind, want := range map[string]bool{"": true, "oic.d.light": true, "oic.r.switch.binary": true, "oic.d.door": false} {
		if got := (discovery{kind: kind}).wants(lamp); got != want {
			t.Errorf("%q: %v", kind, got)
		}
	}
}
