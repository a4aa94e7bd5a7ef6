package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/coap/coaptest"
	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/reach"
)

const lampID = "0685b960-736f-46f7-bec0-9e6cbd61adc1"

// onLAN serves a host on the local network until the test ends, and returns its
// ports by scheme.
func onLAN(t *testing.T, host *device.Host, owner ownerKey) map[string]uint16 {
	t.Helper()
	type at struct {
		scheme string
		port   uint16
	}
	told := make(chan at, 2)
	m := member{owner: owner, log: coaptest.Quiet, listening: func(scheme string, port uint16) { told <- at{scheme, port} }}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.serveLAN(ctx, host) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	ports := map[string]uint16{}
	for len(ports) < 2 {
		a := <-told
		if ports[a.scheme] = a.port; !owner.known() {
			break
		}
	}
	return ports
}

// RA-011, RA-032, RA-038, RA-041, over CoAP and DTLS: a device with an owner tells
// everybody on the local network what it is and where it answers him, and him
// alone all else.
func TestOwnedOnLAN(t *testing.T) {
	host := device.NewHost(device.Config{ID: lampID, Type: "oic.d.light"})
	var kept rae.Settings
	rae.NewProvisioning(rae.ProvisioningConfig{Host: host, Log: coaptest.Quiet, Keep: func(s rae.Settings) error { kept = s; return nil }})
	ports := onLAN(t, host, ownerKey{Identity: []byte("owner"), Key: "0123456789abcdef"})
	ask := func(scheme, name, key string, op oic.Op, href, body string) string {
		t.Helper()
		var k reach.SharedKey
		if key != "" {
			k.Identity, k.Key = identityOf(name), "0123456789abcdef"
			if key != "right" {
				k.Key = "another key of 16"
			}
		}
		s, err := reach.Direct(t.Context(), reach.Target{URI: fmt.Sprintf("%s://127.0.0.1:%d", scheme, ports[scheme])}, reach.Config{Shared: k, Log: coaptest.Quiet})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		limit := time.Minute
		if key == "wrong" {
			limit = 2 * time.Second // for who is not answered
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		req := &oic.Request{Op: op, Href: href}
		if body != "" {
			if req.Body, err = oic.FromJSON(oic.OCF, []byte(body)); err != nil {
				t.Fatal(err)
			}
			req.Format = oic.OCF
		}
		resp, err := s.Observer().Handle(ctx, req)
		if err != nil {
			return fmt.Sprint(reach.KindOf(err), " ", err)
		}
		text, _ := oic.ToJSON(resp.Format, resp.Body)
		return string(text)
	}
	const login = `{"jid":"ann@home.example","credential":"czNjcmV0IQ"}`
	secured := fmt.Sprintf(`{"ep":"coaps://127.0.0.1:%d"}`, ports["coaps"])
	refused := fmt.Sprint(reach.NotAllowed, " 4.03 Forbidden: only over a secured link: coaps://")
	for _, c := range []struct {
		scheme, name, key string
		op                oic.Op
		href, body        string
		want              string // in the answer
	}{
		{"coap", "", "", oic.Retrieve, "/oic/res?rt=oic.ra.user", "", secured},
		{"coap", "", "", oic.Retrieve, "/oic/d", "", lampID},
		{"coap", "", "", oic.Retrieve, "/oic/p", "", "Farreach"},
		{"coap", "", "", oic.Retrieve, "/oic/res?if=oic.if.b", "", refused},
		{"coap", "", "", oic.Retrieve, "/XMPPUserResURI", "", refused},
		{"coap", "", "", oic.Update, "/XMPPUserResURI", login, refused},
		{"coap", "", "", oic.Retrieve, "/XMPPResURI", "", refused},
		{"coap", "", "", oic.Update, "/XMPPResURI", `{"address":"a","port":1}`, refused},
		{"coap", "", "", oic.Update, "/oic/con", `{"n":"mine"}`, refused},
		{"coaps", "owner", "wrong", oic.Retrieve, "/oic/d", "", fmt.Sprint(reach.Timeout)},
		{"coaps", "neighbor", "right", oic.Retrieve, "/oic/d", "", fmt.Sprint(reach.NotAllowed)},
		{"coaps", "", "", oic.Retrieve, "/oic/d", "", fmt.Sprint(reach.NotAllowed)},
		{"coaps", "owner", "right", oic.Update, "/XMPPUserResURI", `{"jid":"ann@home.example"}`, "4.00 Bad Request"},
		{"coaps", "owner", "right", oic.Retrieve, "/XMPPUserResURI", "", `"jid":""`},
		{"coaps", "owner", "right", oic.Update, "/XMPPUserResURI", login, `"rt":["oic.ra.user"],"jid":"ann@home.example","credential":""}`},
		{"coaps", "owner", "right", oic.Retrieve, "/XMPPUserResURI", "", `"jid":"ann@home.example","credential":""}`},
		{"coaps", "owner", "right", oic.Replace, "/XMPPUserResURI", login, "4.05"},
		{"coaps", "owner", "right", oic.Retrieve, "/XMPPResURI", "", `"status":"NotInitialized","ErrorReason":""}`},
		{"coaps", "owner", "right", oic.Update, "/oic/con", `{"n":"mine"}`, ""},
	} {
		if got := ask(c.scheme, c.name, c.key, c.op, c.href, c.body); !strings.Contains(got, c.want) {
			t.Errorf("%s as %q with the %s key: %v %s: %s, want %s", c.scheme, c.name, c.key, c.op, c.href, got, c.want)
		}
	}
	if kept.Account.String() != "ann@home.example" || kept.Password.Reveal() != "s3cret!" {
		t.Errorf("kept %v", kept)
	}
}

// Without a key of an owner everything is open on the local network, but for what
// only an owner may do.
func TestOpenOnLAN(t *testing.T) {
	host := device.NewHost(device.Config{ID: lampID, Type: "oic.d.light"})
	rae.NewProvisioning(rae.ProvisioningConfig{Host: host, Log: coaptest.Quiet})
	ports := onLAN(t, host, ownerKey{})
	s, err := reach.Direct(t.Context(), reach.Target{URI: fmt.Sprintf("coap://127.0.0.1:%d", ports["coap"])}, reach.Config{Log: coaptest.Quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for href, want := range map[string]string{"/oic/con": "", "/XMPPResURI": "", "/XMPPUserResURI": "4.03 Forbidden: only over a secured link: coaps://"} {
		_, err := s.Observer().Handle(t.Context(), &oic.Request{Href: href})
		if (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("%s: %v, want %q", href, err, want)
		}
	}
}

func TestOwnerKey(t *testing.T) {
	k := ownerKey{Identity: identityOf("uuid:" + lampID), Key: "k"}
	if _, err := k.psk([]byte("owner")); err == nil {
		t.Error("another name has the key")
	}
	if who := k.prove(nil); !who.Anonymous() {
		t.Errorf("nothing proves %+v", who)
	}
	if identityOf("uuid:x") != nil {
		t.Error("uuid:x is a UUID")
	}
}
