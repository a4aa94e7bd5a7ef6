package rae

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmppd/xmppdtest"
)

// TestBehind: A-06, RA-016: the authority of a URL picks a device behind the one
// that is asked, or itself, and nothing else; rights are the same.
func TestBehind(t *testing.T) {
	door := device.NewHost(device.Config{ID: doorID, Type: "oic.d.door"})
	door.Add(&bulb{on: true})
	rule := func(_ *pair, cfg *Config) {
		cfg.Behind = func(di string) oic.Handler {
			if di == doorID {
				return door
			}
			return nil
		}
	}
	inPair(t, rule, func(p *pair) {
		for url, want := range map[string]string{
			"":                   `2.05 Content {"value":false}`,
			lampID:               `2.05 Content {"value":false}`,
			doorID:               `2.05 Content {"value":true}`,
			phoneID:              "4.04 Not Found: no such device here unknown-device",
			doorID[:35] + "\x00": `2.05 Content {"value":false}`, // no UUID: whoever is asked
		} {
			c := newCall(oic.Retrieve, "/a/light")
			if c.Device = strings.ToUpper(url); strings.Contains(url, "\x00") {
				c.Device = "mydevice"
			}
			if got := p.phone.asks(p.T, p.lamp, c); got != want {
				p.Errorf("%q: %s, want %s", url, got, want)
			}
		}
		for _, href := range []string{"/oic/sec/doxm", "/oic/mnt", "/oic/res?if=oic.if.b"} {
			c := newCall(oic.Retrieve, href)
			c.Device = doorID
			if got, want := p.phone.asks(p.T, p.lamp, c), "4.03 Forbidden: not by remote access, whoever asks acl"; got != want {
				p.Errorf("%s: %s, want %s", href, got, want)
			}
		}
	})
}

// TestWhoAsks: threats rule 1: who asks is what the server stamped, and the
// request cannot say otherwise.
func TestWhoAsks(t *testing.T) {
	var who []oic.Identity
	rule := func(p *pair, cfg *Config) {
		inner := cfg.Device
		cfg.Device = oic.HandlerFunc(func(ctx context.Context, req *oic.Request) (*oic.Response, error) {
			if req.Href == "/a/light" {
				who = append(who, req.From)
			}
			return inner.Handle(ctx, req)
		})
	}
	inPair(t, rule, func(p *pair) {
		c := newCall(oic.Retrieve, "/a/light")
		c.From = oic.Identity{Account: "eve@home.example", Device: doorID, Admin: true, Owner: true}
		p.phone.asks(p.T, p.lamp, c)
		if want := (oic.Identity{Account: "ann@home.example", Device: phoneID}); len(who) != 1 || who[0] != want {
			p.Errorf("%+v, want %+v", who, want)
		}
	})
}

// TestIdentify: RA-057, A-08, A-19: the name is what /oic/d says, in any of its
// forms; without one there is no endpoint.
func TestIdentify(t *testing.T) {
	answer := func(json string) oic.Handler {
		return oic.HandlerFunc(func(context.Context, *oic.Request) (*oic.Response, error) {
			body, err := oic.FromJSON(oic.OCF, []byte(json))
			return &oic.Response{Format: oic.OCF, Body: body}, err
		})
	}
	for want, h := range map[string]oic.Handler{
		"OIC/1.0/oic.d.light/" + lampID:              newLamp().Remote(),
		"OIC/1.0/oic.d.door/" + doorID:               answer(`{"di":"` + strings.ToUpper(doorID) + `","rt":["oic.wk.d","oic.d.door"]}`),
		"OIC/1.0/oic.d.fan/" + doorID:                answer(`{"di":"` + doorID + `","rt":"oic.d.fan"}`),
		"OIC/1.0/oic.wk.d/" + doorID:                 answer(`{"di":"` + doorID + `"}`),
		`! rae: the device id "x" is no UUID (A-07)`: answer(`{"di":"x","rt":["oic.d.door"]}`),
		"! rae: /oic/d: 4.00 Bad Request":            answer(`{"di":1}`),
		"! rae: /oic/d: device offline":              oic.HandlerFunc(func(context.Context, *oic.Request) (*oic.Response, error) { return nil, oic.ErrOffline }),
	} {
		e, err := New(Config{XMPP: xmpp.Config{JID: mustJID(t, "ann@home.example")}, Device: h, Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		name, err := e.identify(t.Context())
		failure, fails := strings.CutPrefix(want, "! ")
		if fails != (err != nil) || fails && !strings.HasPrefix(err.Error(), failure) || !fails && name.String() != want {
			t.Errorf("%s: %v, %v", want, name, err)
		}
	}
}

// TestNoName: a device that cannot say who it is does not run, and says why.
func TestNoName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := xmppdtest.Run(t, xmppdtest.Config{Memory: true})
		e := begin(t, Config{XMPP: srv.Client("ann", ""), Device: oic.HandlerFunc(func(context.Context, *oic.Request) (*oic.Response, error) { return nil, oic.ErrOffline })})
		synctest.Wait()
		if got, want := e.State(), (State{Error, "failed: rae: /oic/d: device offline"}); got != want {
			t.Errorf("%v, want %v", got, want)
		}
		if err := e.stop(); !errors.Is(err, oic.ErrOffline) {
			t.Errorf("Run = %v", err)
		}
	})
}

// TestGuardedRaw: threats rule 4: raw CoAP goes the same way, and its paths are
// options, in which anything can stand.
func TestGuardedRaw(t *testing.T) {
	inPair(t, nil, func(p *pair) {
		peer := joinIoTivity(p.T, p.srv, "ann")
		c := peer.open(p.lampJID(), "5d1f00a7")
		for i, path := range [][]string{{"oic", "sec", "doxm"}, {"OIC", "Sec"}, {"oic/sec/doxm"}, {"", "oic", "", "sec"}, {"oic%2fsec"}, {"oic", "mnt"}, {"oic", "mnt", ""}, {"XMPPUserResURI"}, {`oic\sec`, "doxm"}} {
			m := &coap.Message{Type: coap.NonConfirmable, ID: uint16(i), Code: coap.GET, Token: coap.MakeToken([]byte{byte(i), 1, 2, 3})}
			for _, s := range path {
				m.AddString(coap.URIPath, s)
			}
			peer.say(c, m)
			if got := peer.hear(c).Code; got != coap.Forbidden && got != coap.BadOption && got != coap.BadRequest {
				p.Errorf("%q: %v", path, got)
			}
		}
		peer.say(c, request(coap.NonConfirmable, 99, "abcd", "/a/light"))
		if got := peer.hear(c).Code; got != coap.Content {
			p.Errorf("/a/light: %v", got)
		}
		c.Close()
		peer.ibb.Close()
		peer.s.Close()
	})
}
