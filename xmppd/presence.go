package xmppd

import (
	"bytes"
	"time"

	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
)

// Bounds of presence.
const (
	maxPresence    = 16 << 10         // of one, for it goes to many, bytes
	changesPerTime = 1                // changes a second,
	changesAtOnce  = 10               // and more at once; of others only the newest counts
	changeTime     = time.Second      // when the newest of others is told
	maxDirected    = 1000             // to whom one session has shown itself by name
	selfPatience   = 15 * time.Second // for a client that does not take its answers, longer than a write may take
)

// presence is that of an available session, as it is told to others.
type presence struct {
	head, rest []byte // around the address of whoever gets it
	inner      int    // of rest that stands before its end tag; its / if it has none
	priority   int8
	at         time.Time
}

// changes bounds how often a session changes its presence. registry.mu guards
// it.
type changes struct {
	rate   bucket
	newest *presence // to be told later; nil: none
	timer  *time.Timer
}

// presence handles one (RFC 6121, sections 3 and 4).
func (c *conn) presence(it *stream.Item, to jid.JID, x *batch) {
	switch typ := string(it.Type); typ {
	case "", "unavailable":
		switch {
		case len(it.Raw) > maxPresence:
			c.refuse(it, x, stanza.PolicyViolation)
		case !to.IsZero():
			c.showTo(it, to, typ == "", x)
		case typ == "":
			c.appear(it, x)
		default:
			c.session.disappear(x, c.session.told(it, c.lang))
		}
	case "subscribe", "subscribed", "unsubscribe", "unsubscribed":
		c.subscription(it, typ, to, x)
	case "probe":
		c.probe(to, x)
	case "error":
		if t := c.srv.registry.find(to); t != nil && c.srv.mayMeet(c.session.user.bare, to) {
			c.pass(it, t, x)
		}
	default:
		c.refuse(it, x, stanza.BadRequest)
	}
}

// appear handles presence for whom it may concern: the session becomes
// available, or says how it is.
func (c *conn) appear(it *stream.Item, x *batch) {
	s := c.session
	p, err := stanza.ParsePresence(it.Raw)
	if err != nil {
		c.refuse(it, x, stanza.BadRequest)
		return
	}
	told := s.told(it, c.lang)
	told.priority = p.Priority
	if s.mayChange(told) {
		s.publish(x, told)
	}
}

// told keeps a presence as others are told it.
func (s *session) told(it *stream.Item, lang []byte) *presence {
	raw := it.AppendStamped(nil, stream.Stamp{From: s.attr, Lang: lang})
	name := bytes.IndexAny(raw, " \t\r\n/>")
	p := &presence{head: raw[:name:name], rest: raw[name:], at: time.Now()}
	if p.inner = bytes.LastIndex(p.rest, []byte("</")); p.inner < 0 {
		p.inner = len(p.rest) - len("/>")
	}
	return p
}

// append appends p for the address given. late says that it is older than the
// stanza (XEP-0203).
func (p *presence) append(b, to []byte, late bool) []byte {
	b = appendRaw(append(b, p.head...), " to=", to)
	if !late {
		return append(b, p.rest...)
	}
	empty := p.rest[p.inner+1] == '>'
	b = append(b, p.rest[:p.inner]...)
	if empty {
		b = append(b, '>')
	}
	b = append(b, "<delay xmlns='urn:xmpp:delay' stamp='"...)
	b = p.at.UTC().AppendFormat(b, "2006-01-02T15:04:05Z")
	b = append(b, "'/>"...)
	if empty {
		return append(append(append(b, "</"...), p.head[1:]...), '>')
	}
	return append(b, p.rest[p.inner:]...)
}

// post tells p to a session.
func (p *presence) post(x *batch, to *session, late bool) {
	x.scratch = p.append(x.scratch[:0], to.attr, late)
	x.post(to)
}

// mayChange reports whether the session may tell its presence now. If not, p is
// told soon, unless a newer one takes its place.
func (s *session) mayChange(p *presence) bool {
	r := &s.srv.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	ch := &s.changes
	if ch.newest == nil && ch.rate.take(time.Since(s.born), 1, changesPerTime, changesAtOnce) == 0 {
		return true
	}
	if ch.newest = p; ch.timer == nil {
		ch.timer = time.AfterFunc(changeTime, s.tellNewest)
	}
	return false
}

// tellNewest tells the presence that had to wait.
func (s *session) tellNewest() {
	r := &s.srv.registry
	r.mu.Lock()
	p := s.changes.newest
	s.changes.newest, s.changes.timer = nil, nil
	if s.ended {
		p = nil
	}
	r.mu.Unlock()
	if p == nil {
		return
	}
	x := newBatch(nil)
	s.publish(x, p)
	x.done()
	x.free()
}

// publish makes the session available, if it is not, and tells its presence to
// all who may see it. One that appears is told who else is there.
func (s *session) publish(x *batch, p *presence) {
	r := &s.srv.registry
	r.mu.Lock()
	if s.ended {
		r.mu.Unlock()
		return
	}
	first := s.presence == nil
	s.presence = p
	r.mu.Unlock()
	list := s.srv.rosters.of(s.user.bare)
	for _, t := range s.audience(list) {
		p.post(x, t, false)
	}
	if first {
		s.srv.cfg.Presence(s.jid)
		s.welcome(x, list)
	}
}

// audience is who sees the presence of a session: its siblings, itself, and the
// contacts that have subscribed to it.
func (s *session) audience(list *roster) []*session {
	r := &s.srv.registry
	all := r.available(s.user.bare.Local(), nil)
	for contact, item := range list.items() {
		if item.Sub&subFrom != 0 && s.srv.maySee(contact, s.user.bare) {
			all = append(all, r.available(contact.Local(), nil)...)
		}
	}
	return all
}

// welcome tells a session that has appeared who is there, and who has asked to
// see it.
func (s *session) welcome(x *batch, list *roster) {
	r := &s.srv.registry
	others := r.available(s.user.bare.Local(), func(t *session) bool { return t != s })
	for contact, item := range list.items() {
		if item.Sub&subTo != 0 && s.srv.maySee(s.user.bare, contact) {
			others = append(others, r.available(contact.Local(), nil)...)
		}
		if item.Pending {
			x.begin("presence", "subscribe", stream.AppendEscaped(nil, contact.String()), s.user.attr, nil)
			x.scratch = append(x.scratch, "</presence>"...)
			x.post(s)
		}
	}
	for _, t := range others {
		if p := t.presenceNow(); p != nil {
			p.post(x, s, true)
		}
	}
}

func (s *session) presenceNow() *presence {
	s.srv.registry.mu.RLock()
	defer s.srv.registry.mu.RUnlock()
	return s.presence
}

// priorityNow is the priority of a session, below all others if it is not
// available.
func (s *session) priorityNow() int {
	if p := s.presenceNow(); p != nil {
		return int(p.priority)
	}
	return -129
}

// disappear makes the session unavailable, and tells p to all who saw it.
func (s *session) disappear(x *batch, p *presence) {
	r := &s.srv.registry
	list := s.srv.rosters.of(s.user.bare)
	var all []*session
	if s.presenceNow() != nil {
		all = s.audience(list)
	}
	r.mu.Lock()
	was := s.presence != nil
	s.presence = nil
	directed := s.directed
	s.directed = nil
	s.changes.stop()
	r.mu.Unlock()
	if was {
		s.srv.cfg.Presence(s.jid)
	}
	for _, t := range all {
		p.post(x, t, false)
		delete(directed, t.jid)
	}
	for j := range directed {
		if t := r.find(j); t != nil && s.srv.mayMeet(s.user.bare, j) {
			p.post(x, t, false)
		}
	}
}

func (ch *changes) stop() {
	if ch.timer != nil {
		ch.timer.Stop()
	}
	ch.timer, ch.newest = nil, nil
}

// goodbye is disappear without a word of the client's.
func (s *session) goodbye(x *batch) {
	raw := appendRaw([]byte("<presence type='unavailable'"), " from=", s.attr)
	s.disappear(x, &presence{head: raw, rest: []byte("/>")})
}

// showTo handles presence for one address (RFC 6121, section 4.6).
func (c *conn) showTo(it *stream.Item, to jid.JID, available bool, x *batch) {
	s, r := c.session, &c.srv.registry
	if !c.routable(it, to, x) {
		return
	}
	targets := r.available(to.Local(), nil)
	if !to.IsBare() {
		targets = nil
		if t := r.find(to); t != nil {
			targets = append(targets, t)
		}
	}
	for _, t := range targets {
		if !s.noteDirected(t.jid, available) {
			c.refuse(it, x, stanza.ResourceConstraint)
			return
		}
		c.pass(it, t, x)
	}
}

// noteDirected remembers to whom the session has shown itself, and reports
// whether it could.
func (s *session) noteDirected(to jid.JID, available bool) bool {
	r := &s.srv.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !available:
		delete(s.directed, to)
	case len(s.directed) >= maxDirected && !s.directed[to]:
		return false
	case s.directed == nil:
		s.directed = map[jid.JID]bool{to: true}
	default:
		s.directed[to] = true
	}
	return true
}

// probe tells the client who of an account is there, if it may know (RFC 6121,
// section 4.3).
func (c *conn) probe(to jid.JID, x *batch) {
	if to.IsZero() || to.Domain() != c.srv.domain.Domain() || !c.srv.maySee(c.session.user.bare, to.Bare()) {
		return
	}
	for _, t := range c.srv.registry.available(to.Local(), nil) {
		if p := t.presenceNow(); p != nil && (to.IsBare() || to == t.jid) {
			p.post(x, c.session, true)
		}
	}
}

// maySee reports whether an account may see the presence of another: both have
// it in their rosters, lest a new account gets what one of its name had.
func (s *Server) maySee(own, other jid.JID) bool {
	return own == other || s.rosters.of(own).item(other).Sub&subTo != 0 && s.rosters.of(other).item(own).Sub&subFrom != 0
}

// Seen reports whether there is an available session at a full address, and when
// it last gave a sign of life: one that has lost its connection and may resume it
// is available for a while.
func (s *Server) Seen(j jid.JID) (last time.Time, there bool) {
	t := s.registry.find(j)
	if t == nil || t.presenceNow() == nil {
		return time.Time{}, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conn != nil {
		t.heard = t.conn.LastSeen()
	}
	return t.heard, true
}
