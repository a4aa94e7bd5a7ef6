package device

import (
	"context"
	"slices"
	"strings"

	"github.com/farreach/farreach/oic"
)

// directory is /oic/res, where a device says what it offers.
type directory struct{ h *Host }

func (d directory) Link() oic.Link {
	return oic.Link{Href: hrefDirectory, Rel: []string{"self"}, Types: []string{"oic.wk.res"},
		Interfaces: []string{oic.IfLinkList, oic.IfBatch, oic.IfBaseline},
		Policy:     oic.Policy{Mask: oic.Discoverable | oic.Observable}}
}

// Retrieve is not called: represent needs more than an interface.
func (d directory) Retrieve(context.Context, string) (any, error) { return nil, errElsewhere }

// represent writes the links, or with oic.if.b what is behind them. rt filters,
// if selects the view, as in OCF; in OIC 1.x it was a filter too. di names the
// device that is meant, where several hear the question.
func (d directory) represent(ctx context.Context, c *call) ([]byte, error) {
	if di := oic.QueryValues(c.query, "di"); len(di) > 0 && !slices.ContainsFunc(di, d.isMe) {
		return nil, oic.Errorf(oic.NotFound, "this is device %s", d.h.cfg.ID)
	}
	if c.iface == oic.IfBatch {
		return d.batch(ctx, c)
	}
	found := d.found(c)
	if len(found) == 0 && c.req.Group {
		return nil, oic.Errorf(oic.NotFound, "nothing of these types") // not heard by who asked
	}
	if c.format() == oic.CBOR {
		return d.nested(c, found)
	}
	links := make([]oic.Link, len(found))
	for i, e := range found {
		links[i] = e.link
		links[i].Anchor = "ocf://" + d.h.cfg.ID
		links[i].Endpoints = c.req.Reached
	}
	if c.iface == oic.IfBaseline {
		return oic.Encode(oic.OCF, []oic.LinkCollection{{Types: c.e.link.Types, Interfaces: c.e.link.Interfaces, Links: links}})
	}
	return oic.Encode(oic.OCF, links)
}

func (d directory) isMe(di string) bool { return strings.EqualFold(di, d.h.cfg.ID) }

// found are the resources that c asks for.
func (d directory) found(c *call) (found []*entry) {
	types := oic.QueryValues(c.query, "rt")
	for _, e := range d.h.entries() {
		if e.link.Policy.Mask&oic.Discoverable != 0 && e.link.Matches(types) && !(c.far && e.near) {
			found = append(found, e)
		}
	}
	return found
}

// nested writes the links in the form of OIC 1.1: one object for the device.
func (d directory) nested(c *call, found []*entry) ([]byte, error) {
	device := struct {
		ID         string   `json:"di"`
		Name       string   `json:"n,omitempty"`
		Types      []string `json:"rt,omitempty"`
		Interfaces []string `json:"if,omitempty"`
		Links      []link11 `json:"links"`
	}{ID: d.h.cfg.ID}
	if c.iface == oic.IfBaseline {
		device.Name, device.Types, device.Interfaces = d.h.Name(), c.e.link.Types, c.e.link.Interfaces
	}
	ports := portsOf(c.req.Reached)
	for _, e := range found {
		p := ports
		p.Mask = e.link.Policy.Mask
		device.Links = append(device.Links, link11{e.link.Href, e.link.Types, e.link.Interfaces, p, e.link.Title})
	}
	return oic.Encode(oic.CBOR, []any{device})
}

// link11 is a link of OIC 1.1, which has ports of the host in place of eps.
type link11 struct {
	Href       string   `json:"href"`
	Types      []string `json:"rt"`
	Interfaces []string `json:"if"`
	Policy     policy11 `json:"p"`
	Title      string   `json:"title,omitempty"`
}

type policy11 struct {
	Mask   uint8  `json:"bm"`
	Secure bool   `json:"sec,omitempty"`
	Port   uint16 `json:"port,omitempty"` // of DTLS
	TCP    uint16 `json:"x.org.iotivity.tcp,omitempty"`
	TLS    uint16 `json:"x.org.iotivity.tls,omitempty"`
}

// portsOf is what the links of OIC 1.1 say of these endpoints. That of plain
// UDP is where the answer comes from.
func portsOf(eps []oic.Endpoint) (p policy11) {
	for _, ep := range eps {
		switch scheme, port := ep.SchemePort(); scheme {
		case "coaps":
			p.Secure, p.Port = true, port
		case "coap+tcp":
			p.TCP = port
		case "coaps+tcp":
			p.Secure, p.TLS = true, port
		}
	}
	return p
}

// members are all resources but this one.
func (d directory) members(c *call) (list []member) {
	for _, e := range d.found(c) {
		if e != c.e {
			list = append(list, member{e, "ocf://" + d.h.cfg.ID + e.link.Href})
		}
	}
	return list
}

// batch writes the representations of all resources but this one. One that
// cannot be read is left out.
func (d directory) batch(ctx context.Context, c *call) ([]byte, error) {
	resp, err := c.differingItems(d)(ctx) // from nothing
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}
