package xmppd

import (
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/sm"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
)

// maxID is how long the id of a stanza may be, bytes.
const maxID = 256

// stanza handles one stanza of a client that is bound (RFC 6120, section 10; RFC
// 6121, section 8).
func (c *conn) stanza(it *stream.Item, x *batch) error {
	x.stanzas++
	if string(it.NS) == sm.Namespace {
		return c.manage(it)
	}
	if string(it.NS) != stream.NSClient {
		return &stream.Error{Condition: stream.UnsupportedStanzaType}
	}
	handle := (*conn).message
	switch string(it.Name) {
	case "message":
	case "presence":
		handle = (*conn).presence
	case "iq":
		handle = (*conn).iq
	default:
		return &stream.Error{Condition: stream.UnsupportedStanzaType}
	}
	if m := c.session.managed; m != nil {
		m.got.Add()
	}
	if len(it.ID) > maxID {
		it.ID = nil
		c.refuse(it, x, stanza.BadRequest)
		return nil
	}
	to, err := c.addressee(it)
	if err != nil {
		c.refuse(it, x, stanza.JIDMalformed)
		return nil
	}
	handle(c, it, to, x)
	return nil
}

// addressee is whom the stanza is for, zero if it does not say.
func (c *conn) addressee(it *stream.Item) (jid.JID, error) {
	if it.To == nil {
		return jid.JID{}, nil
	}
	return c.srv.jids.Get(stream.Decode(it.To))
}

// message routes a message (RFC 6121, section 8.5). One that goes to a full
// address is delivered there or nowhere.
func (c *conn) message(it *stream.Item, to jid.JID, x *batch) {
	if to.IsZero() {
		to = c.session.user.bare // RFC 6120, section 10.3.1
	}
	if !c.routable(it, to, x) {
		return
	}
	if !to.IsBare() {
		if t := c.srv.registry.find(to); t == nil || !c.pass(it, t, x) {
			c.refuse(it, x, stanza.ServiceUnavailable)
		}
		return
	}
	c.messageBare(it, to, x)
}

// messageBare routes a message for an account (RFC 6121, section 8.5.2.1.1).
// Nothing is stored for later.
func (c *conn) messageBare(it *stream.Item, to jid.JID, x *batch) {
	typ := string(it.Type)
	ready := c.srv.registry.available(to.Local(), func(s *session) bool { return s.presence.priority >= 0 })
	if typ == "error" || typ == "headline" && len(ready) == 0 {
		return
	}
	if len(ready) == 0 || typ == "groupchat" {
		c.refuse(it, x, stanza.ServiceUnavailable)
		return
	}
	best := ready[0].priorityNow()
	for _, t := range ready[1:] {
		best = max(best, t.priorityNow())
	}
	for _, t := range ready {
		if typ == "headline" || t.priorityNow() == best {
			c.pass(it, t, x)
		}
	}
}

// iq routes a request, or the answer to one (RFC 6121, section 8.5).
func (c *conn) iq(it *stream.Item, to jid.JID, x *batch) {
	request := false
	switch string(it.Type) {
	case "get", "set":
		request = true
	case "result", "error":
	default:
		c.refuse(it, x, stanza.BadRequest)
		return
	}
	own := to.IsZero() || to == c.session.user.bare
	switch {
	case len(it.ID) == 0:
		c.refuse(it, x, stanza.BadRequest)
	case (own || to == c.srv.domain) && request:
		c.serve(it, own, x)
	case own || to == c.srv.domain:
		// the answer to a ping of ours: that it came is enough
	case !c.routable(it, to, x):
	case to.IsBare():
		c.refuse(it, x, stanza.ServiceUnavailable)
	default:
		if t := c.srv.registry.find(to); t == nil || !c.pass(it, t, x) {
			c.refuse(it, x, stanza.ServiceUnavailable)
		}
	}
}

// routable reports whether the client may send to that address. If not, it is
// told the same whether there is somebody or not.
func (c *conn) routable(it *stream.Item, to jid.JID, x *batch) bool {
	switch {
	case to.Domain() != c.srv.domain.Domain():
		c.refuse(it, x, stanza.RemoteServerNotFound)
	case to.Local() == "" || !c.srv.mayMeet(c.session.user.bare, to):
		c.refuse(it, x, stanza.ServiceUnavailable)
	default:
		return true
	}
	return false
}

// mayMeet reports whether an account may send to an address of this domain: to
// itself, and to those with whom it has agreed to see each other (threats
// section 6).
func (s *Server) mayMeet(own, to jid.JID) bool {
	other := to.Bare()
	return own == other || s.rosters.of(own).item(other).Sub == subBoth && s.rosters.of(other).item(own).Sub == subBoth
}

// pass hands a stanza to a session as it was sent, but for whom it is from.
func (c *conn) pass(it *stream.Item, t *session, x *batch) bool {
	x.stamp(it, stream.Stamp{From: c.session.attr, Lang: c.lang})
	wait := patience
	if t == c.session {
		wait = selfPatience
	}
	if !x.deliver(t, wait) {
		return false
	}
	c.srv.Counters.Routed.Add(1)
	return true
}

// refuse tells the client that a stanza did not arrive. Errors and answers are
// not answered (RFC 6120, section 8.3.1).
func (c *conn) refuse(it *stream.Item, x *batch, condition string) {
	c.refuseWith(it, x, stanza.NewError(condition, ""))
}

func (c *conn) refuseWith(it *stream.Item, x *batch, why *stanza.Error) {
	if typ := string(it.Type); typ == "error" || typ == "result" {
		return
	}
	c.srv.Counters.Refused.Add(1)
	from := it.To
	if from == nil || why.Condition == stanza.JIDMalformed {
		from = c.session.user.attr
	}
	x.begin(string(it.Name), "error", from, c.session.attr, it.ID)
	x.scratch = why.Append(x.scratch)
	x.scratch = append(append(append(x.scratch, "</"...), it.Name...), '>')
	c.answer(x)
}

// answer sends the stanza in scratch back to the client, which is not read while
// it does not take it.
func (c *conn) answer(x *batch) { x.deliver(c.session, selfPatience) }
