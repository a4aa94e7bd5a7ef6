package lan

import (
	"context"
	"unicode/utf8"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
)

// foreign is a CoAP server that knows nothing of OIC, as a device: it is asked
// without the options of OCF, and what is neither CBOR nor JSON, whatever it calls
// that, is a text, or bytes if it cannot be one.
//
//	"Nov 22 09:29:02" ── text/plain, or no format ──▶ the text of CBOR
//	"on"              ◀── text/plain ── the text of CBOR, or of JSON
type foreign struct{ oic.Observer }

// simple asks a peer without what only OCF has.
func simple(p *coap.Peer) oic.Observer {
	c := oiccoap.NewClient(p)
	c.Simplify()
	return c
}

// Handle asks the server.
func (f foreign) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	req, err := simply(req)
	if err != nil {
		return nil, err
	}
	resp, err := f.Observer.Handle(ctx, req)
	if err != nil {
		return nil, err
	}
	return represented(resp)
}

// Observe watches a resource of the server.
func (f foreign) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	req, err := simply(req)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err = f.Observer.Observe(ctx, req, func(resp *oic.Response) {
		told, err := represented(resp)
		if err != nil {
			cancel(err)
			return
		}
		each(told)
	})
	if cause := context.Cause(ctx); cause != nil && cause != ctx.Err() {
		return cause
	}
	return err
}

// simply is req as somebody understands it who does not know OCF: any format is
// welcome, and a text goes as it is.
func simply(req *oic.Request) (*oic.Request, error) {
	r := *req
	r.Accept = oic.NoFormat
	var text any
	if len(r.Body) == 0 {
		return &r, nil
	}
	if err := oic.Decode(formatOf(r.Format), r.Body, &text); err != nil {
		return nil, err
	}
	if s, ok := text.(string); ok {
		r.Format, r.Body = oic.Text, []byte(s)
	}
	return &r, nil
}

// represented is an answer in a form that all understand.
func represented(resp *oic.Response) (*oic.Response, error) {
	if len(resp.Body) == 0 || resp.Format.IsCBOR() || resp.Format == oic.JSON {
		return resp, nil
	}
	var rep any = resp.Body
	if utf8.Valid(resp.Body) {
		rep = string(resp.Body)
	}
	r := *resp
	var err error
	r.Format = oic.OCF
	r.Body, err = oic.Encode(oic.OCF, rep)
	return &r, err
}

// formatOf is the format of a body that names none.
func formatOf(f oic.ContentFormat) oic.ContentFormat {
	if f == oic.NoFormat {
		return oic.CBOR
	}
	return f
}
