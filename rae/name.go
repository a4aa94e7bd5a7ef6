package rae

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/farreach/farreach/xmpp/jid"
)

// Name is the resource part of an endpoint's full JID (RA-053 to RA-059):
//
//	OIC/1.0/oic.d.light/0685b960-736f-46f7-bec0-9e6cbd61adc1    a server, or both
//	OIC/1.0/Client/3d2c5a10-52a7-4e0f-9c1b-6b2f0a9e7b55         a client
//
// It alone tells what the endpoint is. Names are equal by == if they are the
// same name, whatever the case of a UUID.
type Name struct {
	Major, Minor uint32
	Type         string // device type; "": a client
	ID           string // a UUID in lower case, else a label as it came
}

// maxResource is how long a resource part may be, bytes (RFC 7622, section 3.4).
const maxResource = 1023

const (
	schemeOIC  = "OIC"
	kindClient = "Client"
)

// ServerName is the name of a device with what /oic/d says of it: the first of
// the types rt that begins with "oic.d.", else the first that is not
// "oic.wk.d", else that, and its di, which must be a UUID. Types
// that a name cannot hold are passed over.
func ServerName(rt []string, di string) (Name, error) {
	id, ok := uuid(di)
	if !ok {
		return Name{}, fmt.Errorf("rae: the device id %.64q is no UUID (A-07)", di)
	}
	return Name{Major: 1, Type: pickType(rt), ID: id}, nil
}

// ClientName is the name of a client whose own device id is di.
func ClientName(di string) (Name, error) {
	n, err := ServerName(nil, di)
	n.Type = ""
	return n, err
}

func pickType(rt []string) string {
	const base = "oic.wk.d"
	best := base
	for _, t := range rt {
		switch {
		case !isType(t) || t == kindClient || len(t) > 512:
		case strings.HasPrefix(t, "oic.d."):
			return t
		case best == base:
			best = t
		}
	}
	return best
}

// ParseName reads a resource part. ok is false for all that is not of the
// scheme: it is no OIC device then, and to be ignored.
func ParseName(resource string) (n Name, ok bool) {
	scheme, rest, _ := strings.Cut(resource, "/")
	of, rest, _ := strings.Cut(rest, "/")
	kind, id, _ := strings.Cut(rest, "/")
	if len(resource) > maxResource || scheme != schemeOIC || id == "" || strings.Contains(id, "/") {
		return Name{}, false
	}
	major, minor, ok := strings.Cut(of, ".")
	if !ok || !version(major, &n.Major) || !version(minor, &n.Minor) || !isType(kind) {
		return Name{}, false
	}
	if kind != kindClient {
		n.Type = kind
	}
	n.ID = id
	if id, ok := uuid(n.ID); ok {
		n.ID = id
	}
	return n, true
}

// String is the resource part.
func (n Name) String() string {
	kind := n.Type
	if n.IsClient() {
		kind = kindClient
	}
	return fmt.Sprintf("%s/%d.%d/%s/%s", schemeOIC, n.Major, n.Minor, kind, n.ID)
}

// IsClient reports whether the endpoint is a client and nothing else (RA-058).
func (n Name) IsClient() bool { return n.Type == "" }

// Device is the di, "" if the ID is no UUID: such an endpoint can be shown, but
// is never the subject of an access control entry.
func (n Name) Device() string {
	if _, ok := uuid(n.ID); ok {
		return n.ID
	}
	return ""
}

// Speaks reports whether the endpoint speaks this version; others are only
// listed (RA-059).
func (n Name) Speaks() bool { return n.Major == 1 }

// JID is the full JID of the endpoint in account. The error is a *jid.Error.
func (n Name) JID(account jid.JID) (jid.JID, error) {
	return account.Bare().WithResource(n.String())
}

// version reads the digits of a version.
func version(s string, v *uint32) bool {
	u, err := strconv.ParseUint(s, 10, 32)
	*v = uint32(u)
	return err == nil && s[0] != '+'
}

func isType(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !isLetter(c) && !isDigit(c) && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}

// uuid returns s in lower case if it is a UUID.
func uuid(s string) (string, bool) {
	if len(s) != 36 {
		return "", false
	}
	for i := range len(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (s[i] == '-') || !dash && !isHex(s[i]) {
			return "", false
		}
	}
	return strings.ToLower(s), true
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isHex(c byte) bool    { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }
