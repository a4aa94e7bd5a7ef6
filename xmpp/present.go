package xmpp

import (
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stanza"
)

// maxPresent is how many addresses are held for available: those beyond are
// not said to be unavailable when the session ends.
const maxPresent = 16_384

// present is who is available, by full address. The zero value is nobody.
type present struct{ who map[jid.JID]struct{} }

// note takes notice of a presence, and returns of whom it says that they are
// gone without being from them: a bare address speaks for its resources.
func (p *present) note(x *stanza.Presence) (gone []jid.JID) {
	switch x.Type {
	case "":
		if p.who == nil {
			p.who = map[jid.JID]struct{}{}
		}
		if len(p.who) < maxPresent {
			p.who[x.From] = struct{}{}
		}
	case "unavailable", "error": // RA-066
		delete(p.who, x.From)
		if x.From.IsBare() {
			for j := range p.who {
				if j.Bare() == x.From {
					gone = append(gone, j)
					delete(p.who, j)
				}
			}
		}
	}
	return gone
}

// all returns everybody, and is nobody afterwards.
func (p *present) all() (gone []jid.JID) {
	for j := range p.who {
		gone = append(gone, j)
	}
	p.who = nil
	return gone
}

// Present returns who is available: the full addresses of which presence came
// and was not taken back.
func (s *Session) Present() []jid.JID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []jid.JID
	for j := range s.present.who {
		all = append(all, j)
	}
	return all
}
