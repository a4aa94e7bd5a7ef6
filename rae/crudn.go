package rae

import (
	"strings"

	"github.com/farreach/farreach/oic"
)

// Observe is what a Call asks for beside a representation (RA-079).
type Observe uint8

// What may be asked for.
const (
	NoObserve Observe = iota
	Register
	Cancel
)

// Meta is what goes with requests and answers alike.
type Meta struct {
	Token string // 2 to 16 hexadecimal digits in lower case; "": none

	// Container says that bodies are CBOR as it is, and not JSON: the peer has
	// asked for that, or said that it takes it.
	Container bool

	// ETags are entity tags, 1 to 8 octets each: of an answer one, of a request
	// those that the asker has.
	ETags []string

	MaxMessage int // octets that the sender can put together; 0: one block
}

// Call is a request: what package oic knows of it, and what else travels.
type Call struct {
	oic.Request // From is the caller's business

	// Device is whom the URL names, its di; "": whoever is asked.
	Device string

	Meta
	Observe   Observe
	IfMatch   []string // entity tags; an empty one: whatever there is
	IfNothing bool     // If-None-Match: only if there is nothing yet
}

// Document is c as it travels (D5, D6). Bodies in CBOR are written in JSON unless
// c.Container is set. The error is a *oic.StatusError for a body that cannot be.
func (c *Call) Document() (*Document, error) {
	d := &Document{Method: methodOf(c.Op), URL: []byte(formURL(c.Device, c.Href))}
	d.add(hAccept, mediaType(c.Accept, c.Container))
	if err := d.setBody(c.Format, c.Body, c.Container); err != nil {
		return nil, err
	}
	if c.Accept == oic.OCF || c.Format == oic.OCF {
		d.add(hVersion, version1)
	}
	switch c.Observe {
	case Register:
		d.add(hObserve, "0")
	case Cancel:
		d.add(hObserve, "1")
	}
	d.addTags(hIfMatch, c.IfMatch)
	if c.IfNothing {
		d.add(hIfNoneMatch, "*")
	}
	d.addMeta(&c.Meta)
	return d, nil
}

// ParseCall reads a request, and keeps nothing of d. A body in JSON becomes one
// in CBOR, which is what devices take: OCF if the asker names an OCF-Version,
// else that of OIC 1.x. The answer is wanted in the same.
//
// The error is a *oic.StatusError: 4.05 for a method that is none, 4.00 for a
// URL or a body, 4.15 and 4.06 for types that are not taken.
func ParseCall(d *Document) (*Call, error) {
	c := &Call{Meta: d.meta()}
	var err error
	if c.Device, c.Href, err = parseURL(string(d.URL)); err != nil {
		return nil, err
	}
	if c.Op, err = opOf(d.Method, c.Href); err != nil {
		return nil, err
	}
	native := d.native()
	if c.Format, c.Body, err = d.body(native); err != nil {
		return nil, err
	}
	if c.Accept, c.Container, err = d.accept(native); err != nil {
		return nil, err
	}
	if v := d.value(hObserve); c.Op == oic.Retrieve && string(v) == "0" {
		c.Observe = Register
	} else if c.Op == oic.Retrieve && string(v) == "1" {
		c.Observe = Cancel
	}
	c.IfMatch = d.tags(hIfMatch)
	c.IfNothing = string(d.value(hIfNoneMatch)) == "*"
	return c, nil
}

// methodOf is the method for op; the query makes a difference between Create
// and Update.
func methodOf(op oic.Op) string {
	switch op {
	case oic.Replace:
		return Put
	case oic.Delete:
		return Delete
	case oic.Update, oic.Create:
		return Post
	}
	return Get
}

func opOf(method, href string) (oic.Op, error) {
	switch method {
	case Get:
		return oic.Retrieve, nil
	case Put:
		return oic.Replace, nil
	case Delete:
		return oic.Delete, nil
	case Post:
		_, query := oic.SplitHref(href)
		if oic.QueryValue(query, "if") == oic.IfCreate {
			return oic.Create, nil
		}
		return oic.Update, nil
	}
	return 0, oic.Errorf(oic.MethodNotAllowed, "%.64q is no method (RA-081)", method)
}

// setBody puts body, in f, into d.
func (d *Document) setBody(f oic.ContentFormat, body []byte, container bool) error {
	if len(body) == 0 {
		return nil
	}
	if f == oic.NoFormat {
		f = oic.CBOR
	}
	if container && f.IsCBOR() {
		d.Media, d.Body = Binary, body
		d.add(hContentType, mediaType(f, true))
		return nil
	}
	text, err := oic.ToJSON(f, body)
	if err != nil {
		return err
	}
	d.Media, d.Body = JSON, text
	d.add(hContentType, mediaType(oic.JSON, false))
	return nil
}

// body is that of d in CBOR: in native if it came in JSON.
func (d *Document) body(native oic.ContentFormat) (oic.ContentFormat, []byte, error) {
	if d.Media == NoBody {
		return oic.NoFormat, nil, nil
	}
	name := d.value(hContentType)
	if name == nil {
		name = d.value(hContentEncoding)
	}
	ok, f := name != nil, formatOf(string(name))
	switch {
	case d.Media == JSON && (!ok || f == oic.JSON):
		body, err := oic.FromJSON(native, d.Body)
		return native, body, err
	case d.Media == Binary && !ok:
		return oic.CBOR, d.Body, nil
	case d.Media == Binary && f.IsCBOR():
		return f, d.Body, nil
	}
	return 0, nil, oic.Errorf(oic.BadFormat, "a body of the type %.64q is not taken", name)
}

// accept is the format in which an answer is wanted: the first of those named
// that there is.
func (d *Document) accept(native oic.ContentFormat) (f oic.ContentFormat, container bool, err error) {
	v, ok := d.Header(hAccept)
	if !ok {
		return native, false, nil
	}
	for name := range strings.SplitSeq(v, ",") {
		name = strings.TrimSpace(name)
		switch f := formatOf(name); {
		case f.IsCBOR():
			return f, true, nil
		case f == oic.JSON, strings.HasPrefix(name, "*/*"), strings.HasPrefix(name, "application/*"):
			return native, false, nil
		}
	}
	return 0, false, oic.Errorf(oic.NotAcceptable, "no answers in %.64q", v)
}

// mediaType is the value of Content-Type or Accept for f.
func mediaType(f oic.ContentFormat, container bool) string {
	switch {
	case !container || f == oic.JSON:
		return oic.JSON.String()
	case f == oic.OCF:
		return oic.OCF.String()
	}
	return oic.CBOR.String()
}

// formatOf is the format of a media type, whose parameters do not matter;
// NoFormat for one that is not known.
func formatOf(name string) oic.ContentFormat {
	name, _, _ = strings.Cut(name, ";")
	name = strings.TrimSpace(name)
	for _, f := range [...]oic.ContentFormat{oic.JSON, oic.CBOR, oic.OCF} {
		if strings.EqualFold(name, f.String()) {
			return f
		}
	}
	return oic.NoFormat
}
