package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/xmpp/sasl"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
)

// xmppTarget is a server that is being measured.
type xmppTarget struct {
	addr, domain string
	account      string // "": each pair has one of its own
	secure       bool
	bare         bool // it is a relay: no stream, only TLS
	password     secret.String
	roots        *x509.CertPool // nil: the certificate is of our own child and not looked at
	caFile       string         // of roots; "": they are those of the system
	keys         sasl.Keys
	cpu          func() (time.Duration, error) // processor time that it has used
}

// xmppClient is a client that does as little as it can, the same for every
// server.
type xmppClient struct {
	net.Conn
	scan stream.Scanner
	buf  []byte
	jid  string
	tls  *tls.ConnectionState
}

// patienceXMPP is how long a server may take for one step.
const patienceXMPP = 20 * time.Second

// login connects, logs in as user and binds the resource. from is where it
// seems to come from; nil: from anywhere.
func (s *xmppTarget) login(ctx context.Context, user, resource string, from net.Addr) (_ *xmppClient, err error) {
	d := net.Dialer{LocalAddr: from, Timeout: patienceXMPP}
	nc, err := d.DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return nil, err
	}
	c := &xmppClient{Conn: nc}
	c.SetDeadline(time.Now().Add(patienceXMPP))
	switch {
	case s.bare:
		err = s.shake(ctx, c)
	default:
		if s.account != "" {
			user = s.account
		}
		err = s.negotiate(ctx, c, user, resource)
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("log-in as %s: %w", user, err)
	}
	return c, c.SetDeadline(time.Time{})
}

func (s *xmppTarget) shake(ctx context.Context, c *xmppClient) error {
	cfg := &tls.Config{ServerName: s.domain, RootCAs: s.roots, InsecureSkipVerify: s.roots == nil}
	nc := tls.Client(c.Conn, cfg)
	if err := nc.HandshakeContext(ctx); err != nil {
		return err
	}
	state := nc.ConnectionState()
	c.Conn, c.tls = nc, &state
	return nil
}

func (s *xmppTarget) negotiate(ctx context.Context, c *xmppClient, user, resource string) error {
	features, err := c.open(s.domain)
	if err != nil {
		return err
	}
	if s.secure {
		if err := c.say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"); err != nil {
			return err
		}
		if e, err := c.element(); err != nil || e.Name != "proceed" {
			return fmt.Errorf("starttls: %s, %w", e.Name, err)
		}
		if err := s.shake(ctx, c); err != nil {
			return err
		}
		if features, err = c.open(s.domain); err != nil {
			return err
		}
	}
	if err := s.prove(c, features, user); err != nil {
		return err
	}
	if _, err := c.open(s.domain); err != nil {
		return err
	}
	if err := c.say("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>" + resource + "</resource></bind></iq>"); err != nil {
		return err
	}
	e, err := c.element()
	if err != nil {
		return err
	}
	if e.Attr("type") != "result" || len(e.Children) == 0 || len(e.Children[0].Children) == 0 {
		return errors.New("not bound")
	}
	c.jid = e.Children[0].Children[0].Text
	return nil
}

// prove logs in with SCRAM.
func (s *xmppTarget) prove(c *xmppClient, features stanza.Element, user string) error {
	const ns = "urn:ietf:params:xml:ns:xmpp-sasl"
	var offered []sasl.Mechanism
	if e := features.Child(ns, "mechanisms"); e != nil {
		for _, m := range e.Children {
			offered = append(offered, sasl.Mechanism(m.Text))
		}
	}
	var types []string
	if e := features.Child("urn:xmpp:sasl-cb:0", "sasl-channel-binding"); e != nil {
		for _, b := range e.Children {
			types = append(types, b.Attr("type"))
		}
	}
	var bindings []sasl.Binding
	if c.tls != nil && len(types) > 0 {
		bindings = sasl.ClientBindings(c.tls)
	}
	l := sasl.Login{User: user, Password: s.password, Keys: &s.keys}
	x, err := l.Client(offered, bindings, types)
	if err != nil {
		return err
	}
	text := "<auth xmlns='" + ns + "' mechanism='" + string(x.Mechanism()) + "'>" + sasl.Encode(x.First()) + "</auth>"
	for {
		if err := c.say(text); err != nil {
			return err
		}
		e, err := c.element()
		if err != nil {
			return err
		}
		message, err := sasl.Decode(e.Text)
		switch {
		case err != nil:
			return err
		case e.Name == "success":
			return x.Success(message)
		case e.Name != "challenge":
			return errors.New("the server refuses the password")
		}
		answer, err := x.Step(message)
		if err != nil {
			return err
		}
		text = "<response xmlns='" + ns + "'>" + sasl.Encode(answer) + "</response>"
	}
}

func (c *xmppClient) say(text string) error {
	_, err := c.Write([]byte(text))
	return err
}

// open opens a stream and returns the features.
func (c *xmppClient) open(domain string) (stanza.Element, error) {
	c.scan.Reset()
	c.buf = nil
	h := stream.Header{To: domain, Version: "1.0"}
	if err := c.say(string(h.Append(nil))); err != nil {
		return stanza.Element{}, err
	}
	return c.element()
}

// element returns the next element; a header is none.
func (c *xmppClient) element() (stanza.Element, error) {
	for {
		it, n, err := c.scan.Next(c.buf)
		switch {
		case err == nil:
			raw := bytes.Clone(it.Raw)
			c.buf = c.buf[n:]
			if it.Kind == stream.Stanza {
				return stanza.Parse(raw, stream.NSClient)
			}
			if it.Kind == stream.Closing {
				return stanza.Element{}, errors.New("the server has closed the stream")
			}
			continue
		case err != stream.ErrShort:
			return stanza.Element{}, err
		}
		b := make([]byte, 4096)
		n, err = c.Read(b)
		if c.buf = append(c.buf, b[:n]...); n == 0 && err != nil {
			return stanza.Element{}, err
		}
	}
}
