// Package rae is OIC over XMPP: a Remote Access Endpoint, which serves a device,
// asks others, or does both, over one stream to any XMPP server.
//
//	            directory ◀── presence
//	                │ is it there?
//	oic.Request ─▶ Remote ─▶ exchange ─▶ Call ─▶ Document ─▶ <rest/> ─▶ xmpp/ibb ─▶ peer
//	oic.Response ◀──┘            └◀── Answer ◀── Document ◀─ Decoder ◀── xmpp/ibb ◀── │
//	                                                                                 ▼
//	oic.Handler ◀── authorize ◀── limits ◀── server ◀── Call ◀── exchange ◀── xmpp/ibb
//
// An Endpoint keeps itself at its server under a Name, which alone tells others
// what it is. Who may ask what of its device is said in one place, authorize. An
// exchange brings a Call to a full address and an Answer back, without policy.
//
// A device learns its server and its account from its owner: Provisioning has the
// resources oic.ra.xmpp and oic.ra.user, and runs an endpoint with what they say.
//
// A Document is one <rest xmlns="rest.oic.org"> as it travels; a Call and an
// Answer are what it means to package oic. Status lines and headers are a
// table: no CoAP code that the table has is lost on the way. What comes in is
// read with tolerance (any case of methods, both forms of status lines, prefixes,
// CDATA, comments, several documents in a block and one over several), and what
// goes out has one form.
package rae

// The names of namespaces. They are compared as opaque text.
const (
	NS     = "rest.oic.org"        // of documents, and the feature that says so
	nsJSON = "urn:xmpp:json:0"     // of a body in JSON (XEP-0335)
	nsData = "urn:x-farreach:ra:0" // of a body in CBOR: our extension
)

// The features that tell of our extensions (section 4.9 of the wire profile).
const (
	featureToken     = "urn:x-farreach:ra:token" // OIC-Token is returned
	featureFragments = "urn:x-farreach:ra:frag"  // OIC-Max-Message counts
	featureCBOR      = "urn:x-farreach:ra:cbor"  // bodies in CBOR are taken
)

// nsGateway is of <gateway di=…> in presence: who speaks for the device.
const nsGateway = "urn:x-farreach:ra:gateway"

// The limits of a document.
const (
	maxDepth    = 16
	maxHeaders  = 64
	maxName     = 64   // name of a header, method; bytes
	maxValue    = 1024 // value of a header, bytes
	maxURL      = 1024 // URL or status line, bytes
	maxDocument = 262144
)
