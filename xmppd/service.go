package xmppd

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"strconv"
	"time"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/xmpp/sm"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
)

// The namespaces of what the server itself answers.
const (
	nsInfo    = "http://jabber.org/protocol/disco#info"  // XEP-0030
	nsItems   = "http://jabber.org/protocol/disco#items" // XEP-0030
	nsVersion = "jabber:iq:version"                      // XEP-0092
	nsPing    = "urn:xmpp:ping"                          // XEP-0199
	nsRelays  = "urn:xmpp:extdisco:2"                    // XEP-0215
)

// Relay is a STUN or TURN server that clients are told of (XEP-0215).
type Relay struct {
	Type      string        // stun, turn or turns
	Host      string        // name or address
	Port      int           // 0: 3478
	Transport string        // udp or tcp; "": udp
	Secret    secret.String // shared with a TURN server, from which passwords for a time are made; "": none are
	TTL       time.Duration // of such a password; 0: 1 h
}

// serve answers a request to the server, or to the own account (own).
func (c *conn) serve(it *stream.Item, own bool, x *batch) {
	iq, err := stanza.ParseIQ(it.Raw)
	if err != nil {
		c.refuse(it, x, stanza.BadRequest)
		return
	}
	payload, bad := c.service(&iq, own && !iq.To.IsZero(), x)
	if bad != nil {
		c.refuseWith(it, x, bad)
		return
	}
	answer := iq.Result(payload)
	answer.To = c.session.jid
	if iq.To.IsZero() {
		answer.From = c.session.user.bare
	}
	x.scratch = answer.Append(x.scratch[:0])
	c.answer(x)
}

// service does what a request asks for. account says that it is addressed to
// the own account, not to nobody or the server.
func (c *conn) service(iq *stanza.IQ, account bool, x *batch) (*stanza.Element, *stanza.Error) {
	p := iq.Payload
	switch get := iq.Type == "get"; {
	case p.NS == nsRoster && p.Name == "query" && get && iq.To != c.srv.domain:
		return c.rosterGet(iq)
	case p.NS == nsRoster && p.Name == "query" && iq.To != c.srv.domain:
		return nil, c.rosterSet(iq, x)
	case p.NS == nsInfo && p.Name == "query" && get:
		return c.info(p, account)
	case p.NS == nsItems && p.Name == "query" && get:
		return &stanza.Element{NS: nsItems, Name: "query"}, nil
	case p.NS == nsPing && p.Name == "ping" && get:
		return nil, nil
	case p.NS == nsSession && p.Name == "session" && !get:
		return nil, nil // RFC 3921, section 3: clients of old ask for it
	case p.NS == nsBind:
		return nil, stanza.NewError(stanza.NotAllowed, "one resource for each connection")
	case p.NS == nsVersion && p.Name == "query" && get && !account:
		return c.version(), nil
	case p.NS == nsRelays && p.Name == "services" && get && !account && len(c.srv.cfg.Relays) > 0:
		return c.relays(p.Attr("type")), nil
	}
	return nil, stanza.NewError(stanza.ServiceUnavailable, "")
}

// info says what the server, or the account, is and can do (XEP-0030, section
// 3.1).
func (c *conn) info(p *stanza.Element, account bool) (*stanza.Element, *stanza.Error) {
	if p.Attr("node") != "" {
		return nil, stanza.NewError(stanza.ItemNotFound, "")
	}
	category, kind := "server", "im"
	features := []string{nsInfo, nsItems, nsPing}
	if account {
		category, kind = "account", "registered"
	} else {
		features = append(features, nsVersion, sm.Namespace)
		if len(c.srv.cfg.Relays) > 0 {
			features = append(features, nsRelays)
		}
	}
	e := &stanza.Element{NS: nsInfo, Name: "query", Children: []stanza.Element{{NS: nsInfo, Name: "identity", Attrs: []stanza.Attr{
		{Name: "category", Value: category}, {Name: "type", Value: kind}, {Name: "name", Value: "farreach"},
	}}}}
	for _, f := range features {
		e.Children = append(e.Children, stanza.Element{NS: nsInfo, Name: "feature", Attrs: []stanza.Attr{{Name: "var", Value: f}}})
	}
	return e, nil
}

func (c *conn) version() *stanza.Element {
	e := &stanza.Element{NS: nsVersion, Name: "query", Children: []stanza.Element{{NS: nsVersion, Name: "name", Text: "farreach"}}}
	if v := c.srv.cfg.Version; v != "" {
		e.Children = append(e.Children, stanza.Element{NS: nsVersion, Name: "version", Text: v})
	}
	return e
}

// relays lists the relays of a type, "" for all, with passwords that hold for a
// while.
func (c *conn) relays(typ string) *stanza.Element {
	e := &stanza.Element{NS: nsRelays, Name: "services"}
	if typ != "" {
		e.Attrs = append(e.Attrs, stanza.Attr{Name: "type", Value: typ})
	}
	for _, r := range c.srv.cfg.Relays {
		if typ == "" || typ == r.Type {
			e.Children = append(e.Children, r.element(c.session.user.bare.Local(), time.Now()))
		}
	}
	return e
}

// element is a relay with a password for name, which a TURN server checks
// without asking us: the HMAC of when it ends and whose it is.
func (r *Relay) element(name string, now time.Time) stanza.Element {
	e := stanza.Element{NS: nsRelays, Name: "service", Attrs: []stanza.Attr{
		{Name: "type", Value: r.Type}, {Name: "host", Value: r.Host}, {Name: "port", Value: strconv.Itoa(or(r.Port, 3478))},
		{Name: "transport", Value: or(r.Transport, "udp")},
	}}
	if r.Secret == "" {
		return e
	}
	expires := now.Add(or(r.TTL, time.Hour)).UTC().Truncate(time.Second)
	user := strconv.FormatInt(expires.Unix(), 10) + ":" + name
	mac := hmac.New(sha1.New, []byte(r.Secret.Reveal()))
	mac.Write([]byte(user))
	e.Attrs = append(e.Attrs, stanza.Attr{Name: "restricted", Value: "1"}, stanza.Attr{Name: "username", Value: user},
		stanza.Attr{Name: "password", Value: base64.StdEncoding.EncodeToString(mac.Sum(nil))},
		stanza.Attr{Name: "expires", Value: expires.Format(time.RFC3339)})
	return e
}
