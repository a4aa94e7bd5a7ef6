package device

import (
	"context"
	"errors"
	"slices"

	"github.com/farreach/farreach/oic"
)

// Handle answers req.
//
// A request without an interface means the first of the resource. 4.00 refuses
// an interface that the resource does not have, 4.05 a method that the resource
// or the interface does not have, 4.15 and 4.06 formats other than OCF and CBOR.
func (h *Host) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	return h.handle(ctx, req, false)
}

// handle answers req, which came through a cloud or by Remote Access if far.
func (h *Host) handle(ctx context.Context, req *oic.Request, far bool) (*oic.Response, error) {
	resp, err := h.answer(ctx, req, far)
	if err != nil {
		status, diag := oic.StatusOf(err)
		h.log.Debug("request", "op", req.Op, "href", req.Href, "status", status, "diag", diag)
		if status == oic.Internal {
			h.log.Error("request failed inside", "op", req.Op, "href", req.Href, "err", err)
		}
		return nil, err
	}
	h.log.Debug("request", "op", req.Op, "href", req.Href, "status", resp.Status)
	return resp, nil
}

func (h *Host) answer(ctx context.Context, req *oic.Request, far bool) (*oic.Response, error) {
	c, err := h.prepare(req, far)
	if err != nil {
		return nil, err
	}
	if req.Op == oic.Retrieve {
		return c.retrieve(ctx)
	}
	if req.Op != oic.Delete && !cborOrNone(req.Format) {
		return nil, oic.Errorf(oic.BadFormat, "no bodies in %v", req.Format)
	}
	if k, ok := c.e.resource.(*collection); ok && c.iface == oic.IfBatch && req.Op != oic.Delete {
		return c.updateBatch(ctx, k)
	}
	return c.change(ctx)
}

// prepare finds the resource and the interface that req means.
func (h *Host) prepare(req *oic.Request, far bool) (*call, error) {
	path, query := oic.SplitHref(req.Href)
	e, err := h.find(path)
	if err != nil {
		return nil, err
	}
	if far && e.near {
		return nil, oic.Errorf(oic.Forbidden, "%s is for somebody near only", path)
	}
	iface, err := e.view(query)
	if err != nil {
		return nil, err
	}
	if req.Op == oic.Create {
		iface = oic.IfCreate
	}
	if !e.allows(iface, req.Op) {
		return nil, oic.Errorf(oic.MethodNotAllowed, "%s does not take %v", iface, req.Op)
	}
	if !cborOrNone(req.Accept) {
		return nil, oic.Errorf(oic.NotAcceptable, "no answers in %v", req.Accept)
	}
	return &call{h: h, e: e, iface: iface, query: query, req: req, far: far}, nil
}

func cborOrNone(f oic.ContentFormat) bool { return f.IsCBOR() || f == oic.NoFormat }

// call is one request on its way through a resource.
type call struct {
	h     *Host
	e     *entry
	iface string
	query string
	req   *oic.Request
	far   bool // it came through a cloud or by Remote Access
}

// representer is a resource of this package whose representation depends on
// more than the interface. It needs no turn: it locks for itself.
type representer interface {
	represent(ctx context.Context, c *call) ([]byte, error)
}

// errElsewhere is the error of a Retrieve that represent stands for.
var errElsewhere = errors.New("device: represent stands for this Retrieve")

// resource is the one that is asked, as it is for who asks.
func (c *call) resource() Resource {
	if s, ok := c.e.resource.(Selective); ok {
		return s.For(c.req.From, c.far)
	}
	return c.e.resource
}

// format is what the answer is written in: what was asked for, or else what the
// question is written in.
func (c *call) format() oic.ContentFormat {
	if c.req.Accept == oic.CBOR || c.req.Accept == oic.NoFormat && c.req.Format == oic.CBOR {
		return oic.CBOR
	}
	return oic.OCF
}

func (c *call) retrieve(ctx context.Context) (*oic.Response, error) {
	resp := &oic.Response{Status: oic.Content, Format: c.format()}
	if r, ok := c.e.resource.(representer); ok {
		var err error
		if resp.Body, err = r.represent(ctx, c); err != nil {
			return nil, err
		}
		return resp, nil
	}
	err := c.e.call(ctx, func() (err error) {
		rep, err := c.resource().Retrieve(ctx, c.iface)
		if err != nil {
			return err
		}
		resp.Body, err = c.encode(rep)
		return err
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// encode writes a representation as the interface shows it.
func (c *call) encode(rep any) ([]byte, error) {
	if whole, ok := rep.(Complete); ok {
		return oic.Encode(c.format(), whole.Rep)
	}
	b, err := oic.Encode(c.format(), rep)
	if err != nil || c.iface != oic.IfBaseline {
		return b, err
	}
	return oic.Baseline(b, &c.e.link)
}

// change carries out what is not Retrieve.
func (c *call) change(ctx context.Context) (resp *oic.Response, err error) {
	err = c.e.call(ctx, func() error {
		select {
		case <-c.e.gone:
			return oic.Errorf(oic.NotFound, "no resource %s", c.e.link.Href)
		default:
		}
		resp, err = c.apply(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	if c.req.Op == oic.Delete {
		c.h.Remove(c.e.link.Href)
	} else {
		c.h.Changed(c.e.link.Href)
	}
	return resp, nil
}

func (c *call) apply(ctx context.Context) (*oic.Response, error) {
	var rep any
	var err error
	resp := &oic.Response{Status: oic.Changed}
	switch c.req.Op {
	case oic.Update:
		u, ok := c.resource().(Updater)
		if !ok {
			return nil, c.refuse("cannot be changed")
		}
		rep, err = u.Update(ctx, c.iface, c.req.Body)
	case oic.Replace:
		r, ok := c.resource().(Replacer)
		if !ok {
			return nil, c.refuse("cannot be replaced as a whole")
		}
		rep, err = r.Replace(ctx, c.iface, c.req.Body)
	case oic.Create:
		k, ok := c.resource().(Creator)
		if !ok {
			return nil, c.refuse("makes no resources")
		}
		resp.Status = oic.Created
		resp.Location, rep, err = k.Create(ctx, c.req.Body)
	case oic.Delete:
		d, ok := c.resource().(Deleter)
		if !ok {
			return nil, c.refuse("cannot be deleted")
		}
		resp.Status = oic.Deleted
		err = d.Delete(ctx)
	default:
		return nil, c.refuse("does not take " + c.req.Op.String())
	}
	if err != nil || rep == nil {
		return resp, err
	}
	resp.Format = c.format()
	resp.Body, err = c.encode(rep)
	return resp, err
}

func (c *call) refuse(why string) error {
	return oic.Errorf(oic.MethodNotAllowed, "%s %s", c.e.link.Href, why)
}

// view is the interface that a query asks for.
func (e *entry) view(query string) (string, error) {
	iface := ""
	if query != "" {
		iface = oic.QueryValue(query, "if")
	}
	switch {
	case iface == "":
		return e.link.Interfaces[0], nil
	case iface == "oic.if.def": // of the drafts of OIC 1.0
		iface = oic.IfBaseline
	}
	if !slices.Contains(e.link.Interfaces, iface) {
		return "", oic.Errorf(oic.BadRequest, "%s has no interface %.64s", e.link.Href, iface)
	}
	return iface, nil
}

// allows reports whether an interface of the resource has the method for op. The
// two of Remote Access have POST by that of a sensor, as nothing else has: their
// specification knows no other interface (Remote Access, Annex A.1.4 and A.2.4).
func (e *entry) allows(iface string, op oic.Op) bool {
	return allows(iface, op) || iface == oic.IfSensor && op == oic.Update && e.link.Matches([]string{typeRAXMPP, typeRAUser})
}

// allows reports whether an interface has the method for op at all.
func allows(iface string, op oic.Op) bool {
	switch iface {
	case oic.IfLinkList, oic.IfRead, oic.IfSensor:
		return op == oic.Retrieve
	case oic.IfCreate:
		return op == oic.Retrieve || op == oic.Create
	case "oic.if.w":
		return op != oic.Retrieve && op != oic.Create
	}
	return op != oic.Create
}
