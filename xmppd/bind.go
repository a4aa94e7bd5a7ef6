package xmppd

import (
	"time"

	"github.com/farreach/farreach/xmpp/sm"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
)

// bindResource gives the client its full address (RFC 6120, section 7). A
// session that has the same already is ended.
func (c *conn) bindResource(it *stream.Item) error {
	iq, err := stanza.ParseIQ(it.Raw)
	if err != nil || iq.Type != "set" {
		return c.refuseBind(&iq, stanza.NewError(stanza.BadRequest, ""))
	}
	resource := newID()
	if e := iq.Payload.Child(nsBind, "resource"); e != nil && e.Text != "" {
		resource = e.Text
	}
	full, err := c.setup.user.WithResource(resource)
	if err != nil {
		return c.refuseBind(&iq, stanza.NewError(stanza.JIDMalformed, err.Error()))
	}
	if !c.setup.pass.May(full.Resource()) {
		return c.refuseBind(&iq, stanza.NewError(stanza.NotAllowed, "the password is not for this resource"))
	}
	s := &session{srv: c.srv, jid: full, attr: stream.AppendEscaped(nil, full.String()), tasks: c.tasksOf, born: time.Now(), conn: c}
	old, ok := c.srv.registry.add(s, c.srv.cfg.Limits.Sessions)
	if !ok {
		return c.refuseBind(&iq, stanza.NewError(stanza.ResourceConstraint, "too many sessions of this account"))
	}
	if old != nil {
		old.end(errConflict)
	}
	c.srv.Counters.Sessions.Add(1)
	c.user = s.user
	leave, err := c.setup.pass.Enter(func() { s.end(errRevoked) })
	if err != nil || !s.enter(leave) {
		s.end(errRevoked)
		return asStreamError(errRevoked)
	}
	c.bind(s)
	c.srv.log.Info("xmpp session", "jid", full, "remote", c.nc.RemoteAddr())
	bound := stanza.Element{NS: nsBind, Name: "bind", Children: []stanza.Element{{NS: nsBind, Name: "jid", Text: full.String()}}}
	result := iq.Result(&bound)
	c.send(result.Append(nil))
	return nil
}

// enter notes how to leave, and reports whether the session has not ended
// meanwhile.
func (s *session) enter(leave func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		leave()
		return false
	}
	s.leave = leave
	return true
}

func (c *conn) refuseBind(iq *stanza.IQ, why *stanza.Error) error {
	answer := iq.Refuse(why)
	c.send(answer.Append(nil))
	return nil
}

// resume goes on with a session that has lost its connection (XEP-0198, section
// 5).
func (c *conn) resume(it *stream.Item) error {
	e, err := stanza.Parse(it.Raw, stream.NSClient)
	h, ok := sm.ParseH(e.Attr("h"))
	if err != nil || !ok {
		return c.smFailed("bad-request")
	}
	s := c.srv.registry.lost(c.setup.user.Local(), e.Attr("previd"))
	if s == nil || !c.setup.pass.May(s.jid.Resource()) {
		return c.smFailed("item-not-found")
	}
	leave, err := c.setup.pass.Enter(func() { s.end(errRevoked) })
	if err != nil {
		return asStreamError(errRevoked)
	}
	if !s.release() {
		leave()
		return c.smFailed("item-not-found")
	}
	return c.takeOver(s, h, leave)
}

func (c *conn) smFailed(condition string) error {
	c.send([]byte("<failed xmlns='" + sm.Namespace + "'><" + condition + " xmlns='" + stanza.NSErrors + "'/></failed>"))
	return nil
}

// releaseTime is how long a connection may take to let go of its session.
const releaseTime = 5 * time.Second

// release takes a session from the connection that it may still have, of which
// its client knows more than we do. It reports whether it is free.
func (s *session) release() bool {
	s.mu.Lock()
	old := s.conn
	s.conn = nil
	s.mu.Unlock()
	if old == nil {
		return true
	}
	old.conclude(errResumed, &stream.Error{Condition: stream.Conflict, Text: errResumed.Error()})
	timer := time.NewTimer(releaseTime)
	defer timer.Stop()
	select {
	case <-old.over: // it counts no more stanzas
		return true
	case <-timer.C:
		s.end(errSlow)
		return false
	}
}

// takeOver makes c the connection of s, which has none, and sends again what
// the client has not got. From here on s rests on what c logged in with; leave
// is that of Pass.Enter.
func (c *conn) takeOver(s *session, h uint32, leave func()) error {
	s.mu.Lock()
	m := s.managed
	if s.gone || s.conn != nil || m == nil {
		s.mu.Unlock()
		leave()
		return c.smFailed("item-not-found")
	}
	if m.unsent.Ack(h) != nil {
		s.mu.Unlock()
		leave()
		return errHigh
	}
	old := s.leave
	s.leave = leave
	if m.timer != nil {
		m.timer.Stop()
		m.timer = nil
	}
	m.asked = false
	b := append([]byte(nil), "<resumed xmlns='"+sm.Namespace+"' previd='"+m.id+"' h='"...)
	c.queue.Add(append(appendUint(b, m.got.H()), "'/>"...))
	for stanza := range m.unsent.All() {
		c.queue.Add(stanza)
	}
	s.conn = c
	s.mu.Unlock()
	if old != nil {
		old()
	}
	c.srv.registry.join(s.user)
	c.user = s.user
	c.bind(s)
	c.srv.Counters.Resumed.Add(1)
	c.srv.log.Info("xmpp session resumed", "jid", s.jid, "remote", c.nc.RemoteAddr())
	c.queue.Flush()
	return nil
}
