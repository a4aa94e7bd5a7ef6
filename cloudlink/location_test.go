package cloudlink_test

import (
	"context"
	"testing"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
)

// What a device made is at the server where the device is: the Location of the
// answer leads there, by whichever path the device was asked. A Link takes that
// off again.
func TestLocationOfRoutedCreate(t *testing.T) {
	c := newCloud()
	addr := serve(t, cloudlink.ServerConfig{Backend: c}, nil)
	maker := oic.HandlerFunc(func(_ context.Context, req *oic.Request) (*oic.Response, error) {
		if req.Op != oic.Create {
			return nil, oic.Errorf(oic.MethodNotAllowed, "%v", req.Op)
		}
		return &oic.Response{Status: oic.Created, Location: "/things/1?if=oic.if.a"}, nil
	})
	run(t, cloudlink.Config{Servers: []string{"coap+tcp://" + addr}, Handler: maker}).registered(t)
	c.person("fut_1")
	r := dialRaw(t, addr)
	for _, base := range []string{"/" + device1, "/oic/route/" + device1} {
		m := request(t, coap.POST, base+"/things?if=oic.if.create", `{"rep":{}}`)
		m.AddString(65002, "fut_1")
		if got := r.do(m); got.Code != coap.Created || got.Options.Location() != base+"/things/1?if=oic.if.a" {
			t.Errorf("POST to %s: %v at %s", base, got, got.Options.Location())
		}
	}
	d := person(t, c, cloudlink.ServerInfo{URI: "coap+tcp://" + addr}).Device(device1)
	resp, err := d.Handle(t.Context(), &oic.Request{Op: oic.Create, Href: "/things", Format: oic.OCF, Body: []byte("\xa0")})
	if err != nil || resp.Location != "/things/1?if=oic.if.a" {
		t.Errorf("as the device sees it: %+v, %v", resp, err)
	}
}
