package oiccoap

import (
	"unicode/utf8"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
)

// ToRequest returns what m asks for. Its Body is m's Payload; its From is left
// to the caller. Without an Accept option, an answer in the content format of
// the request is asked for.
//
// The error is a *oic.StatusError: 4.05 for a method that OIC does not use,
// 4.02 for a critical option that is not understood, 5.05 for a proxy's work,
// 4.00 for a path that cannot be one of ours, 4.15 and 4.06 for content
// formats other than 60 and 10000, and for a version of the latter before 1.0.
func ToRequest(m *coap.Message) (*oic.Request, error) {
	if m.Options.Has(coap.ProxyURI) || m.Options.Has(coap.ProxyScheme) {
		return nil, oic.Errorf(proxyingNotSupported, "no proxy for other addresses")
	}
	if n, bad := m.Options.Unacceptable(known); bad {
		return nil, oic.Errorf(oic.BadOption, "option %d", n)
	}
	if err := checkPath(m); err != nil {
		return nil, err
	}
	req := &oic.Request{Href: href(m), Body: m.Payload}
	var err error
	if req.Op, err = op(m, req.Href); err != nil {
		return nil, err
	}
	if err := readFormats(m, req); err != nil {
		return nil, err
	}
	return req, nil
}

const proxyingNotSupported = oic.Status(coap.ProxyingNotSupported)

func op(m *coap.Message, href string) (oic.Op, error) {
	switch m.Code {
	case coap.GET:
		return oic.Retrieve, nil
	case coap.PUT:
		return oic.Replace, nil
	case coap.DELETE:
		return oic.Delete, nil
	case coap.POST:
		_, query := oic.SplitHref(href)
		if oic.QueryValue(query, "if") == oic.IfCreate {
			return oic.Create, nil
		}
		return oic.Update, nil
	}
	return 0, oic.Errorf(oic.MethodNotAllowed, "%v is not a method of OIC", m.Code)
}

// method is the CoAP method for op; "if=oic.if.create" makes the difference
// between Create and Update.
func method(op oic.Op) coap.Code {
	switch op {
	case oic.Replace:
		return coap.PUT
	case oic.Delete:
		return coap.DELETE
	case oic.Update, oic.Create:
		return coap.POST
	}
	return coap.GET
}

func href(m *coap.Message) string {
	var buf [128]byte
	b := m.Options.AppendPath(buf[:0])
	if m.Options.Has(coap.URIQuery) {
		n := len(b)
		if b = m.Options.AppendQuery(append(b, '?')); len(b) == n+1 {
			b = b[:n] // nothing but empty options
		}
	}
	return string(b)
}

// checkPath refuses paths that someone on the way could take for another one.
func checkPath(m *coap.Message) error {
	for _, o := range m.Options {
		if o.Number != coap.URIPath {
			continue
		}
		if len(o.Value) == 0 {
			return oic.Errorf(oic.BadRequest, "empty segment in the path")
		}
		if !utf8.Valid(o.Value) {
			return oic.Errorf(oic.BadRequest, "path is not UTF-8")
		}
		for _, c := range o.Value {
			if c < ' ' || c == 0x7f {
				return oic.Errorf(oic.BadRequest, "control character in the path")
			}
		}
	}
	return nil
}

// readFormats fills in Format and Accept.
func readFormats(m *coap.Message, req *oic.Request) error {
	req.Format = format(m, coap.ContentFormat)
	if len(req.Body) == 0 && !req.Format.IsCBOR() {
		req.Format = oic.NoFormat // of nothing
	}
	if !req.Format.IsCBOR() && req.Format != oic.NoFormat {
		return oic.Errorf(oic.BadFormat, "%v is not taken, 60 and 10000 are", req.Format)
	}
	if v, ok := m.Options.Uint(coap.OCFContentFormatVersion); ok && req.Format == oic.OCF && v < version1 {
		return oic.Errorf(oic.BadFormat, "version %d of content-format 10000", v)
	}
	req.Accept = format(m, coap.Accept)
	if req.Accept == oic.NoFormat {
		req.Accept = req.Format
	}
	if !req.Accept.IsCBOR() && req.Accept != oic.NoFormat {
		return oic.Errorf(oic.NotAcceptable, "no answers in %v, only in 60 and 10000", req.Accept)
	}
	if v, ok := m.Options.Uint(coap.OCFAcceptVersion); ok && req.Accept == oic.OCF && v < version1 {
		return oic.Errorf(oic.NotAcceptable, "version %d of content-format 10000", v)
	}
	return nil
}
