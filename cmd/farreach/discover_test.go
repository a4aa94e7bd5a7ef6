package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/lan"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/reach"
	"github.com/farreach/farreach/xmpp/jid"
)

// A device that the network and the cloud both know is one device with two
// ways; one without a di stays for itself.
func TestMergeFound(t *testing.T) {
	lan := []lan.Device{
		{ID: "AA", Name: "lamp", Address: netip.MustParseAddrPort("192.0.2.7:5683"),
			Endpoints: []oic.Endpoint{{URI: "coap://192.0.2.7:5683"}, {URI: "coaps://192.0.2.7:5684"}}},
		{Name: "", Address: netip.MustParseAddrPort("[2001:db8::1]:5683")},
	}
	known := []apiclient.Device{
		{ID: "bb", Name: "door", State: "offline"},
		{ID: "aa", Name: "attic-lamp", Type: "oic.d.light", State: "reachable"},
	}
	own := address(t, "home@localhost")
	at := func(id, kind string) jid.JID {
		j, err := rae.Name{Major: 1, Type: kind, ID: id}.JID(own)
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	onXMPP := []reach.Present{
		{ID: "aa", Name: "lamp", Type: "oic.d.light", Peer: at("aa", "oic.d.light"), Here: true},
		{ID: "cc", Type: "oic.d.fan", Peer: at("cc", "oic.d.fan"), Since: time.Now().Add(-4 * time.Second)},
	}
	found := (&places{lan: lan, known: known, cloud: "coaps+tcp://cloud", onXMPP: onXMPP}).merge()
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
		" xmpp (offline, since 4 s ago)",
		"attic-lamp cloud (reachable) xmpp (reachable) coap://192.0.2.7:5683 coaps://192.0.2.7:5684",
		"door cloud (offline)",
	}
	for i := range want {
		if i >= len(names) || names[i] != want[i] {
			t.Fatalf("%q, want %q", names, want)
		}
	}
}

// farreach devices has a line for each device, and says which ways lead to it.
func TestDevicesOfBoth(t *testing.T) {
	since := time.Now().Add(-time.Minute)
	p := &places{
		known: []apiclient.Device{{ID: "aa", Name: "lamp", State: "offline"}, {ID: "bb", Name: "door", State: "reachable"}, {ID: "dd", Name: "fan", State: "offline"}, {ID: "ee", Name: "shed", State: "unproven"}},
		onXMPP: []reach.Present{
			{ID: "AA", Name: "lamp", Here: true, Since: since}, {ID: "bb", Here: true}, {ID: "dd"}, {ID: "cc", Name: "meter", Since: since},
		},
	}
	var got []string
	for _, d := range p.devices() {
		got = append(got, fmt.Sprintf("%s %s %t %s", d.Name, d.State, d.Since.IsZero(), d.By))
	}
	if want := []string{"door reachable true [cloud xmpp]", "fan offline true []", "lamp reachable false [xmpp]", "meter offline false []", "shed unproven true [cloud]"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
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

// A device is told of when it comes, changes and goes, and not because it was
// proven anew; one on the network may miss some rounds, at each of its addresses.
func TestWatching(t *testing.T) {
	var told []string
	w := newWatching(func(c foundChange) error {
		told = append(told, c.Change+" "+c.Name+" "+waysText(c.Ways))
		return nil
	})
	four, six := netip.MustParseAddrPort("192.0.2.7:5683"), netip.MustParseAddrPort("[2001:db8::7]:5683")
	lamp := func(at netip.AddrPort) []lan.Device {
		return []lan.Device{{ID: "AA", Name: "lamp", Address: at}}
	}
	cloud := func(state string, proven time.Time) func() error {
		return func() error {
			return w.see(func(p *places) {
				p.known, p.cloud = []apiclient.Device{{ID: "aa", Name: "lamp", State: state, Proven: proven}}, "coaps+tcp://cloud"
			})
		}
	}
	lan := func(found []lan.Device) func() error {
		return func() error { return w.see(func(p *places) { p.near(found) }) }
	}
	none := func() error { return w.see(func(p *places) { p.known = nil }) }
	for i, step := range []struct {
		do   func() error
		want string
	}{
		{lan(lamp(four)), "new lamp coap://192.0.2.7:5683"},
		{lan(nil), ""},
		{lan(lamp(six)), "changed lamp coap://[2001:db8::7]:5683  coap://192.0.2.7:5683"},
		{lan(lamp(four)), ""},
		{cloud("unknown", time.Time{}), "changed lamp cloud (unknown)  coap://192.0.2.7:5683  coap://[2001:db8::7]:5683"},
		{cloud("unknown", time.Now()), ""},
		{lan(lamp(four)), ""},
		{lan(lamp(four)), "changed lamp cloud (unknown, proven now)  coap://192.0.2.7:5683"},
		{lan(nil), ""},
		{lan(nil), ""},
		{lan(nil), "changed lamp cloud (unknown, proven now)"},
		{none, "gone lamp cloud (unknown, proven now)"},
		{lan(nil), ""},
	} {
		told = nil
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(told, "; "); got != step.want {
			t.Errorf("step %d: %q, want %q", i, got, step.want)
		}
	}
}
