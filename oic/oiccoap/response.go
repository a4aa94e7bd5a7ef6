package oiccoap

import (
	"bytes"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
)

// Reply answers the request of x: with resp, or if err is not nil with the
// status and the diagnostic of oic.StatusOf. The body goes out in the content
// format of the request if it is CBOR at all.
func Reply(x *coap.Exchange, resp *oic.Response, err error) error {
	m := new(coap.Message)
	w := wishesOf(x.Request())
	w.fill(m, resp, err)
	err = x.Reply(m)
	if errors.Is(err, coap.ErrTooLarge) {
		m.Reset()
		w.fill(m, nil, tooLarge(err))
		return x.Reply(m)
	}
	return err
}

// ToReply is what Reply sends as the answer to req, without a token.
func ToReply(req *coap.Message, resp *oic.Response, err error) *coap.Message {
	m := new(coap.Message)
	w := wishesOf(req)
	w.fill(m, resp, err)
	return m
}

// wishes is what of a request shapes its answer.
type wishes struct {
	code    coap.Code         // of the request
	accept  oic.ContentFormat // 60 or 10000; NoFormat: any
	version bool              // the peer knows option 2053
}

// wishesOf looks at a request. Option 2053 is critical: who has not shown that
// he knows it may drop an answer that has it.
func wishesOf(m *coap.Message) wishes {
	w := wishes{code: m.Code, accept: format(m, coap.Accept)}
	body := format(m, coap.ContentFormat)
	if w.accept == oic.NoFormat {
		w.accept = body
	}
	w.version = w.accept == oic.OCF || body == oic.OCF ||
		m.Options.Has(coap.OCFAcceptVersion) || m.Options.Has(coap.OCFContentFormatVersion)
	return w
}

// fill makes m the answer, but for its token.
func (w wishes) fill(m *coap.Message, resp *oic.Response, err error) {
	if err == nil && resp == nil {
		err = oic.Errorf(oic.Internal, "no answer")
	}
	if err != nil {
		w.refuse(m, err)
		return
	}
	m.Code = coap.Code(resp.Status)
	if m.Code == 0 {
		m.Code = w.success()
	}
	if resp.Location != "" {
		setLocation(m, resp.Location)
	}
	if len(resp.Body) == 0 {
		return
	}
	w.body(m, resp.Format, resp.Body)
}

// refuse makes m a refusal: with a body of its own, or else with a diagnostic.
// Max-Age says when to try again (RFC 7252, section 5.9.3.4; RFC 8516).
func (w wishes) refuse(m *coap.Message, err error) {
	status, diag := oic.StatusOf(err)
	m.Code = coap.Code(status)
	if e, ok := errors.AsType[*oic.StatusError](err); ok {
		if e.Retry > 0 {
			m.AddUint(coap.MaxAge, uint32((e.Retry+time.Second-1)/time.Second))
		}
		if len(e.Body) > 0 {
			w.body(m, e.Format, e.Body)
			return
		}
	}
	m.Payload = []byte(shorten(diag))
}

func (w wishes) body(m *coap.Message, f oic.ContentFormat, body []byte) {
	if f.IsCBOR() && w.accept.IsCBOR() {
		f = w.accept
	}
	setFormat(m, f, w.version)
	m.Payload = body
}

// success is the status of a Response that names none.
func (w wishes) success() coap.Code {
	switch w.code {
	case coap.GET:
		return coap.Content
	case coap.DELETE:
		return coap.Deleted
	}
	return coap.Changed
}

// FromResponse returns what m, the answer of a peer, says. Body is a part of m.
// The error is a *oic.StatusError: the peer's refusal with its diagnostic, or
// 5.02 for an answer that makes no sense.
func FromResponse(m *coap.Message) (*oic.Response, error) {
	if n, bad := m.Options.Unacceptable(known); bad {
		return nil, oic.Errorf(oic.BadGateway, "the answer has option %d, which is not understood", n)
	}
	switch m.Code.Class() {
	case 2:
		if m.Code == coap.Continue {
			return nil, oic.Errorf(oic.BadGateway, "the answer asks for a block behind the last")
		}
	case 4, 5:
		return nil, refusal(m)
	default:
		return nil, oic.Errorf(oic.BadGateway, "the answer has code %v", m.Code)
	}
	return &oic.Response{Status: oic.Status(m.Code), Format: format(m, coap.ContentFormat), Body: m.Payload,
		Location: m.Options.Location()}, nil
}

// refusal is what a peer's error says. It shares nothing with m.
func refusal(m *coap.Message) *oic.StatusError {
	e := &oic.StatusError{Status: oic.Status(m.Code), Diag: diagnostic(m)}
	if age, ok := m.Options.Uint(coap.MaxAge); ok && (e.Status == oic.TooMany || e.Status == oic.Unavailable) {
		e.Retry = time.Duration(age) * time.Second
	}
	if f := format(m, coap.ContentFormat); f.IsCBOR() && len(m.Payload) > 0 {
		e.Format, e.Body = f, bytes.Clone(m.Payload)
	}
	return e
}

// maxDiagnostic is how much of a diagnostic is passed on, in bytes.
const maxDiagnostic = 512

// diagnostic is the text that explains an error (RFC 7252, section 5.5.2). A
// body in a content format of its own is none.
func diagnostic(m *coap.Message) string {
	if f := format(m, coap.ContentFormat); f != oic.NoFormat && f != oic.Text {
		return ""
	}
	if !utf8.Valid(m.Payload) {
		return ""
	}
	printable := bytes.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, m.Payload)
	return shorten(string(printable))
}

// shorten cuts s between two characters.
func shorten(s string) string {
	if len(s) <= maxDiagnostic {
		return s
	}
	n := maxDiagnostic
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// setLocation adds an href as Location-Path and Location-Query.
func setLocation(m *coap.Message, href string) {
	var u coap.Message
	path, query := oic.SplitHref(href)
	u.SetPath(path)
	u.SetQuery(query)
	for _, o := range u.Options {
		switch o.Number {
		case coap.URIPath:
			m.Add(coap.LocationPath, o.Value)
		case coap.URIQuery:
			m.Add(coap.LocationQuery, o.Value)
		}
	}
}
