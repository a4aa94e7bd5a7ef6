package lan_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/coap/coaptest"
	"github.com/farreach/farreach/lan"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
)

// hosted serves a device on the loopback interface until the test ends.
func hosted(t *testing.T, h oic.Handler, groups ...*coap.GroupConn) netip.AddrPort {
	t.Helper()
	pc := coaptest.UDP(t)
	coaptest.Endpoint(t, pc, coap.EndpointConfig{Leisure: -1, Closed: true, Groups: groups, Accept: func(*coap.Peer) coap.Handler {
		asks := new(oiccoap.Server)
		return coap.HandlerFunc(func(x *coap.Exchange) { asks.Serve(x, h, oic.Identity{}) })
	}})
	return pc.LocalAddr().(*net.UDPAddr).AddrPort()
}

func foundText(found []lan.Device) string {
	var all []string
	for _, d := range found {
		var hrefs, eps []string
		for _, l := range d.Links {
			hrefs = append(hrefs, l.Href)
		}
		for _, e := range d.Endpoints {
			eps = append(eps, e.URI)
		}
		all = append(all, fmt.Sprint(d.ID, " ", d.Name, " ", d.Types, " ", d.Release, " ", hrefs, " ", eps))
	}
	return strings.Join(all, "\n")
}

// within finds with the cfg, and on a busy machine again with more time for the
// answers, until found says that all is found.
func within(cfg lan.FindConfig, found func(lan.FindConfig) bool) {
	for !found(cfg) && cfg.Wait < 30*time.Second {
		cfg.Wait *= 2
	}
}

// Those who are asked one by one, and those who hear the question to all.
func TestFind(t *testing.T) {
	lamp, door := simulated(t, "lamp", lampID, "lamp"), simulated(t, "door", doorID, "door")
	group := coaptest.UDP(t)
	groupAt := group.LocalAddr().(*net.UDPAddr).AddrPort()
	lampAt, doorAt := hosted(t, lamp, coap.NewGroupConn(group)), hosted(t, door)
	lampIs := lampID + " lamp [oic.d.light] ocf.2.2.5 [/oic/res /oic/d /oic/p /oic/con /a/light] [coap://" + lampAt.String() + "]"
	for _, c := range []struct {
		name string
		cfg  lan.FindConfig
		want string
	}{
		{"addresses", lan.FindConfig{Addresses: []string{lampAt.String(), "coap://localhost:" + fmt.Sprint(doorAt.Port()), "127.0.0.1:9"}, Wait: 500 * time.Millisecond},
			doorID + " door [oic.d.door] ocf.2.2.5 [/oic/res /oic/d /oic/p /oic/con /a/door] [coap://" + doorAt.String() + "]\n" + lampIs},
		{"type", lan.FindConfig{Addresses: []string{lampAt.String(), doorAt.String()}, Type: "oic.r.switch.binary", Wait: time.Minute},
			lampID + " lamp [oic.d.light] ocf.2.2.5 [/a/light] [coap://" + lampAt.String() + "]"},
		{"group", lan.FindConfig{Groups: []netip.AddrPort{groupAt}, Wait: 500 * time.Millisecond}, lampIs},
		{"nobody", lan.FindConfig{Groups: []netip.AddrPort{groupAt}, Type: "x", Wait: 200 * time.Millisecond}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Log = coaptest.Quiet
			got, err := "", error(nil)
			within(c.cfg, func(cfg lan.FindConfig) bool {
				var found []lan.Device
				found, err = lan.Find(t.Context(), cfg)
				got = foundText(found)
				return err == nil && got == c.want
			})
			if err != nil || got != c.want {
				t.Errorf("found %v\n%s\nwant\n%s", err, got, c.want)
			}
		})
	}
	_, err := lan.Find(t.Context(), lan.FindConfig{Addresses: []string{"coaps://127.0.0.1"}})
	if err == nil {
		t.Errorf("coaps: %v", err)
	}
}

// Devices of any generation, liars and noise on one network.
func TestFindGenerations(t *testing.T) {
	old := oic.HandlerFunc(func(_ context.Context, req *oic.Request) (*oic.Response, error) {
		body := `[{"di":"` + strings.ToUpper(lampID) + `","links":[{"href":"/l","rt":"core.light","if":"oic.if.a","p":{"bm":3}}]}]`
		if strings.HasPrefix(req.Href, "/oic/d") {
			body = `{"di":"` + lampID + `","n":"old lamp","icv":"core.1.0.0","rt":["oic.wk.d"]}`
		}
		b, err := oic.FromJSON(oic.CBOR, []byte(body))
		return &oic.Response{Status: oic.Content, Format: oic.CBOR, Body: b}, err
	})
	liar := oic.HandlerFunc(func(_ context.Context, req *oic.Request) (*oic.Response, error) {
		body := `[{"anchor":"ocf://` + doorID + `","href":"/l","eps":[{"ep":"coap://10.9.9.9:1"},{"ep":"coap://224.0.1.187"}]}]`
		if strings.HasPrefix(req.Href, "/oic/d") {
			body = `{"di":"` + lampID + `","n":"somebody else"}`
		}
		b, err := oic.FromJSON(oic.OCF, []byte(body))
		return &oic.Response{Status: oic.Content, Format: oic.OCF, Body: b}, err
	})
	noise := oic.HandlerFunc(func(context.Context, *oic.Request) (*oic.Response, error) {
		return &oic.Response{Status: oic.Content, Format: oic.OCF, Body: []byte{0x9f}}, nil
	})
	oldAt, liarAt, noiseAt := hosted(t, old), hosted(t, liar), hosted(t, noise)
	found, err := lan.Find(t.Context(), lan.FindConfig{Addresses: []string{oldAt.String(), liarAt.String(), noiseAt.String()}, Wait: time.Minute, Log: coaptest.Quiet})
	want := lampID + " old lamp [] core.1.0.0 [/l] [coap://" + oldAt.String() + "]"
	if got := foundText(found); err != nil || got != want {
		t.Errorf("found %v\n%s\nwant\n%s", err, got, want)
	}
}

// The groups of OCF, on whatever interfaces this machine has.
func TestFindMulticast(t *testing.T) {
	groups, err := coap.ListenGroups(coap.AllCoAPNodes()...)
	if err != nil {
		t.Skip(err)
	}
	at := hosted(t, simulated(t, "lamp", lampID, "lamp"), groups...)
	cfg := lan.FindConfig{Type: "oic.r.light.dimming", Wait: 1500 * time.Millisecond, Log: coaptest.Quiet}
	var found []lan.Device
	there := false
	within(cfg, func(cfg lan.FindConfig) bool {
		found, err = lan.Find(t.Context(), cfg)
		there = slices.ContainsFunc(found, func(d lan.Device) bool { return d.ID == lampID && d.Address.Port() == at.Port() })
		return there || err != nil
	})
	if err != nil {
		t.Skip(err) // a machine without a network
	}
	if !there {
		t.Errorf("the lamp is not among %s", foundText(found))
	}
}
