package lan_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/simnet"
	"github.com/farreach/farreach/lan"
	"github.com/farreach/farreach/oic"
)

// raw answers /oic/d as a device, and /oic/res with bytes.
func raw(id string, res []byte) oic.Handler {
	return oic.HandlerFunc(func(_ context.Context, req *oic.Request) (*oic.Response, error) {
		if path, _ := oic.SplitHref(req.Href); path == "/oic/res" {
			return &oic.Response{Status: oic.Content, Format: oic.OCF, Body: res}, nil
		}
		b, err := oic.FromJSON(oic.OCF, []byte(`{"di":"`+id+`","n":"liar","rt":["oic.wk.d"]}`))
		return &oic.Response{Status: oic.Content, Format: oic.OCF, Body: b}, err
	})
}

// links are many links as a device lists them.
func links(id string, count int) []byte {
	all := make([]string, count)
	for i := range all {
		all[i] = fmt.Sprintf(`{"di":"%s","href":"/l%d","rt":["x"]}`, id, i)
	}
	b, err := oic.FromJSON(oic.OCF, []byte("["+strings.Join(all, ",")+"]"))
	if err != nil {
		panic(err)
	}
	return b
}

// idOf is the di of a liar.
func idOf(n int) string { return fmt.Sprintf("bad0b960-736f-46f7-bec0-%012x", n) }

// Liars are left alone and logged once; the others are found as if they were
// not there (threats.md 5, numbers 37, 38 and 42).
func TestLiars(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bomb := binary.BigEndian.AppendUint64([]byte{0x9b}, 1<<32) // an array of 4 Gi elements
		n := newNetwork(t, simnet.Config{})
		liars := map[string]oic.Handler{
			"bomb":  raw(idOf(1), bomb),
			"deep":  raw(idOf(2), []byte(strings.Repeat("\x81", 100_000))),
			"links": raw(idOf(3), links(idOf(3), 2048)),
			"many":  raw(idOf(4), links(idOf(4), 513)),
			"format": oic.HandlerFunc(func(context.Context, *oic.Request) (*oic.Response, error) {
				return &oic.Response{Status: oic.Content, Format: oic.Text, Body: []byte("<html>")}, nil
			}),
			"no uuid": answers(oic.OCF, map[string]string{"/oic/d": `{"di":"../../etc"}`, "/oic/res": `[]`}),
		}
		host := 10
		for _, h := range liars {
			n.plug(fmt.Sprintf("10.0.0.%d:40000", host), h)
			host++
		}
		n.plug("10.0.0.2:40002", simulated(t, "lamp", lampID, "lamp"))
		w := n.watch(lan.Config{})
		pass(10 * time.Second)
		w.expect("+lamp")
		pass(time.Hour)
		w.expect()
		if got := w.warned("not a device to be trusted"); got != len(liars) {
			t.Errorf("%d warnings of %d liars:\n%s", got, len(liars), strings.Join(w.log, ""))
		}
	})
}

// Two places claim one di: who was there first is kept as long as it answers,
// and nothing that the other says is believed.
func TestSameID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, simnet.Config{})
		first := n.plug("10.0.0.2:40002", simulated(t, "lamp", lampID, "lamp"))
		w := n.watch(lan.Config{})
		pass(10 * time.Second)
		w.expect("+lamp")
		liar := n.plug("10.0.0.66:40066", answers(oic.OCF, map[string]string{
			"/oic/d":   `{"di":"` + lampID + `","n":"liar"}`,
			"/oic/res": `[{"anchor":"ocf://` + lampID + `","href":"/trap","rt":["x"]}]`}))
		pass(time.Hour)
		w.expect()
		if d := w.device(lampID); d.Address != first.at || len(d.Links) != 5 {
			t.Errorf("the lamp is %+v", d)
		}
		if got := w.warned("two places claim to be one device"); got != 1 {
			t.Errorf("%d warnings", got)
		}
		liar.unplug()
		pass(10 * time.Minute)
		w.expect()
	})
}

// A device with several addresses is one, and that is nothing to warn of.
func TestSeveralAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, simnet.Config{})
		lamp := simulated(t, "lamp", lampID, "lamp")
		first, second := n.plug("10.0.0.2:40002", lamp), n.plug("10.0.0.3:40002", lamp)
		w := n.watch(lan.Config{})
		pass(10 * time.Minute)
		w.expect("+lamp")
		if len(w.log) != 0 {
			t.Errorf("logged %q", w.log)
		}
		for _, u := range []*unit{first, second} {
			if u.at == w.device(lampID).Address {
				u.unplug()
				break
			}
		}
		pass(5 * time.Minute)
		w.expect("~lamp") // at the other
	})
}

// Links that lead to other hosts are left out; those of other devices at the
// same host have us ask there, and nowhere else.
func TestForeignLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // guards asked
		asked := map[netip.AddrPort]bool{}
		n := newNetwork(t, simnet.Config{Filter: func(_, to netip.AddrPort, _ []byte) bool {
			mu.Lock()
			defer mu.Unlock()
			asked[to] = true
			return true
		}})
		n.plug("10.0.0.2:40002", answers(oic.OCF, map[string]string{
			"/oic/d": `{"di":"` + lampID + `","n":"bridge","rt":["oic.d.bridge","oic.wk.d"]}`,
			"/oic/res": `[{"anchor":"ocf://` + lampID + `","href":"/here","rt":["x"]},
				{"anchor":"ocf://` + lampID + `","href":"/there","rt":["x"],"eps":[{"ep":"coap://10.0.0.77:5683"}]},
				{"anchor":"ocf://` + lampID + `","href":"/both","rt":["x"],"eps":[{"ep":"coap://10.0.0.77:5683"},{"ep":"coap://10.0.0.2:40002"},{"ep":"coap://192.168.0.1"}]},
				{"anchor":"ocf://` + idOf(7) + `","href":"/x","rt":["x"],"eps":[{"ep":"coap://10.0.0.78:5683"}]},
				{"anchor":"ocf://` + doorID + `","href":"/a/door","rt":["x"],"eps":[{"ep":"coap://10.0.0.2:40003"}]}]`}))
		n.serve(n.Listen("10.0.0.2:40003"), simulated(t, "door", doorID, "door")) // in no group
		w := n.watch(lan.Config{})
		pass(5 * time.Minute)
		w.expect("+bridge", "+door")
		d := w.device(lampID)
		if len(d.Links) != 2 || d.Links[0].Href != "/here" || d.Links[1].Href != "/both" || len(d.Links[1].Endpoints) != 1 || len(d.Endpoints) != 1 {
			t.Errorf("the links are %+v", d.Links)
		}
		if w.warned("links to other hosts") != 1 {
			t.Error("not one warning")
		}
		w.stop()
		for _, at := range []string{"10.0.0.77:5683", "10.0.0.78:5683", "192.168.0.1:5683"} {
			if asked[netip.MustParseAddrPort(at)] {
				t.Errorf("%s was asked", at)
			}
		}
	})
}

// Answers in the name of others: a forged source has the true owner of the
// address asked, and who answers groups for a device that is unplugged keeps it
// alive for as long as it need not prove itself, and no longer.
func TestForged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, simnet.Config{})
		lamp := n.plug("10.0.0.2:40002", simulated(t, "lamp", lampID, "lamp"))
		forger := n.Listen("10.0.0.66:5683")
		forger.Join(group)
		done := make(chan struct{})
		go func() { // answers every question to the group in the name of the lamp, and of nobody
			defer close(done)
			buf := make([]byte, 2048)
			for {
				size, from, err := forger.ReadFromUDPAddrPort(buf)
				if err != nil {
					return
				}
				var ask coap.Message
				if _, err := ask.Parse(coap.UDP, buf[:size], 2048); err != nil || !ask.Code.IsRequest() {
					continue
				}
				answer := coap.Message{Type: coap.NonConfirmable, Code: coap.Content, ID: ask.ID, Token: ask.Token, Payload: links(lampID, 9)}
				answer.AddUint(coap.ContentFormat, 10000)
				wire, err := answer.Append(coap.UDP, nil)
				if err != nil {
					panic(err)
				}
				forger.Forge(netip.MustParseAddrPort("10.0.0.2:40002"), wire, from)
				forger.Forge(netip.MustParseAddrPort("10.0.0.99:9"), wire, from)
			}
		}()
		defer func() { forger.Close(); <-done }()
		w := n.watch(lan.Config{})
		pass(10 * time.Minute)
		w.expect("+lamp")
		if d := w.device(lampID); len(d.Links) != 5 {
			t.Errorf("the links are %+v", d.Links)
		}
		lamp.unplug()
		pass(7 * time.Minute)
		w.expect("-lamp")
		pass(time.Hour)
		w.expect()
	})
}

// One host that is a thousand devices is not all devices.
func TestCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, simnet.Config{})
		var addresses []string
		for i := range 300 {
			at := fmt.Sprintf("10.0.0.66:%d", 30000+i)
			n.serve(n.Listen(at), raw(idOf(i), links(idOf(i), 1)))
			addresses = append(addresses, at)
		}
		n.plug("10.0.0.2:40002", simulated(t, "lamp", lampID, "lamp"))
		w := n.watch(lan.Config{Addresses: addresses})
		pass(10 * time.Minute)
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.devices) != 256+1 || w.devices[lampID].ID == "" {
			t.Errorf("%d devices", len(w.devices))
		}
	})
}
