package xmpp

import (
	"fmt"

	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/sasl"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
)

// maxSteps is how many challenges a server may send.
const maxSteps = 3

// login proves who we are, and that the server knows us (RFC 6120, section 6).
func (n *negotiation) login() error {
	state := n.c.tls()
	login := sasl.Login{User: n.cfg.JID.Local(), Password: n.cfg.Password, Keys: n.cfg.Keys, Least: n.cfg.Least, AllowPlain: n.cfg.AllowPlain && state != nil}
	var bindings []sasl.Binding
	if state != nil {
		bindings = sasl.ClientBindings(state)
	}
	c, err := login.Client(n.features.mechanisms, bindings, n.features.bindings)
	if err != nil {
		return err
	}
	n.c.send([]byte("<auth xmlns='" + nsSASL + "' mechanism='" + string(c.Mechanism()) + "'>" + sasl.Encode(c.First()) + "</auth>"))
	for range maxSteps {
		done, err := n.loginStep(c)
		if err != nil {
			return err
		}
		if done {
			n.terms.Mechanism, n.terms.Binding = c.Mechanism(), c.Binding()
			return nil
		}
	}
	return protocolError("goes on asking who we are")
}

func (n *negotiation) loginStep(c *sasl.Client) (done bool, err error) {
	e, err := n.element()
	if err != nil {
		return false, err
	}
	if e.NS != nsSASL {
		return false, protocolError("talks about something else than the login")
	}
	if e.Name == "failure" {
		return false, authError(&e)
	}
	data, err := sasl.Decode(e.Text)
	if err != nil {
		return false, err
	}
	switch e.Name {
	case "success":
		if err := c.Success(data); err != nil {
			return false, err
		}
		if len(n.c.rest) > 0 {
			return false, protocolError("speaks behind its success without being asked") // rule 9
		}
		return true, nil
	case "challenge":
		answer, err := c.Step(data)
		if err != nil {
			n.c.send([]byte("<abort xmlns='" + nsSASL + "'/>"))
			return false, err
		}
		n.c.send([]byte("<response xmlns='" + nsSASL + "'>" + sasl.Encode(answer) + "</response>"))
		return false, nil
	}
	return false, protocolError("says what no login knows")
}

// authError reads a failure (RFC 6120, section 6.4.5).
func authError(e *stanza.Element) *AuthError {
	a := &AuthError{Condition: sasl.NotAuthorized}
	for _, c := range e.Children {
		switch {
		case c.NS != nsSASL:
		case c.Name == "text":
			a.Text = printable(c.Text)
		default:
			a.Condition = printable(c.Name)
		}
	}
	return a
}

// bind asks for the resource (RFC 6120, section 7) and returns the address that
// the server gave.
func (n *negotiation) bind() (jid.JID, error) {
	if !n.features.bind {
		return jid.JID{}, protocolError("offers no resources")
	}
	want := n.cfg.JID
	bind := stanza.Element{NS: nsBind, Name: "bind"}
	if !want.IsBare() {
		bind.Children = []stanza.Element{{NS: nsBind, Name: "resource", Text: want.Resource()}}
	}
	result, err := n.ask(&bind)
	if err != nil {
		return jid.JID{}, fmt.Errorf("bind: %w", err)
	}
	var got jid.JID
	if result != nil && result.NS == nsBind {
		if e := result.Child(nsBind, "jid"); e != nil {
			got, err = jid.Parse(e.Text)
		}
	}
	switch {
	case err != nil || got.IsBare():
		return jid.JID{}, protocolError("binds no address")
	case got.Bare() != want.Bare() || !want.IsBare() && got != want: // RA-063
		return jid.JID{}, fmt.Errorf("%w from %s to %s", ErrRenamed, want, got)
	}
	if n.features.session {
		if _, err := n.ask(&stanza.Element{NS: nsSession, Name: "session"}); err != nil {
			return jid.JID{}, fmt.Errorf("session: %w", err)
		}
	}
	return got, nil
}

// maxStale is how many stanzas may come before the answer to ask.
const maxStale = 256

// ask sends a request that sets something, before there is a session, and
// returns what its result holds. What comes for a session that had the same
// address before is passed over: nobody here has waited for it.
func (n *negotiation) ask(payload *stanza.Element) (*stanza.Element, error) {
	iq := stanza.IQ{ID: newID(), Type: "set", Payload: payload}
	n.c.send(iq.Append(nil))
	for range maxStale {
		it, err := n.read()
		if err != nil {
			return nil, err
		}
		if it.Kind != stream.Stanza || string(it.NS) != stream.NSClient {
			break
		}
		if string(it.Name) != "iq" {
			continue
		}
		answer, err := stanza.ParseIQ(it.Raw)
		switch {
		case err != nil:
			return nil, err
		case answer.ID != iq.ID || answer.IsRequest():
		case answer.Type == "error":
			return nil, answer.Err
		default:
			return answer.Payload, nil
		}
	}
	return nil, protocolError("answers something else")
}
