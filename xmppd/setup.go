package xmppd

import (
	"errors"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/sasl"
	"github.com/farreach/farreach/xmpp/sm"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
	"github.com/farreach/farreach/xmpp/stream/framing"
)

// setup is what a connection needs until it is bound:
//
//	header ─▶ features ─▶ starttls ─▶ header ─▶ features ─▶ auth … success ─▶ header ─▶ features ─▶ bind, or resume
//
// Each header makes the scanner forget what came before (threats rule 9). A
// connection from inside is logged in from the first on (see Inside).
type setup struct {
	headed   bool         // a header came and nothing was restarted since
	offer    *sasl.Offer  // once features offered it
	exchange *sasl.Server // nil: none is under way
	login    LogIn        // of the exchange; nil: the client has not said who it is
	failures int
	user     jid.JID // bare; zero: it has not logged in
	pass     Pass    // by which it did
}

// The namespaces of what is negotiated.
const (
	nsTLS     = "urn:ietf:params:xml:ns:xmpp-tls"
	nsSASL    = "urn:ietf:params:xml:ns:xmpp-sasl"
	nsBind    = "urn:ietf:params:xml:ns:xmpp-bind"
	nsSession = "urn:ietf:params:xml:ns:xmpp-session"
	nsCB      = "urn:xmpp:sasl-cb:0"          // XEP-0440
	nsLimits  = "urn:xmpp:stream-limits:0"    // XEP-0478
	nsVer     = "urn:xmpp:features:rosterver" // RFC 6121, section 2.6.1
)

// newID returns an id that nobody guesses.
func newID() string { return secret.ID() }

// open handles the header of a stream and answers with ours and the features.
func (c *conn) open(it *stream.Item) error {
	h := stream.ParseHeader(it.Raw)
	if err := c.sayHeader(&h); err != nil {
		return err
	}
	if c.setup == nil || c.setup.headed {
		return &stream.Error{Condition: stream.InvalidXML, Text: "a second header"}
	}
	c.setup.headed = true
	c.lang = nil
	if h.Lang != "" {
		c.lang = stream.AppendEscaped(nil, h.Lang)
	}
	c.send(c.features())
	return nil
}

// sayHeader answers a header, also one that is refused (RFC 6120, section
// 4.9.1.2).
func (c *conn) sayHeader(h *stream.Header) error {
	ours := stream.Header{From: c.srv.domain.String(), ID: newID(), Version: "1.0", Lang: "en"}
	if from, err := jid.Parse(h.From); err == nil {
		ours.To = from.String()
	}
	c.mu.Lock()
	c.opened = true
	c.mu.Unlock()
	c.queue.Add(ours.Append(nil))
	to, err := jid.Parse(h.To)
	switch {
	case err != nil || to != c.srv.domain:
		return &stream.Error{Condition: stream.HostUnknown, Text: "not the domain of this server"}
	case h.Version == "" || h.Version[0] == '0':
		return &stream.Error{Condition: stream.UnsupportedVersion, Text: "version 1.0 is wanted"}
	case h.Namespace != stream.NSClient:
		return &stream.Error{Condition: stream.InvalidNamespace, Text: "the default namespace is not jabber:client"}
	}
	return nil
}

// restart makes ready for a new header. Whatever came behind what the restart
// follows was said too early.
func (c *conn) restart(more bool) error {
	if more {
		return &stream.Error{Condition: stream.PolicyViolation, Text: "data before the restart of the stream"}
	}
	c.scan.Reset()
	if c.ws != nil {
		framing.Restart(c.ws)
	}
	c.setup.headed = false
	c.mu.Lock()
	c.opened = false
	c.mu.Unlock()
	return nil
}

// negotiate handles an element before the connection is bound.
func (c *conn) negotiate(it *stream.Item, more bool) error {
	ns, name := string(it.NS), string(it.Name)
	switch {
	case ns == nsTLS && name == "starttls" && c.mayStartTLS():
		return c.startTLS(more)
	case ns == nsTLS:
		c.send(append([]byte(nil), "<failure xmlns='"+nsTLS+"'/>"...))
		return errors.New("TLS where it cannot begin")
	case !c.setup.user.IsZero():
		return c.negotiateBind(it, ns, name)
	case ns == nsSASL && c.mayLogIn():
		return c.negotiateSASL(it, name, more)
	}
	return &stream.Error{Condition: stream.NotAuthorized, Text: "log in first"}
}

// mayLogIn reports whether the connection is fit for logging in. A WebSocket is
// (see WebSockets.ServeHTTP).
func (c *conn) mayLogIn() bool { return c.sec != nil || c.ws != nil || c.srv.cfg.Insecure }

// mayStartTLS reports whether TLS can begin on the connection.
func (c *conn) mayStartTLS() bool {
	return c.sec == nil && c.ws == nil && c.srv.tls != nil && c.setup.user.IsZero()
}

// startTLS goes on with TLS (RFC 6120, section 5.4). What the peer sent behind
// its wish, in clear, ends the connection.
func (c *conn) startTLS(more bool) error {
	if more {
		return &stream.Error{Condition: stream.PolicyViolation, Text: "data behind starttls"}
	}
	c.send([]byte("<proceed xmlns='" + nsTLS + "'/>"))
	if !c.awaitWritten(handshakeTime) {
		return errSlow
	}
	if err := c.restart(false); err != nil {
		return err
	}
	if !c.handshake(c.srv.tls) {
		return c.reason()
	}
	return nil
}

// negotiateBind handles an element of a client that has logged in.
func (c *conn) negotiateBind(it *stream.Item, ns, name string) error {
	switch {
	case ns == sm.Namespace && name == "resume":
		return c.resume(it)
	case ns == sm.Namespace && name == "enable":
		c.send([]byte("<failed xmlns='" + sm.Namespace + "'><unexpected-request xmlns='" + stanza.NSErrors + "'/></failed>"))
		return nil
	case ns == stream.NSClient && name == "iq" && string(it.Child.NS) == nsBind && string(it.Child.Name) == "bind":
		return c.bindResource(it)
	}
	return &stream.Error{Condition: stream.NotAuthorized, Text: "bind a resource first"}
}

// abandonSetup ends what a connection that ends early has begun.
func (c *conn) abandonSetup() {
	if s := c.setup; s != nil && s.login != nil {
		c.loginFailed()
	}
}

// features returns what the client may negotiate next.
func (c *conn) features() []byte {
	b := []byte("<stream:features>")
	switch {
	case !c.setup.user.IsZero():
		b = append(b, "<bind xmlns='"+nsBind+"'/><session xmlns='"+nsSession+"'><optional/></session>"+
			"<ver xmlns='"+nsVer+"'/><sm xmlns='"+sm.Namespace+"'/>"...)
		b = c.appendLimits(b)
	case !c.mayLogIn() || c.mayStartTLS():
		b = append(b, "<starttls xmlns='"+nsTLS+"'>"...)
		if !c.mayLogIn() {
			b = append(b, "<required/>"...)
		}
		b = append(b, "</starttls>"...)
		if c.mayLogIn() {
			b = c.appendMechanisms(b)
		}
	default:
		b = c.appendMechanisms(b)
		b = c.appendLimits(b)
	}
	return append(b, "</stream:features>"...)
}
