package device

import (
	"context"
	"slices"

	"github.com/farreach/farreach/oic"
)

// batched is a resource that shows the representations of others with oic.if.b.
type batched interface {
	members(c *call) []member
}

// member is a resource in a batch.
type member struct {
	e    *entry
	href string // as the batch names it
}

// item is one resource in a batch, and how it went. Code is left out after a
// success; a client that does not know it sees a failure by the empty Rep.
type item struct {
	Href string `json:"href"`
	Rep  any    `json:"rep"`
	Code int    `json:"x.farreach.code,omitempty"` // 404
}

// encoded is CBOR that stands in a larger body as it is.
type encoded []byte

// MarshalCBOR returns e.
func (e encoded) MarshalCBOR() ([]byte, error) { return e, nil }

// UnmarshalCBOR keeps a copy of b.
func (e *encoded) UnmarshalCBOR(b []byte) error {
	*e = slices.Clone(b)
	return nil
}

// readMember returns the representation of m by its default interface.
func (c *call) readMember(ctx context.Context, m member) ([]byte, error) {
	one := call{h: c.h, e: m.e, iface: m.e.link.Interfaces[0], req: c.req, far: c.far}
	resp, err := one.retrieve(ctx)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// outcome is the items of a batch with the worst that happened to them. A
// client must not read a failure as that of all.
type outcome struct {
	items []item
	worst oic.Status
}

func (o *outcome) add(href string, rep any, err error) {
	it := item{Href: href, Rep: rep}
	if err != nil {
		status, _ := oic.StatusOf(err)
		o.worst = max(o.worst, status)
		it.Rep, it.Code = struct{}{}, status.Class()*100+int(status&31)
	}
	o.items = append(o.items, it)
}

// encode writes the items. If one has failed, the error has them as its body.
func (o *outcome) encode(f oic.ContentFormat) ([]byte, error) {
	if o.items == nil {
		o.items = []item{}
	}
	body, err := oic.Encode(f, o.items)
	if err != nil || o.worst == 0 {
		return body, err
	}
	return nil, &oic.StatusError{Status: o.worst, Diag: "some of the batch failed", Format: f, Body: body}
}

// readBatch reads all members of a collection.
func (c *call) readBatch(ctx context.Context, k *collection) ([]byte, error) {
	var all outcome
	for _, m := range k.members(c) {
		body, err := c.readMember(ctx, m)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		all.add(m.href, encoded(body), err)
	}
	return all.encode(c.format())
}

// maxBatch is how many updates one request may ask for.
const maxBatch = 1024

// updateBatch carries out the items of a request in their order, each by the
// default interface of its target. An item with an empty href is meant for all
// members; one for a resource that is no member is passed over.
func (c *call) updateBatch(ctx context.Context, k *collection) (*oic.Response, error) {
	var wanted []struct {
		Href string  `json:"href"`
		Rep  encoded `json:"rep"`
	}
	if err := oic.Decode(oic.OCF, c.req.Body, &wanted); err != nil {
		return nil, err
	}
	members := k.members(c)
	if len(wanted) > maxBatch || len(wanted)*len(members) > maxBatch*maxMembers {
		return nil, oic.Errorf(oic.TooLarge, "more than %d updates at once", maxBatch)
	}
	var all outcome
	for _, want := range wanted {
		for _, m := range members {
			if want.Href != "" && want.Href != m.href && want.Href != "ocf://"+c.h.cfg.ID+m.href {
				continue
			}
			if len(all.items) == maxBatch {
				return nil, oic.Errorf(oic.TooLarge, "more than %d updates at once", maxBatch)
			}
			rep, err := c.updateMember(ctx, m, want.Rep)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			all.add(m.href, rep, err)
		}
	}
	body, err := all.encode(c.format())
	if err != nil {
		return nil, err
	}
	return &oic.Response{Status: oic.Changed, Format: c.format(), Body: body}, nil
}

// updateMember updates m with rep, and returns what it is then.
func (c *call) updateMember(ctx context.Context, m member, rep encoded) (any, error) {
	if len(rep) == 0 {
		return nil, oic.Errorf(oic.BadRequest, "no rep")
	}
	req := &oic.Request{Op: c.req.Op, Href: m.e.link.Href, From: c.req.From, Accept: c.format(), Format: c.format(), Body: rep}
	resp, err := c.h.handle(ctx, req, c.far)
	if err != nil {
		return nil, err
	}
	if resp.Body != nil {
		return encoded(resp.Body), nil
	}
	now, err := c.readMember(ctx, m)
	if err != nil {
		return struct{}{}, nil // it was changed all the same
	}
	return encoded(now), nil
}
