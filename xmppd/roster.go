package xmppd

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/farreach/farreach/store"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
)

const nsRoster = "jabber:iq:roster"

// roster is the contacts of an account, as they are kept (RFC 6121, section 2).
// One that is shared is not changed. A nil roster is empty.
type roster struct {
	Since   time.Time          `json:"since"`   // when its owner's account was made
	Version uint64             `json:"version"` // grows with each change
	Items   map[string]contact `json:"items"`   // by bare address
}

// contact is somebody in a roster.
type contact struct {
	Name    string       `json:"name,omitempty"`
	Groups  []string     `json:"groups,omitempty"`
	Sub     subscription `json:"sub,omitzero"`
	Asked   bool         `json:"asked,omitzero"`   // the owner has asked to see the contact
	Pending bool         `json:"pending,omitzero"` // the contact has asked to see the owner
	Hidden  bool         `json:"hidden,omitzero"`  // it is there only because it has asked
}

// subscription says who of two sees the other.
type subscription uint8

const (
	subTo   subscription = 1 << iota // the owner of the roster sees the contact
	subFrom                          // the contact sees the owner
	subBoth = subTo | subFrom
)

func (s subscription) String() string { return [...]string{"none", "to", "from", "both"}[s&subBoth] }

func (r *roster) item(j jid.JID) contact {
	if r == nil {
		return contact{}
	}
	return r.Items[j.String()]
}

// items yields the contacts whose addresses are still valid.
func (r *roster) items() iter.Seq2[jid.JID, contact] {
	return func(yield func(jid.JID, contact) bool) {
		if r == nil {
			return
		}
		for _, text := range slices.Sorted(maps.Keys(r.Items)) {
			if j, err := jid.Parse(text); err == nil && !yield(j, r.Items[text]) {
				return
			}
		}
	}
}

// table is where rosters are kept: a store.View, or memory.
type table interface {
	Get(key string) *roster
	Create(ctx context.Context, key string, r roster) error
	Modify(ctx context.Context, key string, f func(r *roster) error) (roster, error)
}

// rosters are those of all accounts.
type rosters struct {
	table    table
	accounts Accounts
}

// of returns the roster of an account, which is shared; nil if it is empty. That
// of an account which had the same name before is nobody's.
func (rs *rosters) of(owner jid.JID) *roster {
	r := rs.table.Get(owner.Local())
	if r == nil {
		return nil
	}
	if since, ok := rs.accounts.Since(owner.Local()); !ok || !since.Equal(r.Since) {
		return nil
	}
	return r
}

// storeTime is how long a change of a roster may take.
const storeTime = 10 * time.Second

// change replaces the roster of an account by what f makes of it, unless f
// fails. f may be called more than once.
func (rs *rosters) change(owner jid.JID, f func(r *roster) error) (roster, error) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	since, ok := rs.accounts.Since(owner.Local())
	if !ok {
		return roster{}, errNoAccount
	}
	for {
		r, err := rs.table.Modify(ctx, owner.Local(), func(r *roster) error {
			if r.Items = maps.Clone(r.Items); !since.Equal(r.Since) {
				r.Since, r.Items = since, map[string]contact{}
			}
			r.Version++
			return f(r)
		})
		if !errors.Is(err, store.ErrNotFound) {
			return r, err
		}
		err = rs.table.Create(ctx, owner.Local(), roster{Since: since, Items: map[string]contact{}})
		if err != nil && !errors.Is(err, store.ErrExists) {
			return roster{}, err
		}
	}
}

var errNoAccount = errors.New("no such account")

// memory is a table that ends with the process.
type memory struct {
	mu      sync.RWMutex // guards entries
	entries map[string]*roster
}

func (m *memory) Get(key string) *roster {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.entries[key]
}

func (m *memory) Create(_ context.Context, key string, r roster) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries[key] != nil {
		return store.ErrExists
	}
	m.entries[key] = &r
	return nil
}

func (m *memory) Modify(_ context.Context, key string, f func(r *roster) error) (roster, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.entries[key]
	if old == nil {
		return roster{}, store.ErrNotFound
	}
	r := *old
	if err := f(&r); err != nil {
		return roster{}, err
	}
	m.entries[key] = &r
	return r, nil
}

// rosterGet answers a request for the roster (RFC 6121, sections 2.1.3 and 2.6).
// From then on the session is told of changes.
func (c *conn) rosterGet(iq *stanza.IQ) (*stanza.Element, *stanza.Error) {
	s := c.session
	s.srv.registry.mu.Lock()
	s.interested = true
	s.srv.registry.mu.Unlock()
	r := c.srv.rosters.of(s.user.bare)
	e := &stanza.Element{NS: nsRoster, Name: "query", Attrs: []stanza.Attr{{Name: "ver", Value: r.version()}}}
	if iq.Payload.Attr("ver") == r.version() && r != nil {
		return nil, nil // it has them all
	}
	for j, item := range r.items() {
		if !item.Hidden {
			e.Children = append(e.Children, item.element(j))
		}
	}
	return e, nil
}

func (r *roster) version() string {
	if r == nil {
		return "0"
	}
	return strconv.FormatUint(r.Version, 10)
}

// element is the contact as a client is told it.
func (i *contact) element(j jid.JID) stanza.Element {
	e := stanza.Element{NS: nsRoster, Name: "item", Attrs: []stanza.Attr{
		{Name: "jid", Value: j.String()}, {Name: "subscription", Value: i.Sub.String()},
	}}
	if i.Name != "" {
		e.Attrs = append(e.Attrs, stanza.Attr{Name: "name", Value: i.Name})
	}
	if i.Asked {
		e.Attrs = append(e.Attrs, stanza.Attr{Name: "ask", Value: "subscribe"})
	}
	for _, g := range i.Groups {
		e.Children = append(e.Children, stanza.Element{NS: nsRoster, Name: "group", Text: g})
	}
	return e
}

// Bounds of what a contact says of itself (RFC 6121, section 2.1.2).
const (
	maxNickname = 1023 // bytes, of groups too
	maxGroups   = 32
)

// rosterSet changes a contact, or removes it (RFC 6121, sections 2.3 to 2.5).
func (c *conn) rosterSet(iq *stanza.IQ, x *batch) *stanza.Error {
	if len(iq.Payload.Children) != 1 {
		return stanza.NewError(stanza.BadRequest, "one item is wanted")
	}
	e := &iq.Payload.Children[0]
	j, err := jid.Parse(e.Attr("jid"))
	if err != nil {
		return stanza.NewError(stanza.JIDMalformed, "")
	}
	own := c.session.user.bare
	if j = j.Bare(); j == own || j.Local() == "" && j == c.srv.domain {
		return stanza.NewError(stanza.NotAllowed, "") // RFC 6121, section 2.3.3
	}
	if e.Attr("subscription") == "remove" {
		return c.rosterRemove(j, x)
	}
	name, groups := e.Attr("name"), groupsOf(e)
	if len(name) > maxNickname || groups == nil {
		return stanza.NewError(stanza.NotAcceptable, "a name or group is too long, empty or there twice")
	}
	return c.srv.changeContact(x, own, j, func(item *contact) bool {
		item.Name, item.Groups, item.Hidden = name, groups, false
		return true
	})
}

// groupsOf returns the groups of an item, nil if they are not as they should.
func groupsOf(e *stanza.Element) []string {
	groups := []string{}
	for _, g := range e.Children {
		if g.Name != "group" || g.NS != nsRoster {
			continue
		}
		if g.Text == "" || len(g.Text) > maxNickname || slices.Contains(groups, g.Text) || len(groups) == maxGroups {
			return nil
		}
		groups = append(groups, g.Text)
	}
	return groups
}

var errUnchanged = errors.New("nothing to change")

// changeContact changes a contact in the roster of an account by f, which
// reports whether it did, and pushes it to the account's sessions. A contact that
// is not there yet is made.
func (s *Server) changeContact(x *batch, owner, j jid.JID, f func(item *contact) bool) *stanza.Error {
	l := &s.cfg.Limits
	var changed, before contact
	r, err := s.rosters.change(owner, func(r *roster) error {
		item, had := r.Items[j.String()]
		old := item
		item.Hidden = !had || item.Hidden
		if !f(&item) {
			return errUnchanged
		}
		if item.empty() {
			delete(r.Items, j.String())
		} else {
			r.Items[j.String()] = item
		}
		if !had && (len(r.Items) > l.Roster || item.Pending && r.pending() > l.Pending) {
			return errTooMany
		}
		changed, before = item, old
		return nil
	})
	switch {
	case errors.Is(err, errUnchanged):
		return nil
	case errors.Is(err, errTooMany):
		return stanza.NewError(stanza.ResourceConstraint, "too many contacts")
	case err != nil:
		s.log.Error("xmpp roster not kept", "account", owner.Local(), "err", err)
		return stanza.NewError(stanza.ResourceConstraint, "nothing can be stored now; try again")
	}
	if changed.Pending == before.Pending && !changed.Hidden || changed.shown(before) {
		s.push(x, owner, changed.element(j), r.Version)
	}
	return nil
}

// shown reports whether a client sees a difference between i and what it was.
func (i *contact) shown(old contact) bool {
	return !i.Hidden && (i.Sub != old.Sub || i.Asked != old.Asked || old.Hidden)
}

// empty reports whether a contact is there for nothing.
func (i *contact) empty() bool { return i.Hidden && !i.Pending && !i.Asked && i.Sub == 0 }

var errTooMany = errors.New("too many contacts")

// pending is how many contacts have asked and got no answer.
func (r *roster) pending() (n int) {
	for _, item := range r.Items {
		if item.Pending {
			n++
		}
	}
	return n
}

// push tells the sessions of an account that have asked for the roster what has
// changed in it (RFC 6121, section 2.1.6).
func (s *Server) push(x *batch, owner jid.JID, item stanza.Element, version uint64) {
	query := stanza.Element{NS: nsRoster, Name: "query", Attrs: []stanza.Attr{{Name: "ver", Value: strconv.FormatUint(version, 10)}},
		Children: []stanza.Element{item}}
	for _, t := range s.registry.interested(owner.Local()) {
		x.begin("iq", "set", nil, t.attr, []byte("push-"+newID()))
		x.scratch = append(query.Append(x.scratch, stream.NSClient), "</iq>"...)
		x.post(t)
	}
}

// interested returns the sessions of an account that have asked for the roster.
func (r *registry) interested(name string) (all []*session) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if u := r.users[name]; u != nil {
		for _, s := range u.sessions {
			if s.interested {
				all = append(all, s)
			}
		}
	}
	return all
}
