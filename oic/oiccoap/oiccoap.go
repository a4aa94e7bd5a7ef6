// Package oiccoap is OIC over CoAP (OCF core, section 12): it turns CoAP's
// messages into oic's requests and back, in both directions on one connection.
//
//	peer ── coap.Conn ──▶ Server.Serve ── ToRequest ──▶ oic.Handler
//	peer ◀── coap.Conn ── Reply ◀───────────────────────────┘
//
//	oic.Request ──▶ Client.Handle ── coap.Conn ──▶ peer
//	oic.Response ◀── FromResponse ◀── coap.Conn ──────┘
//
// A Client is an oic.Observer, so what serves one peer can be what asks another:
// a proxy is a Server whose Handler is a Client.
//
// Bodies pass through untouched. The content formats 60 (OIC 1.x) and 10000
// (OCF) differ in name only, and each peer hears the name that it knows.
package oiccoap

import (
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
)

// version1 is the version of content format 10000 that is sent and the least
// that is taken: OCF 1.0.0, five bits major, five minor, six sub. All later
// releases of OCF use it too.
const version1 = 2048

// SetFormat says that the payload of m is in f, with the version that goes
// with content format 10000.
func SetFormat(m *coap.Message, f oic.ContentFormat) {
	setFormat(m, f, true)
}

// SetAccept asks for an answer in f, with the version that goes with content
// format 10000.
func SetAccept(m *coap.Message, f oic.ContentFormat) {
	setAccept(m, f, true)
}

func setFormat(m *coap.Message, f oic.ContentFormat, version bool) {
	if f == oic.NoFormat {
		return
	}
	m.AddUint(coap.ContentFormat, number(f))
	if f == oic.OCF && version {
		m.AddUint(coap.OCFContentFormatVersion, version1)
	}
}

func setAccept(m *coap.Message, f oic.ContentFormat, version bool) {
	if f == oic.NoFormat {
		return
	}
	m.AddUint(coap.Accept, number(f))
	if f == oic.OCF && version {
		m.AddUint(coap.OCFAcceptVersion, version1)
	}
}

// number is f as CoAP writes it.
func number(f oic.ContentFormat) uint32 {
	if f == oic.Text {
		return 0
	}
	return uint32(f)
}

// format is the value of option n of m, NoFormat if m has none.
func format(m *coap.Message, n coap.Number) oic.ContentFormat {
	switch v, ok := m.Options.Uint(n); {
	case !ok:
		return oic.NoFormat
	case v == 0:
		return oic.Text
	default:
		return oic.ContentFormat(v)
	}
}

// known reports whether the critical option n means something here. Uri-Host
// and Uri-Port do not matter: one connection is one server.
func known(n coap.Number) bool {
	switch n {
	case coap.URIHost, coap.URIPort, coap.URIPath, coap.URIQuery, coap.Accept,
		coap.OCFAcceptVersion, coap.OCFContentFormatVersion:
		return true
	}
	return false
}
