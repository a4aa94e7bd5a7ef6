package xmpp

import (
	"strconv"
	"strings"

	"github.com/farreach/farreach/xmpp/sasl"
	"github.com/farreach/farreach/xmpp/sm"
	"github.com/farreach/farreach/xmpp/stanza"
)

// The namespaces of what is negotiated.
const (
	nsTLS     = "urn:ietf:params:xml:ns:xmpp-tls"
	nsSASL    = "urn:ietf:params:xml:ns:xmpp-sasl"
	nsBinding = "urn:xmpp:sasl-cb:0" // XEP-0440
	nsBind    = "urn:ietf:params:xml:ns:xmpp-bind"
	nsSession = "urn:ietf:params:xml:ns:xmpp-session" // RFC 3921, section 3
	nsLimits  = "urn:xmpp:stream-limits:0"            // XEP-0478
)

// features is what a server offers at one point of the negotiation (RFC 6120,
// section 4.3.2).
type features struct {
	tls        bool
	mechanisms []sasl.Mechanism
	bindings   []string // types of channel binding
	bind       bool
	session    bool // wants to be asked for a session, too
	manage     bool // XEP-0198
	limits     Limits
}

// Limits is what a server says that it takes (XEP-0478).
type Limits struct {
	Stanza int // bytes of one stanza; 0: it does not say
	Idle   int // seconds of silence; 0: it does not say
}

// maxNames is how many mechanisms and the like are taken notice of.
const maxNames = 32

func readFeatures(e *stanza.Element) (f features) {
	f.tls = e.Child(nsTLS, "starttls") != nil
	f.bind = e.Child(nsBind, "bind") != nil
	f.manage = e.Child(sm.Namespace, "sm") != nil
	if s := e.Child(nsSession, "session"); s != nil {
		f.session = s.Child(nsSession, "optional") == nil
	}
	for _, name := range names(e.Child(nsSASL, "mechanisms"), nsSASL, "mechanism") {
		f.mechanisms = append(f.mechanisms, sasl.Mechanism(name.Text))
	}
	for _, b := range names(e.Child(nsBinding, "sasl-channel-binding"), nsBinding, "channel-binding") {
		f.bindings = append(f.bindings, b.Attr("type"))
	}
	if l := e.Child(nsLimits, "limits"); l != nil {
		f.limits = Limits{number(l, "max-bytes"), number(l, "idle-seconds")}
	}
	return f
}

// names returns the children of e that are called name.
func names(e *stanza.Element, ns, name string) (list []stanza.Element) {
	if e == nil {
		return nil
	}
	for _, c := range e.Children {
		if c.NS == ns && c.Name == name && len(list) < maxNames {
			list = append(list, c)
		}
	}
	return list
}

// number is the positive number that a child of a limits element holds, else 0.
func number(e *stanza.Element, name string) int {
	c := e.Child(nsLimits, name)
	if c == nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(c.Text), 10, 32)
	if err != nil || n < 0 {
		return 0
	}
	return int(n)
}
