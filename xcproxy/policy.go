package xcproxy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
)

// Policy says what of the local network is shown outside: what one of its rules
// allows. An empty one shows nothing (threats rule 3).
type Policy []Rule

// Rule allows what agrees with all that it names; one that names nothing allows
// everything.
type Rule struct {
	Device   string `json:"di,omitempty"`       // "": any
	Type     string `json:"rt,omitempty"`       // of the device, "oic.d.light", or of a resource; "": any
	Href     string `json:"href,omitempty"`     // of a resource; "": any
	ReadOnly bool   `json:"readonly,omitempty"` // it may be read and observed, and no more, unless another rule says so
}

// Everything is the policy that shows all that is ever shown.
func Everything() Policy { return Policy{{}} }

func (p Policy) check() error {
	for i, r := range p {
		if r.Device != "" && (len(r.Device) != 36 || uuid.Validate(r.Device) != nil) {
			return fmt.Errorf("rule %d: %.64q is no device id", i+1, r.Device)
		}
		if r.Href != "" && !strings.HasPrefix(r.Href, "/") {
			return fmt.Errorf("rule %d: %.64q is no path: it begins with /", i+1, r.Href)
		}
	}
	return nil
}

// access is what may be done with a resource.
type access uint8

const (
	hidden access = iota
	readOnly
	readWrite
)

// of is what may be done with a link of a device of these types.
func (p Policy) of(di string, types []string, link *oic.Link) access {
	if isNear(link) {
		return hidden
	}
	best := hidden
	for _, r := range p {
		switch {
		case r.Device != "" && !strings.EqualFold(r.Device, di),
			r.Type != "" && !slices.Contains(types, r.Type) && !slices.Contains(link.Types, r.Type),
			r.Href != "" && r.Href != link.Href:
		case r.ReadOnly:
			best = max(best, readOnly)
		default:
			best = readWrite
		}
	}
	return best
}

// nearTypes are those of resources that are for somebody near only, wherever they
// are: what a device's security, owner and account rest on, by which it is wiped or
// led elsewhere, and what is made of addresses.
var nearTypes = []string{
	"oic.r.doxm", "oic.r.pstat", "oic.r.cred", "oic.r.acl", "oic.r.acl2", "oic.r.amacl", "oic.r.sacl", "oic.r.svc",
	"oic.r.roles", "oic.r.csr", "oic.r.crl", "oic.r.sp", "oic.r.sdi", "oic.r.ael",
	"oic.wk.mnt", "oic.r.coapcloudconf", "oic.ra.user", "oic.ra.xmpp",
	"oic.wk.rd", "oic.wk.introspection",
}

// isNear reports whether a link is never shown, whatever a policy says.
func isNear(link *oic.Link) bool {
	return rae.Guarded(link.Href) || slices.ContainsFunc(link.Types, func(t string) bool { return slices.Contains(nearTypes, t) })
}
