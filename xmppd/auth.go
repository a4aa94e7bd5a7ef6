package xmppd

import (
	"context"
	"errors"
	"strconv"

	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/sasl"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
)

// maxFailures is how often a client may fail to log in on one connection.
const maxFailures = 5

// appendMechanisms offers what a client may log in with, and by what it can
// bind that to the channel (XEP-0440).
func (c *conn) appendMechanisms(b []byte) []byte {
	offer := c.newOffer()
	c.setup.offer = offer
	b = append(b, "<mechanisms xmlns='"+nsSASL+"'>"...)
	for _, m := range offer.Mechanisms() {
		b = append(append(append(b, "<mechanism>"...), m...), "</mechanism>"...)
	}
	b = append(b, "</mechanisms>"...)
	if len(offer.Bindings) == 0 {
		return b
	}
	b = append(b, "<sasl-channel-binding xmlns='"+nsCB+"'>"...)
	for _, binding := range offer.Bindings {
		b = append(append(append(b, "<channel-binding type='"...), binding.Type...), "'/>"...)
	}
	return append(b, "</sasl-channel-binding>"...)
}

// appendLimits tells how long a stanza may be, and after which silence the
// server asks for a sign of life (XEP-0478).
func (c *conn) appendLimits(b []byte) []byte {
	b = append(b, "<limits xmlns='"+nsLimits+"'><max-bytes>"...)
	limit := c.srv.cfg.Limits.Stanza
	if c.setup.user.IsZero() {
		limit = stream.BeforeAuth().Stanza
	}
	b = strconv.AppendInt(b, int64(limit), 10)
	return append(b, "</max-bytes></limits>"...)
}

// newOffer returns how a client can log in on this connection.
func (c *conn) newOffer() *sasl.Offer {
	offer := &sasl.Offer{Verifier: c.verifier, Authorize: c.authorize}
	switch {
	case c.srv.cfg.NoBinding:
	case c.sec != nil:
		state := c.sec.State()
		offer.Bindings = sasl.ServerBindings(&state, c.srv.leaf.Load())
	case c.ws != nil && c.ws.TLS() != nil:
		offer.Bindings = sasl.ServerBindings(c.ws.TLS(), nil) // whose certificate it was, the HTTP server knows
	}
	return offer
}

var errThrottled = errors.New("too many failures; try again later")

// verifier begins the log-in of whoever the client says it is. It waits where
// guessing is slowed down.
func (c *conn) verifier(ctx context.Context, m sasl.Mechanism, name string) (sasl.Verifier, error) {
	if j, err := jid.New(name, c.srv.cfg.Domain, ""); err == nil {
		name = j.Local()
	} // else there is no such account, which is not told
	login, err := c.srv.cfg.Accounts.Begin(ctx, peerAddr(c.nc.RemoteAddr()), name)
	if err != nil {
		return sasl.Verifier{}, errThrottled
	}
	c.setup.login = login
	return login.Verifier(m), nil
}

// authorize says whether name may act as authzid: as itself (RFC 6120, section
// 6.3.8).
func (c *conn) authorize(name, authzid string) bool {
	own, err := jid.New(name, c.srv.cfg.Domain, "")
	asked, err2 := jid.Parse(authzid)
	return err == nil && err2 == nil && own == asked && !own.IsZero()
}

// negotiateSASL handles an element of the log-in (RFC 6120, section 6.4).
func (c *conn) negotiateSASL(it *stream.Item, name string, more bool) error {
	s := c.setup
	e, err := stanza.Parse(it.Raw, stream.NSClient)
	if err != nil || s.offer == nil {
		return &stream.Error{Condition: stream.BadFormat}
	}
	switch {
	case name == "auth" && s.exchange == nil:
		if s.exchange, err = s.offer.Start(sasl.Mechanism(e.Attr("mechanism"))); err != nil {
			return c.saslFailed(err)
		}
	case name == "abort" && s.exchange != nil:
		return c.saslFailed(&sasl.Failure{Condition: sasl.Aborted, Why: "aborted by the client"})
	case name != "response" || s.exchange == nil:
		return c.saslFailed(&sasl.Failure{Condition: sasl.MalformedRequest, Why: "out of turn"})
	}
	message, err := sasl.Decode(e.Text)
	if err != nil {
		return c.saslFailed(err)
	}
	ctx, cancel := c.context()
	defer cancel()
	answer, done, err := s.exchange.Step(ctx, message)
	switch {
	case err != nil:
		return c.saslFailed(err)
	case done:
		return c.loggedIn(answer, more)
	}
	c.send([]byte("<challenge xmlns='" + nsSASL + "'>" + sasl.Encode(answer) + "</challenge>"))
	return nil
}

// context ends with the connection.
func (c *conn) context() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	if !c.task(func() {
		select {
		case <-c.done:
		case <-ended:
		}
		cancel()
	}) {
		cancel()
	}
	return ctx, func() { close(ended) }
}

// loggedIn ends a log-in that went well.
func (c *conn) loggedIn(answer []byte, more bool) error {
	s := c.setup
	user, err := jid.New(s.exchange.User(), c.srv.cfg.Domain, "")
	if err != nil || s.login == nil {
		return c.saslFailed(&sasl.Failure{Condition: sasl.NotAuthorized, Why: "no account has that name"})
	}
	s.user, s.pass = user, s.login.Proved(s.exchange.Which())
	s.exchange, s.login, s.offer = nil, nil, nil
	c.srv.Counters.LogIns.Add(1)
	c.srv.log.Debug("xmpp log-in", "account", user.Local(), "remote", c.nc.RemoteAddr())
	c.send([]byte("<success xmlns='" + nsSASL + "'>" + sasl.Encode(answer) + "</success>"))
	c.mustBy(bindTime)
	return c.restart(more)
}

// saslFailed tells the client that the log-in failed. It may try again, but not
// often.
func (c *conn) saslFailed(err error) error {
	s := c.setup
	failure, ok := errors.AsType[*sasl.Failure](err)
	if !ok {
		failure = &sasl.Failure{Condition: sasl.TemporaryAuthFailure, Why: err.Error()}
	}
	claimed := ""
	if s.exchange != nil {
		claimed = s.exchange.Claimed()
	}
	c.srv.log.Warn("xmpp log-in failed", "account", claimed, "remote", c.nc.RemoteAddr(), "condition", failure.Condition, "why", failure.Why)
	c.srv.Counters.LogInsFailed.Add(1)
	c.loginFailed()
	s.exchange = nil
	c.send([]byte("<failure xmlns='" + nsSASL + "'><" + failure.Condition + "/></failure>"))
	if s.failures++; s.failures >= maxFailures {
		return &stream.Error{Condition: stream.PolicyViolation, Text: "too many failures to log in"}
	}
	return nil
}

// loginFailed ends a try that was begun.
func (c *conn) loginFailed() {
	if c.setup.login != nil {
		c.setup.login.Failed()
		c.setup.login = nil
	}
}
