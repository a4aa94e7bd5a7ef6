package rae

import (
	"context"
	"math"
	"net/netip"
	"strings"

	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/oic"
)

// Where the XMPP server of a device is set, and what says how it stands with it
// (Remote Access, section 6.2.2.1 and Annex A.1).
const (
	hrefConf = "/XMPPResURI"
	typeConf = "oic.ra.xmpp"
)

// interfaces of both resources: A-05.
var interfaces = []string{oic.IfSensor, oic.IfWrite, oic.IfBaseline}

// conf is /XMPPResURI, as it is for who asks.
type conf struct {
	p   *Provisioning
	who oic.Identity
	far bool
}

func (r conf) Link() oic.Link {
	return oic.Link{Href: hrefConf, Types: []string{typeConf}, Interfaces: interfaces,
		Policy: oic.Policy{Mask: oic.Discoverable | oic.Observable}}
}

func (r conf) For(who oic.Identity, far bool) device.Resource { return conf{r.p, who, far} }

// common are the properties that every resource has. The specification shows its
// two with rt by oic.if.s, too, and core of its time types rt as a string.
type common struct {
	Types      any      `json:"rt"`
	Interfaces []string `json:"if,omitempty"`
}

func commonOf(rt, iface string, text bool) (c common) {
	if c.Types = []string{rt}; text {
		c.Types = rt
	}
	if iface == oic.IfBaseline {
		c.Interfaces = interfaces
	}
	return c
}

// confRep has the reason under both names that the specification gives it: the
// schema wants ErrorReason, Table 2 has error.
type confRep struct {
	common
	Address string `json:"address"`
	Port    uint16 `json:"port"`
	Status  Status `json:"status"`
	Reason  string `json:"ErrorReason"`
	Error   string `json:"error,omitempty"` // while Status is Error
}

// defaultPort is what is shown of a server that the DNS knows (RFC 6120, section 14.7).
const defaultPort = 5222

// Retrieve is for everybody: who asks from afar is let in before, or not.
func (r conf) Retrieve(_ context.Context, iface string) (any, error) {
	r.p.mu.Lock()
	s, state := r.p.set, r.p.state
	r.p.mu.Unlock()
	rep := confRep{common: commonOf(typeConf, iface, r.byOwnAccount(&s)),
		Address: s.Server.Address, Port: s.Server.Port, Status: state.Status, Reason: state.Reason}
	if rep.Address != "" && rep.Port == 0 {
		rep.Port = defaultPort
	}
	if state.Status == Error {
		rep.Error = state.Reason
	}
	return device.Complete{Rep: rep}, nil
}

// byOwnAccount reports whether the request came by Remote Access from the
// account that the device is on.
func (r conf) byOwnAccount(s *Settings) bool {
	return r.far && !s.Account.IsZero() && r.who.Account == s.Account.String()
}

// Update sets the server. Status and ErrorReason, which cannot be set, are passed
// over, and so is the schema's own slip about them.
func (r conf) Update(ctx context.Context, iface string, rep []byte) (any, error) {
	s, _, _ := r.p.current()
	if !r.byOwnAccount(&s) {
		if r.far {
			return nil, oic.Errorf(oic.Forbidden, "from afar only the account that the device is on may set its server")
		}
		if err := nearOwner(r.who); err != nil {
			return nil, err
		}
	}
	to, err := parseServer(rep)
	if err != nil {
		return nil, err
	}
	r.p.log.Info("XMPP server set", "server", to.String(), "afar", r.far)
	if err := r.p.choose(func(s *Settings) { s.move(to, r.far) }); err != nil {
		return nil, err
	}
	return r.Retrieve(ctx, iface)
}

// nearOwner refuses everybody but the owner of the device over a secured link
// (RA-032, RA-038).
func nearOwner(who oic.Identity) error {
	switch {
	case who.Anonymous():
		return oic.Errorf(oic.Forbidden, "only over a secured link: coaps://")
	case !who.Owner:
		return oic.Errorf(oic.Forbidden, "only for the owner of the device")
	}
	return nil
}

// parseServer reads what a request sets: both properties or nothing (RA-041).
func parseServer(rep []byte) (Server, error) {
	var want struct {
		Address *string  `json:"address"`
		Port    *float64 `json:"port"` // as the schema has it, which lets 1.5 through
	}
	if err := oic.Decode(oic.OCF, rep, &want); err != nil {
		return Server{}, err
	}
	switch {
	case want.Address == nil || want.Port == nil:
		return Server{}, oic.Errorf(oic.BadRequest, "address and port are both needed")
	case !isHost(*want.Address):
		return Server{}, oic.Errorf(oic.BadRequest, "address is neither a DNS name nor an IP address")
	case *want.Port != math.Trunc(*want.Port) || !(*want.Port >= 1 && *want.Port <= math.MaxUint16):
		return Server{}, oic.Errorf(oic.BadRequest, "port is no whole number from 1 to 65535")
	}
	return Server{*want.Address, uint16(*want.Port)}, nil
}

// isHost reports whether s is an IP address, without brackets and zone, or a DNS
// name in ASCII: labels of 1 to 63 letters, digits, hyphens and underscores, the
// last not of digits alone, 253 bytes in all.
func isHost(s string) bool {
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.Zone() == ""
	}
	if len(s) > 253 {
		return false
	}
	labels := strings.Split(strings.TrimSuffix(s, "."), ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' || strings.IndexFunc(l, notInLabel) >= 0 {
			return false
		}
	}
	return strings.Trim(labels[len(labels)-1], "0123456789") != ""
}

func notInLabel(r rune) bool {
	return r >= 0x80 || !isLetter(byte(r)) && !isDigit(byte(r)) && r != '-' && r != '_'
}
