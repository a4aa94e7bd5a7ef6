package cloudlink_test

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/coap/coaptest"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
	"github.com/farreach/farreach/oic/oictest"
)

// atticLinks are those of a device with one resource, a shelf.
func atticLinks() []oic.Link {
	return []oic.Link{{Href: "/a/blob", Types: []string{"x.blob"}, Interfaces: []string{oic.IfBaseline}, Policy: oic.Policy{Mask: 3}}}
}

// A command, its answer, a representation and a notification of any length up
// to 1 MiB go through the cloud, in both directions and over each transport;
// what is longer is refused at once.
func TestLongBodiesThroughCloud(t *testing.T) {
	overSchemes(t, func(t *testing.T, serve func(cloudlink.ServerConfig) string, trust *tls.Config) {
		c := newCloud()
		uri := serve(cloudlink.ServerConfig{Backend: c})
		run(t, cloudlink.Config{Servers: []string{uri}, TLS: trust, Handler: oictest.NewShelf(nil), Links: atticLinks}).registered(t)
		oictest.LongBodies(t, person(t, c, cloudlink.ServerInfo{URI: uri, TLS: trust}).Device(device1), "/a/blob")
	})
}

// A representation as long as any may be is reported, and so is what comes
// after it.
func TestLongestReport(t *testing.T) {
	c := newCloud()
	uri := "coap+tcp://" + serve(t, cloudlink.ServerConfig{Backend: c}, nil)
	body := []byte{0x90} // an array of 16 byte strings, each as long as one may be, but for the last
	for i := range 16 {
		n := uint16(65_533 - i/15)
		body = append(append(body, 0x59, byte(n>>8), byte(n)), make([]byte, n)...)
	}
	if len(body) != coap.MaxBlockBody {
		t.Fatal(len(body))
	}
	shelf := oictest.NewShelf(body)
	run(t, cloudlink.Config{Servers: []string{uri}, Handler: shelf, Links: atticLinks}).registered(t)
	for range 3 {
		select {
		case <-c.reported:
		case <-time.After(time.Minute):
			t.Fatalf("%d reports", len(c.seen()))
		}
		shelf.Put(body)
	}
}

// Rule 7: whatever is too long for a device whose CSM says nothing of blocks, or
// that sends none, is refused; the device never sees a Block option. Its CSM is
// waited for at the beginning only.
func TestRule7NoBlocksToDevices(t *testing.T) {
	for name, csm := range map[string]*coap.Message{
		"no CSM":                 nil,
		"CSM without Block-Wise": {Code: coap.CSM, Token: coap.TokenFrom(1)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, session, stop := signedIn(t, newCloud())
				defer stop()
				if csm != nil {
					r.send(csm)
				}
				for _, wait := range []time.Duration{5 * time.Second, 0} {
					start := time.Now()
					for _, n := range []int{7000, 100_000} {
						_, err := session.Handle(t.Context(), &oic.Request{Op: oic.Update, Href: "/a", Format: oic.OCF, Body: oictest.Body(n)})
						if status(err) != oic.TooLarge {
							t.Errorf("%d bytes: %v, want 4.13", n, err)
						}
					}
					if took := time.Since(start); took > wait {
						t.Errorf("that took %v", took)
					}
				}
				go session.Handle(t.Context(), &oic.Request{Op: oic.Update, Href: "/a/last", Format: oic.OCF, Body: oictest.Body(3000)})
				m := r.must()
				if m.Options.Path() != "/a/last" || m.Options.Has(coap.Block1) || m.Options.Has(coap.Block2) || len(m.Payload) != 3000 {
					t.Errorf("the device got %v %v", m, m.Options)
				}
			})
		})
	}
}

// Who has not signed in gets no more room in blocks than in one message, and
// none for blocks that it did not announce.
func TestStrangerInBlocks(t *testing.T) {
	addr := serve(t, cloudlink.ServerConfig{Backend: newCloud()}, nil)
	l, err := cloudlink.Connect(t.Context(), cloudlink.ServerInfo{URI: "coap+tcp://" + addr, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = l.Peer().Handle(t.Context(), &oic.Request{Op: oic.Update, Href: "/oic/sec/account", Format: oic.OCF, Body: oictest.Body(20_000)})
	if status(err) != oic.TooLarge {
		t.Errorf("a sign-up of 20,000 bytes: %v, want 4.13", err)
	}
	r := dialRaw(t, addr)
	m := request(t, coap.POST, "/oic/sec/account", "")
	m.AddBlock(coap.Block1, coap.Block{More: true, SZX: 6})
	m.Payload = []byte(strings.Repeat("x", 1024))
	if got := r.do(m); got.Code != coap.BadOption {
		t.Errorf("a block of one who announced none is answered with %v, want 4.02", got)
	}
}

// A token in the request makes room for the whole of it, in blocks.
func TestBearerInBlocks(t *testing.T) {
	c := newCloud()
	uri := "coap+tcp://" + serve(t, cloudlink.ServerConfig{Backend: c}, nil)
	run(t, cloudlink.Config{Servers: []string{uri}, Handler: oictest.NewShelf(nil), Links: atticLinks}).registered(t)
	c.person("fut_1")
	u, err := coap.ParseURI(uri)
	if err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]coap.Code{"fut_1": coap.Changed, "fut_2": coap.RequestEntityTooLarge, "": coap.RequestEntityTooLarge} {
		nc, err := net.Dial("tcp", u.Addr())
		if err != nil {
			t.Fatal(err)
		}
		conn := coaptest.Run(t, coap.Client(nc, coap.Config{BlockWise: true, Log: quiet}))
		m := request(t, coap.POST, "/"+device1+"/a/blob", "")
		oiccoap.SetFormat(m, oic.OCF)
		if m.Payload = oictest.Body(100_000); token != "" {
			m.AddString(65002, token)
		}
		resp, err := conn.Do(t.Context(), m)
		if err != nil || resp.Code != want {
			t.Errorf("100,000 bytes with the token %q: %v, %v, want %v", token, resp, err, want)
		}
	}
}
