package xmpp

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/sasl"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
)

// negotiation is the way from a connection to a session.
type negotiation struct {
	cfg *Config
	c   *conn

	features features
	terms    Terms
	early    [][]byte // stanzas that came before anybody counted
}

// Terms is what was agreed on with a server.
type Terms struct {
	Mechanism sasl.Mechanism // by which the login was proved
	Binding   string         // type of channel binding, "" for none
	TLS       uint16         // version, such as tls.VersionTLS13; 0: none
	Direct    bool           // TLS from the first byte
	Addr      string         // host:port that was dialled
	Limits    Limits         // what the server takes
	Manage    bool           // stanzas are acknowledged (XEP-0198)
	Resume    time.Duration  // for how long a lost session can be resumed; 0: not at all
}

// negotiate opens a stream and logs in. When it returns, a resource can be
// bound or a session resumed. After an error the caller ends the connection.
func negotiate(ctx context.Context, cfg *Config, c *conn, at target) (*negotiation, error) {
	n := &negotiation{cfg: cfg, c: c, terms: Terms{Addr: at.addr, Direct: at.direct}}
	defer context.AfterFunc(ctx, func() { c.fail(ctx.Err()) })()
	if at.direct {
		if err := c.secure(cfg.tlsConfig(true)); err != nil {
			return nil, err
		}
	}
	c.nc.SetDeadline(time.Now().Add(negotiateTime))
	if err := n.open(stream.BeforeAuth()); err != nil {
		return nil, err
	}
	if c.sec == nil && !cfg.Insecure {
		if err := n.startTLS(); err != nil {
			return nil, err
		}
	}
	if c.sec != nil {
		n.terms.TLS = c.sec.State().Version
	}
	if err := n.login(); err != nil {
		return nil, err
	}
	return n, n.open(stream.Limits{})
}

// open begins a stream, whatever was before it, and reads what the server
// offers.
func (n *negotiation) open(limits stream.Limits) error {
	c := n.c
	c.scan.Reset()
	c.scan.Limits = limits
	h := stream.Header{To: n.cfg.JID.Domain(), Version: "1.0", Lang: "en"}
	if c.sec != nil {
		h.From = n.cfg.JID.Bare().String() // RFC 6120, section 4.7.1: not in clear text
	}
	c.send(h.Append(nil))
	it, err := n.read()
	if err != nil {
		return err
	}
	if it.Kind != stream.Opening {
		return protocolError("answers without a header")
	}
	if err := n.checkHeader(stream.ParseHeader(it.Raw)); err != nil {
		return err
	}
	e, err := n.element()
	if err != nil {
		return err
	}
	if e.NS != stream.NS || e.Name != "features" {
		return protocolError("tells no features")
	}
	n.features = readFeatures(&e)
	return nil
}

func (n *negotiation) checkHeader(h stream.Header) error {
	if h.From != "" {
		if from, err := jid.Parse(h.From); err != nil || from.String() != n.cfg.JID.Domain() {
			return n.complain(stream.InvalidFrom, "another domain than was asked for")
		}
	}
	if !strings.HasPrefix(h.Version, "1.") { // RFC 6120, section 4.7.5
		return n.complain(stream.UnsupportedVersion, "a version that is not 1")
	}
	return nil
}

// complain tells the server what is wrong.
func (n *negotiation) complain(condition, text string) error {
	e := &stream.Error{Condition: condition, Text: text}
	n.c.send(stream.AppendClose(e.Append(nil, false), false))
	return e
}

// read waits for an item that is not white space. A stream error is an error.
func (n *negotiation) read() (stream.Item, error) {
	for spaces := 0; ; {
		it, err := n.c.next()
		switch {
		case err != nil:
			if e, ok := err.(*stream.Error); ok {
				n.c.send(stream.AppendClose(e.Append(nil, false), false))
			}
			return it, err
		case it.Kind == stream.Space:
			if spaces += len(it.Raw); spaces > maxSpace {
				return it, protocolError("sends nothing but white space")
			}
		case it.Kind == stream.Closing:
			return it, ErrEnded
		case isStreamError(&it):
			return it, readStreamError(it.Raw)
		default:
			return it, nil
		}
	}
}

// maxSpace is how much white space a server may send before the login.
const maxSpace = 1024

// element waits for an element.
func (n *negotiation) element() (stanza.Element, error) {
	it, err := n.read()
	if err != nil {
		return stanza.Element{}, err
	}
	if it.Kind != stream.Stanza {
		return stanza.Element{}, protocolError("begins a stream within a stream")
	}
	return stanza.Parse(it.Raw, stream.NSClient)
}

// startTLS asks for TLS in a stream in clear text (RFC 6120, section 5.4).
func (n *negotiation) startTLS() error {
	if !n.features.tls {
		return ErrNoTLS
	}
	n.c.send([]byte("<starttls xmlns='" + nsTLS + "'/>"))
	e, err := n.element()
	switch {
	case err != nil:
		return err
	case e.NS != nsTLS || e.Name != "proceed":
		return fmt.Errorf("%w: it answered STARTTLS with %.32q", ErrNoTLS, e.Name)
	case len(n.c.rest) > 0:
		return ErrClearText
	}
	if err := n.c.secure(n.cfg.tlsConfig(false)); err != nil {
		return err
	}
	n.c.nc.SetDeadline(time.Now().Add(negotiateTime))
	return n.open(stream.BeforeAuth())
}

// maxSteps is how many challenges a server may send.
const maxSteps = 3

// login proves who we are, and that the server knows us (RFC 6120, section 6).
func (n *negotiation) login() error {
	login := sasl.Login{User: n.cfg.JID.Local(), Password: n.cfg.Password, Keys: n.cfg.Keys, Least: n.cfg.Least, AllowPlain: n.cfg.AllowPlain && n.c.sec != nil}
	var bindings []sasl.Binding
	if n.c.sec != nil {
		state := n.c.sec.State()
		bindings = sasl.ClientBindings(&state)
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

// ask sends a request that sets something, before there is a session, and
// returns what its result holds.
func (n *negotiation) ask(payload *stanza.Element) (*stanza.Element, error) {
	iq := stanza.IQ{ID: newID(), Type: "set", Payload: payload}
	n.c.send(iq.Append(nil))
	it, err := n.read()
	if err != nil {
		return nil, err
	}
	if it.Kind != stream.Stanza || string(it.Name) != "iq" || string(it.NS) != stream.NSClient {
		return nil, protocolError("answers something else")
	}
	answer, err := stanza.ParseIQ(it.Raw)
	switch {
	case err != nil:
		return nil, err
	case answer.ID != iq.ID || answer.IsRequest():
		return nil, protocolError("answers something else")
	case answer.Type == "error":
		return nil, answer.Err
	}
	return answer.Payload, nil
}

// isStreamError reports whether an item ends the stream.
func isStreamError(it *stream.Item) bool {
	return it.Kind == stream.Stanza && string(it.Name) == "error" && string(it.NS) == stream.NS
}

// redirect is a stream error that names another host.
type redirect struct {
	err  *stream.Error
	host string // host or host:port, not checked
}

func (e redirect) Error() string { return e.err.Error() }
func (e redirect) Unwrap() error { return e.err }

// readStreamError reads why the server ends the stream.
func readStreamError(raw []byte) error {
	e := stream.ParseError(raw)
	e.Text = printable(e.Text)
	if e.Condition == stream.SeeOtherHost {
		if x, err := stanza.Parse(raw, stream.NSClient); err == nil {
			if c := x.Child(stream.NSErrors, stream.SeeOtherHost); c != nil {
				return redirect{e, c.Text}
			}
		}
	}
	return e
}

// printable is s as it may stand in a log: short, and without control
// characters.
func printable(s string) string {
	if len(s) > 256 {
		s = s[:256]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}

// newID returns an id that nobody guesses: 128 bits and more.
func newID() string { return secret.ID() }
