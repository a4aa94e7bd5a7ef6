package oiccoap_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/coap/coaptest"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
)

func socket(t *testing.T) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	pc := coaptest.UDP(t)
	return pc, pc.LocalAddr().(*net.UDPAddr).AddrPort()
}

// servingAll answers every peer with h.
func servingAll(h oic.Handler) func(*coap.Peer) coap.Handler {
	return func(*coap.Peer) coap.Handler { return serving(h) }
}

// sends has pushes as the sky, and keeps the last request.
type sends struct {
	*sky
	asked chan oic.Request
}

func (s sends) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	s.asked <- *req
	if req.Href == "/none" {
		return nil, oic.Errorf(oic.NotFound, "no resource %s", req.Href)
	}
	return s.sky.Handle(ctx, req)
}

// Requests, refusals and observations by datagrams are those of a connection.
func TestDatagrams(t *testing.T) {
	pc, at := socket(t)
	far := sends{newSky("/a"), make(chan oic.Request, 1)}
	coaptest.Endpoint(t, pc, coap.EndpointConfig{Accept: servingAll(far)})
	mine, _ := socket(t)
	client := oiccoap.NewClient(coaptest.Endpoint(t, mine, coap.EndpointConfig{}).Peer(at))
	for _, c := range []struct {
		req           oic.Request
		arrives, want string
	}{
		{oic.Request{Href: "/oic/res?rt=x"}, "retrieve /oic/res?rt=x [{coap://" + at.String() + " 0}] true", "2.05 10000 6f6e6365 "},
		{oic.Request{Op: oic.Update, Href: "/a", Format: oic.CBOR, Body: []byte("\xa0")}, "update /a [] true", "2.05 10000 6f6e6365 "},
		{oic.Request{Href: "/none"}, "retrieve /none [] true", "4.04 Not Found: no resource /none"},
	} {
		resp, err := client.Handle(t.Context(), &c.req)
		got := fmt.Sprint(err)
		if err == nil {
			got = respText(resp)
		}
		if got != c.want {
			t.Errorf("%s is answered %s, want %s", c.req.Href, got, c.want)
		}
		r := <-far.asked
		if s := fmt.Sprint(r.Op, " ", r.Href, " ", r.Reached, " ", r.Whole); s != c.arrives || r.Group {
			t.Errorf("arrived: %s\n   want: %s", s, c.arrives)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	seen, ended := make(chan string), make(chan error, 1)
	go func() {
		ended <- client.Observe(ctx, &oic.Request{Href: "/a"}, func(resp *oic.Response) { seen <- string(resp.Body) })
	}()
	for i, want := range []string{"first", "1", "2", "3", "4", "5", "6"} {
		if i > 0 {
			far.pushes["/a"] <- want
		}
		select {
		case got := <-seen:
			if got != want {
				t.Errorf("saw %s, want %s", got, want)
			}
		case err := <-ended:
			t.Fatal(err)
		}
	}
	far.pushes["/a"] <- "!deleted"
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "deleted") {
		t.Errorf("ended with %v", err)
	}
}

// Who is asked as one of many says what he is, to those whom that concerns, and
// does nothing.
func TestMulticast(t *testing.T) {
	group, at := socket(t)
	pc, own := socket(t)
	coaptest.Endpoint(t, pc, coap.EndpointConfig{Leisure: -1, Groups: []*coap.GroupConn{coap.NewGroupConn(group)},
		Accept: servingAll(oic.HandlerFunc(func(_ context.Context, req *oic.Request) (*oic.Response, error) {
			if !req.Group {
				t.Errorf("%s was for a group", req.Href)
			}
			if strings.Contains(req.Href, "rt=") {
				return nil, oic.Errorf(oic.NotFound, "nothing of these types")
			}
			return &oic.Response{Status: oic.Content, Format: oic.OCF, Body: []byte("\x80")}, nil
		}))})
	mine, _ := socket(t)
	asker := coaptest.Endpoint(t, mine, coap.EndpointConfig{})
	for _, c := range []struct {
		name   string
		req    *coap.Message
		answer bool
	}{
		{"what it has", message(coap.GET, "/oic/res"), true},
		{"what it is", message(coap.GET, "/oic/d"), true},
		{"nothing of that type", message(coap.GET, "/oic/res?rt=x"), false},
		{"observed, which is answered once", message(coap.GET, "/oic/res", option(coap.Observe, 0)), true},
		{"a command", message(coap.POST, "/oic/mnt"), false},
		{"a resource", message(coap.GET, "/a/light"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			wait := 200 * time.Millisecond // for nobody
			if c.answer {
				wait = time.Minute
			}
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			defer cancel()
			var answers atomic.Int32
			err := asker.Ask(ctx, []netip.AddrPort{at}, c.req, func(from netip.AddrPort, resp *coap.Message) {
				answers.Add(1)
				if from != own || resp.Code != coap.Content || resp.Options.Has(coap.Observe) {
					t.Errorf("%v answers %v", from, resp)
				}
				cancel()
			})
			n := answers.Load() // one that comes late does not matter
			if err != nil || n > 1 || (n == 1) != c.answer {
				t.Errorf("%d answers, %v", n, err)
			}
		})
	}
}
