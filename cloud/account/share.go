package account

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// The limits of shares.
const (
	maxShares    = 200                // that an account gives
	shareOffered = 7 * 24 * time.Hour // for a share to be accepted
)

// Role is what somebody may do with what belongs to an account.
type Role uint8

// The roles, from the least on.
const (
	Nobody Role = iota
	Viewer      // see and read
	Member      // change what devices do, too
	Owner       // everything: it is his account
)

var roleNames = []string{"nobody", "viewer", "member", "owner"}

func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return roleNames[Nobody]
}

// ParseRole returns the role with this name that can be given to somebody:
// viewer or member. Any other is refused with 4.00.
func ParseRole(name string) (Role, error) {
	r := Role(max(slices.Index(roleNames, name), 0))
	if r != Viewer && r != Member {
		return Nobody, oic.Errorf(oic.BadRequest, "a role is viewer or member")
	}
	return r, nil
}

// MarshalText implements encoding.TextMarshaler.
func (r Role) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Role) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRole(string(text))
	return err
}

// Share is what an account lets another one do with one of its devices, or
// with all that it has. It counts once the other has accepted it, so that
// nobody finds among his devices what he did not ask for.
type Share struct {
	ID       string    `json:"id"`
	Owner    string    `json:"owner"`           // the account that gives
	Device   string    `json:"device,omitzero"` // di; none: all devices, those to come too
	With     string    `json:"with"`            // the account that is given
	Role     Role      `json:"role"`            // Viewer or Member
	Created  time.Time `json:"created"`
	Accepted time.Time `json:"accepted,omitzero"`
}

// owner is the account whose rights change with the share.
func (s *Share) owner() string { return s.With }

func (s *Share) key() string { return shareKey(s.With, s.Owner, s.Device) }

// shareKey is where the share of something with somebody is kept.
func shareKey(with, owner, device string) string {
	if device == "" {
		device = "*"
	}
	return store.Key(with, owner, device)
}

var errNoShare = oic.Errorf(oic.NotFound, "no such share")

// NewShare lets the account with do what role says with a device of owner, or
// with all; see Share. A share that there is already gets the new role. That
// there is no such account is not told: then nobody accepts.
func (a *Accounts) NewShare(ctx context.Context, owner, device, with string, role Role) (Share, error) {
	with, err := Name(with)
	if err != nil {
		return Share{}, err
	}
	if with == owner || role != Viewer && role != Member {
		return Share{}, oic.Errorf(oic.BadRequest, "share with another account, as viewer or member")
	}
	s := Share{ID: secret.ID(), Owner: owner, Device: device, With: with, Role: role, Created: time.Now().UTC()}
	changed, err := a.shares.Modify(ctx, s.key(), func(s *Share) error {
		s.Role = role
		return nil
	})
	if !errors.Is(err, store.ErrNotFound) {
		return changed, failed("share", err)
	}
	if given, _ := a.Shares(owner); len(given) >= maxShares {
		return Share{}, oic.Errorf(oic.Forbidden, "%d shares are all that an account may give; end one", maxShares)
	}
	if err := a.shares.Create(ctx, s.key(), s); err != nil {
		return Share{}, failed("share", err)
	}
	return s, keepOf(ctx, a, owner, a.shares, s.key())
}

// AcceptShare makes a share that somebody gave to the account name count.
func (a *Accounts) AcceptShare(ctx context.Context, name, id string) (Share, error) {
	s := a.share(id)
	if s == nil || s.With != name {
		return Share{}, errNoShare
	}
	accepted, err := a.shares.Modify(ctx, s.key(), func(s *Share) error {
		if s.Accepted.IsZero() {
			s.Accepted = time.Now().UTC()
		}
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return Share{}, errNoShare
	}
	return accepted, failed("accept share", err)
}

// EndShare ends a share that the account name gave or was given.
func (a *Accounts) EndShare(ctx context.Context, name, id string) (Share, error) {
	s := a.share(id)
	if s == nil || s.With != name && s.Owner != name {
		return Share{}, errNoShare
	}
	return *s, failed("end share", a.shares.Delete(ctx, s.key()))
}

// EndShares ends the shares of one device of owner: it is not owner's any more.
func (a *Accounts) EndShares(ctx context.Context, owner, device string) error {
	return a.endShares(ctx, func(s *Share) bool { return s.Owner == owner && s.Device == device })
}

// endShares ends those that are meant.
func (a *Accounts) endShares(ctx context.Context, meant func(*Share) bool) error {
	for key, s := range a.shares.All() {
		if meant(s) {
			if err := a.shares.Delete(ctx, key); err != nil {
				return failed("end share", err)
			}
		}
	}
	return nil
}

// share returns the share with this id, or nil.
func (a *Accounts) share(id string) *Share {
	for _, s := range a.shares.All() {
		if s.ID == id {
			return s
		}
	}
	return nil
}

// Shares returns what an account gives and what it is given, accepted or not,
// oldest first.
func (a *Accounts) Shares(name string) (given, received []Share) {
	for _, s := range a.shares.All() {
		switch name {
		case s.Owner:
			given = append(given, *s)
		case s.With:
			received = append(received, *s)
		}
	}
	byAge := func(x, y Share) int { return x.Created.Compare(y.Created) }
	slices.SortFunc(given, byAge)
	slices.SortFunc(received, byAge)
	return given, received
}

// Role is what the account name is to a device of owner, or to all that owner
// has if device is "".
func (a *Accounts) Role(name, owner, device string) Role {
	if name == "" || owner == "" {
		return Nobody
	}
	if name == owner {
		return Owner
	}
	role := a.given(name, owner, "")
	if device != "" {
		role = max(role, a.given(name, owner, device))
	}
	return role
}

func (a *Accounts) given(name, owner, device string) Role {
	if s := a.shares.Get(shareKey(name, owner, device)); s != nil && !s.Accepted.IsZero() {
		return s.Role
	}
	return Nobody
}

// guests remembers who has accepted something of whom, as long as no share
// changes.
type guests struct {
	changes atomic.Uint64
	known   atomic.Pointer[guestList]
}

type guestList struct {
	of      uint64 // changes then
	byOwner map[string][]string
}

func (g *guests) changed() { g.changes.Add(1) }

// Guests returns the accounts that have accepted something of owner, a device or
// all. To ask costs next to nothing: it is asked of each event. The list is
// shared: not to be changed.
func (a *Accounts) Guests(owner string) []string {
	g := &a.guests
	list := g.known.Load()
	if now := g.changes.Load(); list == nil || list.of != now {
		list = &guestList{now, map[string][]string{}}
		for _, s := range a.shares.All() {
			if !s.Accepted.IsZero() && !slices.Contains(list.byOwner[s.Owner], s.With) {
				list.byOwner[s.Owner] = append(list.byOwner[s.Owner], s.With)
			}
		}
		g.known.Store(list)
	}
	return list.byOwner[owner]
}
