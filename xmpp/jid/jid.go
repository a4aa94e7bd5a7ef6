// Package jid holds XMPP addresses as RFC 7622 defines them.
//
//	" Ann@Home.Example/OIC/1.0/Client/3d2c… "
//	   │      │            └ resource: PRECIS OpaqueString, case kept
//	   │      └ domain: IDNA labels or an IP address, lower case
//	   └ local part: PRECIS UsernameCaseMapped, lower case
//	         │
//	   Parse ▼                               String
//	    JID, prepared: equal by == if the addresses are equal ──▶ "ann@home.example/OIC/1.0/Client/3d2c…"
//
// What is prepared once is compared octet by octet for ever after. Cache
// remembers what it has prepared, for whoever parses the same addresses again
// and again.
package jid

import (
	"fmt"
	"strings"
)

// maxPart is how long each part may be once it is prepared, bytes (RFC 7622,
// sections 3.2 to 3.4).
const maxPart = 1023

// JID is an address: [local@]domain[/resource], each part prepared. The zero
// JID is none. JIDs are equal by == if they address the same entity.
type JID struct {
	s      string
	local  uint16 // length of the local part; 0: none
	domain uint16 // length of the domain
}

// Error says which part of an address is wrong, and why. On a wire it is the
// stanza error jid-malformed (RFC 6120, section 8.3.3.8).
type Error struct {
	Part string // local, domain or resource
	Why  string
}

func (e *Error) Error() string { return fmt.Sprintf("jid: %s part: %s", e.Part, e.Why) }

// Parse takes s apart (RFC 7622, section 3.1: what follows the first slash is
// the resource, what precedes the first @ before it the local part) and
// prepares each part. The error is an *Error.
func Parse(s string) (JID, error) {
	bare, resource, full := strings.Cut(s, "/")
	local, domain, account := strings.Cut(bare, "@")
	switch {
	case !account:
		local, domain = "", bare
	case local == "":
		return JID{}, &Error{"local", "is empty"}
	}
	if full && resource == "" {
		return JID{}, &Error{"resource", "is empty"}
	}
	return New(local, domain, resource)
}

// New prepares the parts of an address. An empty local part or resource is
// none. The error is an *Error.
func New(local, domain, resource string) (JID, error) {
	local, err := prepareLocal(local)
	if err != nil {
		return JID{}, err
	}
	if domain, err = prepareDomain(domain); err != nil {
		return JID{}, err
	}
	if resource, err = prepareResource(resource); err != nil {
		return JID{}, err
	}
	return join(local, domain, resource), nil
}

// join puts prepared parts together.
func join(local, domain, resource string) JID {
	j := JID{local: uint16(len(local)), domain: uint16(len(domain))}
	switch {
	case local == "" && resource == "":
		j.s = domain
	case resource == "":
		j.s = local + "@" + domain
	case local == "":
		j.s = domain + "/" + resource
	default:
		j.s = local + "@" + domain + "/" + resource
	}
	return j
}

// bareLen is the length of local@domain.
func (j JID) bareLen() int {
	if j.local == 0 {
		return int(j.domain)
	}
	return int(j.local) + 1 + int(j.domain)
}

// Local returns the part before the @, "" if there is none.
func (j JID) Local() string { return j.s[:j.local] }

// Domain returns the domain; "" for the zero JID only.
func (j JID) Domain() string {
	n := j.bareLen()
	return j.s[n-int(j.domain) : n]
}

// Resource returns what follows the slash, "" if there is none.
func (j JID) Resource() string {
	if j.IsBare() {
		return ""
	}
	return j.s[j.bareLen()+1:]
}

// Bare returns j without its resource.
func (j JID) Bare() JID {
	j.s = j.s[:j.bareLen()]
	return j
}

// WithResource returns j with another resource; "" is none. The error is an
// *Error.
func (j JID) WithResource(resource string) (JID, error) {
	resource, err := prepareResource(resource)
	if err != nil {
		return JID{}, err
	}
	return join(j.Local(), j.Domain(), resource), nil
}

// IsBare reports whether j has no resource.
func (j JID) IsBare() bool { return len(j.s) == j.bareLen() }

// IsZero reports whether j is no address at all.
func (j JID) IsZero() bool { return j.s == "" }

// String returns the address, "" for the zero JID. Parse makes the same JID of
// it. It is not escaped for XML.
func (j JID) String() string { return j.s }
