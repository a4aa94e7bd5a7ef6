package device

import (
	"context"
	"slices"

	"github.com/farreach/farreach/oic"
)

// The resources of every device (OCF core; their shapes are those of
// iotivity-lite).
const (
	hrefDirectory = "/oic/res"
	hrefInfo      = "/oic/d"
	hrefPlatform  = "/oic/p"
)

// What /oic/d says of the releases of OCF that the device follows.
const (
	specVersion = "ocf.2.2.5"
	dataModels  = "ocf.res.1.3.0,ocf.sh.1.3.0"
)

// directory is /oic/res, where a device says what it offers.
type directory struct{ h *Host }

func (d directory) Link() oic.Link {
	return oic.Link{Href: hrefDirectory, Rel: []string{"self"}, Types: []string{"oic.wk.res"},
		Interfaces: []string{oic.IfLinkList, oic.IfBatch, oic.IfBaseline},
		Policy:     oic.Policy{Mask: oic.Discoverable | oic.Observable}}
}

// Retrieve is not called: list needs more than an interface.
func (d directory) Retrieve(context.Context, string) (any, error) {
	return nil, oic.Errorf(oic.Internal, "not through here")
}

// list writes the links, or with oic.if.b what is behind them. rt filters, if
// selects the view, as in OCF; in OIC 1.x it was a filter too.
func (d directory) list(ctx context.Context, c *call) ([]byte, error) {
	types := oic.QueryValues(c.query, "rt")
	var found []*entry
	for _, e := range d.h.entries() {
		if e.link.Policy.Mask&oic.Discoverable != 0 && e.link.Matches(types) {
			found = append(found, e)
		}
	}
	switch {
	case c.iface == oic.IfBatch:
		return d.batch(ctx, c, found)
	case c.format() == oic.CBOR:
		return d.nested(c, found)
	}
	links := make([]oic.Link, len(found))
	for i, e := range found {
		links[i] = e.link
		links[i].Anchor = "ocf://" + d.h.cfg.ID
	}
	if c.iface == oic.IfBaseline {
		return oic.Encode(oic.OCF, []oic.LinkCollection{{Types: c.e.link.Types, Interfaces: c.e.link.Interfaces, Links: links}})
	}
	return oic.Encode(oic.OCF, links)
}

// nested writes the links in the form of OIC 1.1: one object for the device.
func (d directory) nested(c *call, found []*entry) ([]byte, error) {
	device := struct {
		ID         string     `json:"di"`
		Name       string     `json:"n,omitempty"`
		Types      []string   `json:"rt,omitempty"`
		Interfaces []string   `json:"if,omitempty"`
		Links      []oic.Link `json:"links"`
	}{ID: d.h.cfg.ID}
	if c.iface == oic.IfBaseline {
		device.Name, device.Types, device.Interfaces = d.h.cfg.Name, c.e.link.Types, c.e.link.Interfaces
	}
	for _, e := range found {
		link := e.link
		link.Rel = nil
		device.Links = append(device.Links, link)
	}
	return oic.Encode(oic.CBOR, []any{device})
}

// item is one resource in a batch.
type item struct {
	Href string `json:"href"`
	Rep  any    `json:"rep"`
}

// batch writes the representations of all resources but this one. One that
// cannot be read is left out.
func (d directory) batch(ctx context.Context, c *call, found []*entry) ([]byte, error) {
	items := []item{}
	for _, e := range found {
		if e == c.e {
			continue
		}
		one := call{h: c.h, e: e, iface: e.link.Interfaces[0], req: c.req}
		resp, err := one.retrieve(ctx)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			continue
		}
		items = append(items, item{Href: "ocf://" + d.h.cfg.ID + e.link.Href, Rep: encoded(resp.Body)})
	}
	return oic.Encode(c.format(), items)
}

// encoded is CBOR that is to stand in a larger body as it is.
type encoded []byte

// MarshalCBOR returns e.
func (e encoded) MarshalCBOR() ([]byte, error) { return e, nil }

// info is /oic/d, which says what the device is.
type info struct{ h *Host }

func (r info) Link() oic.Link {
	types := []string{"oic.wk.d"}
	if r.h.cfg.Type != "" {
		types = slices.Insert(types, 0, r.h.cfg.Type)
	}
	return coreLink(hrefInfo, types...)
}

func (r info) Retrieve(context.Context, string) (any, error) {
	return struct {
		ID        string `json:"di"`
		Name      string `json:"n"`
		Spec      string `json:"icv"`
		Models    string `json:"dmv"`
		Permanent string `json:"piid"`
	}{r.h.cfg.ID, r.h.cfg.Name, specVersion, dataModels, r.h.cfg.Permanent}, nil
}

// platform is /oic/p, which says what the device is built on.
type platform struct{ h *Host }

func (r platform) Link() oic.Link { return coreLink(hrefPlatform, "oic.wk.p") }

func (r platform) Retrieve(context.Context, string) (any, error) {
	return struct {
		ID           string `json:"pi"`
		Manufacturer string `json:"mnmn"`
		Model        string `json:"mnmo,omitempty"`
	}{r.h.cfg.Platform, r.h.cfg.Manufacturer, r.h.cfg.Model}, nil
}

func coreLink(href string, types ...string) oic.Link {
	return oic.Link{Href: href, Types: types, Interfaces: []string{oic.IfRead, oic.IfBaseline},
		Policy: oic.Policy{Mask: oic.Discoverable}}
}
