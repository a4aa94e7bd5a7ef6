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
	Addr      string         // host:port that was dialled, or the URI of the WebSocket
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
	if cfg.Inside {
		c.scan.Limits = stream.Limits{}
		return n, nil
	}
	if c.tls() == nil && !cfg.Insecure {
		if err := n.startTLS(); err != nil {
			return nil, err
		}
	}
	if state := c.tls(); state != nil {
		n.terms.TLS = state.Version
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
	c.restart(limits)
	h := stream.Header{To: n.cfg.JID.Domain(), Version: "1.0", Lang: "en"}
	if c.tls() != nil {
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
	n.terms.Limits = n.features.limits // of the last features: what is taken from those who have logged in
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
