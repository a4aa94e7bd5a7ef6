package reach

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/farreach/farreach/internal/kept"
	"github.com/farreach/farreach/xmpp/jid"
)

// memory is who was seen over XMPP with a gateway, as long as that is not there.
// A server tells nothing of who has gone before a client came; and of those that a
// gateway speaks for, the gateway's own end leaves nobody who would know.
//
//	present, gateways ── note ──▶ seen ── missing ──▶ known, but not how they are
//	file ── load ───────────────▶  │  ── save, at the end ──▶ file
//
// A gateway that is there knows better: whom it does not list is forgotten.
type memory struct {
	file string // "": nobody is remembered from one time to the next

	mu    sync.Mutex // guards what follows
	begun time.Time  // when the file was read
	dirty bool
	seen  map[string]sighting // by di; nil: the file was not read yet
}

// sighting is a device with a gateway, or a gateway, as it was seen last.
type sighting struct {
	Device  string    `json:"di"`
	Name    string    `json:"name,omitempty"`
	Type    string    `json:"type,omitempty"`
	Peer    string    `json:"jid"` // its own, or that of the gateway
	Behind  bool      `json:"behind,omitempty"`
	Gateway string    `json:"gateway,omitempty"` // di; "": it is one itself
	Seen    time.Time `json:"seen"`
}

// memoryDoc is what is in the file.
type memoryDoc struct {
	Seen []sighting `json:"seen"`
}

// Bounds of what is remembered.
const (
	maxSeen    = maxHidden
	forgetTime = 30 * 24 * time.Hour
	seenGrain  = time.Minute // sightings nearer to each other are one
)

// load reads the file, once. One that makes no sense is none. m.mu is held.
func (m *memory) load() {
	if m.seen != nil {
		return
	}
	m.begun, m.seen = time.Now(), map[string]sighting{}
	for _, s := range m.kept() {
		if time.Since(s.Seen) < forgetTime && len(m.seen) < maxSeen {
			m.seen[s.Device] = s
		}
	}
}

// kept is what the file has now.
func (m *memory) kept() []sighting {
	var doc memoryDoc
	if m.file == "" || kept.Load(m.file, &doc) != nil {
		return nil
	}
	return doc.Seen
}

// note keeps who is there, of all that are known to be or to have been.
func (m *memory) note(list []Present) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.load()
	now := time.Now()
	for _, p := range list {
		if p.ID == "" || p.Gateway == "" && p.Type != typeBridge {
			continue
		}
		if !p.Here && !p.Gone && p.Type != typeBridge {
			m.forget(p.ID)
			continue
		}
		before, known := m.seen[p.ID]
		s := sighting{p.ID, cmp.Or(p.Name, before.Name), p.Type, p.Peer.String(), p.Behind, p.Gateway, now}
		if !p.Here {
			s.Seen = p.Since
		}
		if !known && len(m.seen) >= maxSeen || known && s.Seen.Sub(before.Seen) < seenGrain && s.sameBut(before) {
			continue
		}
		m.seen[p.ID], m.dirty = s, true
	}
}

// sameBut reports whether two sightings say the same, whenever that was.
func (s sighting) sameBut(o sighting) bool {
	s.Seen = o.Seen
	return s == o
}

// forget has somebody not remembered. m.mu is held.
func (m *memory) forget(di string) {
	if _, known := m.seen[di]; known {
		delete(m.seen, di)
		m.dirty = true
	}
}

// missing is who was there, is not in list, and whose gateway is not there either;
// and these gateways. listed reports whether a gateway that is there has said whom
// it speaks for.
func (m *memory) missing(list []Present, listed func(gateway string) bool) (missed []Present) {
	there := map[string]bool{} // what list has
	for _, p := range list {
		there[p.ID] = there[p.ID] || p.Here || p.Type != typeBridge
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.load()
	gateways := map[string]bool{} // of who is missing
	for di, s := range m.seen {
		switch {
		case there[di] || s.Gateway == "":
		case !there[s.Gateway]:
			missed = append(missed, s.present())
			gateways[s.Gateway] = true
		case listed(s.Gateway):
			m.forget(di)
		}
	}
	for di := range gateways {
		if s, known := m.seen[di]; known && !slices.ContainsFunc(list, func(p Present) bool { return p.ID == di }) {
			missed = append(missed, s.present())
		}
	}
	slices.SortFunc(missed, func(x, y Present) int {
		return cmp.Or(cmp.Compare(x.Peer.String(), y.Peer.String()), cmp.Compare(x.ID, y.ID))
	})
	return missed
}

// present is a device as it was seen last.
func (s sighting) present() Present {
	peer, _ := jid.Parse(s.Peer) // the zero JID leads nowhere
	return Present{ID: s.Device, Name: s.Name, Type: s.Type, Peer: peer, Behind: s.Behind, Since: s.Seen, Gone: s.Gateway != "", Gateway: s.Gateway}
}

// of is what is remembered of a device, by its di.
func (m *memory) of(di string) (s sighting, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.load()
	s, ok = m.seen[strings.ToLower(di)]
	return s, ok
}

// save writes the file anew, if there is something new. What other programs have
// written meanwhile stays, as far as it is newer.
func (m *memory) save() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.file == "" || !m.dirty {
		return nil
	}
	for _, s := range m.kept() {
		if s.Seen.After(m.begun) && s.Seen.After(m.seen[s.Device].Seen) {
			m.seen[s.Device] = s
		}
	}
	var doc memoryDoc
	for _, s := range m.seen {
		doc.Seen = append(doc.Seen, s)
	}
	slices.SortFunc(doc.Seen, func(x, y sighting) int { return cmp.Compare(x.Device, y.Device) })
	m.dirty = false
	return kept.Save(m.file, doc)
}
