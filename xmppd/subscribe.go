package xmppd

import (
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
)

// subscription handles the client's part in agreeing who sees whom (RFC 6121,
// section 3). Both rosters are here, so both halves of appendix A happen at
// once: first that of the sender, then that of the contact.
//
//	ann ── subscribe ──▶ ann's roster: asked ──▶ bob's: pending ──▶ bob's sessions
//	bob ── subscribed ─▶ bob's roster: from ──▶ ann's: to ──▶ ann's sessions, who see bob now
func (c *conn) subscription(it *stream.Item, typ string, contact jid.JID, x *batch) {
	own := c.session.user.bare
	contact = contact.Bare()
	switch {
	case contact.IsZero() || contact == own:
		c.refuse(it, x, stanza.BadRequest)
		return
	case contact.Domain() != c.srv.domain.Domain():
		c.refuse(it, x, stanza.RemoteServerNotFound)
		return
	case contact.Local() == "":
		c.refuse(it, x, stanza.ServiceUnavailable)
		return
	}
	if err := c.srv.subscribe(x, typ, own, contact); err != nil {
		c.refuseWith(it, x, err)
	}
}

// subscribe does what a subscription stanza of that type, from own to contact,
// brings about.
func (s *Server) subscribe(x *batch, typ string, own, contact jid.JID) *stanza.Error {
	switch typ {
	case "subscribe":
		return s.ask(x, own, contact)
	case "subscribed":
		return s.allow(x, own, contact)
	case "unsubscribe":
		return s.unfollow(x, own, contact)
	}
	return s.forbid(x, own, contact)
}

// ask asks contact whether own may see it. A contact that does not exist never
// answers.
func (s *Server) ask(x *batch, own, other jid.JID) *stanza.Error {
	err := s.changeContact(x, own, other, func(item *contact) bool {
		changed := item.Sub&subTo == 0 && !item.Asked || item.Hidden
		item.Hidden = false
		item.Asked = item.Sub&subTo == 0
		return changed
	})
	if _, ok := s.cfg.Accounts.Since(other.Local()); err != nil || !ok {
		return err
	}
	if s.rosters.of(other).item(own).Sub&subFrom != 0 { // it has said yes before
		return s.allowed(x, other, own)
	}
	err = s.changeContact(x, other, own, func(item *contact) bool {
		changed := !item.Pending
		item.Pending = true
		return changed
	})
	if err == nil {
		s.tell(x, "subscribe", own, other)
	}
	return nil // that somebody is asked too much is not the asker's business
}

// allow lets contact see own, if it has asked.
func (s *Server) allow(x *batch, own, other jid.JID) *stanza.Error {
	if !s.rosters.of(own).item(other).Pending {
		return nil
	}
	err := s.changeContact(x, own, other, func(item *contact) bool {
		item.Sub |= subFrom
		item.Pending, item.Hidden = false, false
		return true
	})
	if err != nil {
		return err
	}
	return s.allowed(x, own, other)
}

// allowed gives asker what it has asked owner for.
func (s *Server) allowed(x *batch, owner, asker jid.JID) *stanza.Error {
	if !s.rosters.of(asker).item(owner).Asked {
		return nil
	}
	err := s.changeContact(x, asker, owner, func(item *contact) bool {
		item.Sub |= subTo
		item.Asked = false
		return true
	})
	if err != nil {
		return err
	}
	s.tell(x, "subscribed", owner, asker)
	for _, t := range s.registry.available(owner.Local(), nil) {
		p := t.presenceNow()
		for _, r := range s.registry.available(asker.Local(), nil) {
			if p != nil {
				p.post(x, r, true)
			}
		}
	}
	return nil
}

// unfollow ends that own sees contact, or asks to.
func (s *Server) unfollow(x *batch, own, other jid.JID) *stanza.Error {
	err := s.changeContact(x, own, other, func(item *contact) bool {
		changed := item.Sub&subTo != 0 || item.Asked
		item.Sub &^= subTo
		item.Asked = false
		return changed
	})
	if err != nil || s.rosters.of(other) == nil {
		return err
	}
	saw := s.rosters.of(other).item(own).Sub&subFrom != 0
	err = s.changeContact(x, other, own, func(item *contact) bool {
		changed := item.Sub&subFrom != 0 || item.Pending
		item.Sub &^= subFrom
		item.Pending = false
		return changed
	})
	if err == nil && saw {
		s.tell(x, "unsubscribe", own, other)
		s.hide(x, other, own)
	}
	return err
}

// forbid ends that contact sees own, or refuses it.
func (s *Server) forbid(x *batch, own, other jid.JID) *stanza.Error {
	saw := s.rosters.of(own).item(other).Sub&subFrom != 0
	err := s.changeContact(x, own, other, func(item *contact) bool {
		changed := item.Sub&subFrom != 0 || item.Pending
		item.Sub &^= subFrom
		item.Pending = false
		return changed
	})
	if err != nil || s.rosters.of(other) == nil {
		return err
	}
	told := false
	err = s.changeContact(x, other, own, func(item *contact) bool {
		told = item.Sub&subTo != 0 || item.Asked
		item.Sub &^= subTo
		item.Asked = false
		return told
	})
	if err == nil && told {
		s.tell(x, "unsubscribed", own, other)
	}
	if saw {
		s.hide(x, own, other)
	}
	return err
}

// tell tells the sessions of an account what has become of a subscription.
func (s *Server) tell(x *batch, typ string, from, to jid.JID) {
	for _, t := range s.registry.available(to.Local(), nil) {
		x.begin("presence", typ, stream.AppendEscaped(nil, from.String()), t.user.attr, nil)
		x.scratch = append(x.scratch, "</presence>"...)
		x.post(t)
	}
}

// hide tells the sessions of an account that those of another are unavailable,
// for it sees them no more.
func (s *Server) hide(x *batch, owner, from jid.JID) {
	for _, gone := range s.registry.available(owner.Local(), nil) {
		for _, t := range s.registry.available(from.Local(), nil) {
			x.begin("presence", "unavailable", gone.attr, t.attr, nil)
			x.scratch = append(x.scratch, "</presence>"...)
			x.post(t)
		}
	}
}

// rosterRemove ends all between the account and a contact, and removes it (RFC
// 6121, section 2.5).
func (c *conn) rosterRemove(j jid.JID, x *batch) *stanza.Error {
	own := c.session.user.bare
	item, ok := c.srv.rosters.of(own).entry(j)
	if !ok || item.Hidden {
		return stanza.NewError(stanza.ItemNotFound, "")
	}
	if j.Domain() == c.srv.domain.Domain() && j.Local() != "" {
		if err := c.srv.unfollow(x, own, j); err != nil {
			return err
		}
		if err := c.srv.forbid(x, own, j); err != nil {
			return err
		}
	}
	r, err := c.srv.rosters.change(own, func(r *roster) error {
		delete(r.Items, j.String())
		return nil
	})
	if err != nil {
		return stanza.NewError(stanza.ResourceConstraint, "nothing can be stored now; try again")
	}
	c.srv.push(x, own, stanza.Element{NS: nsRoster, Name: "item", Attrs: []stanza.Attr{
		{Name: "jid", Value: j.String()}, {Name: "subscription", Value: "remove"},
	}}, r.Version)
	return nil
}

func (r *roster) entry(j jid.JID) (contact, bool) {
	if r == nil {
		return contact{}, false
	}
	item, ok := r.Items[j.String()]
	return item, ok
}
