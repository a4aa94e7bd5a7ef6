package account

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
	"github.com/farreach/farreach/xmpp/sasl"
)

// Info is what may be told of an account.
type Info struct {
	Name    string
	Admin   bool // may manage accounts
	Locked  bool // see Lock
	Created time.Time
}

// record is an account as it is kept, by name.
type record struct {
	Name    string    `json:"name"`
	Admin   bool      `json:"admin,omitzero"`
	Created time.Time `json:"created"`
	SHA256  verifier  `json:"scram_sha_256"`
	SHA1    verifier  `json:"scram_sha_1"`

	// Password is an id of the password, which changes with it. "": the salt is
	// that, in records from before there were log-ins.
	Password string  `json:"password,omitzero"`
	Logins   []login `json:"logins,omitzero"`

	// Locked says that nobody is let in by anything but the grant of a device.
	Locked bool `json:"locked,omitzero"`

	// Deleting says that the account is no more, but that not all that
	// belonged to it has been removed yet.
	Deleting bool `json:"deleting,omitzero"`
}

func (r *record) owner() string { return r.Name }

func (r *record) info() Info { return Info{r.Name, r.Admin, r.Locked, r.Created} }

// credential names the password: it changes with it.
func (r *record) credential() string {
	if r.Password != "" {
		return byPassword + r.Password
	}
	return byPassword + hex.EncodeToString(r.SHA256.Salt)
}

func (r *record) verifier(m sasl.Mechanism) verifier {
	if isSHA1(m) {
		return r.SHA1
	}
	return r.SHA256
}

func isSHA1(m sasl.Mechanism) bool { return m == sasl.ScramSHA1 || m == sasl.ScramSHA1Plus }

// account returns the account called name, or nil.
func (a *Accounts) account(name string) *record {
	if r := a.accounts.Get(name); r != nil && !r.Deleting {
		return r
	}
	return nil
}

// ownerOf returns the account called name, or nil. It is for what is known to
// belong to an account, of which this process may learn a moment later.
func (a *Accounts) ownerOf(ctx context.Context, name string) (*record, error) {
	r, err := a.accounts.Fetch(ctx, name)
	if err != nil || r == nil || r.Deleting {
		return nil, failed("look for the account", err)
	}
	return r, nil
}

var errNoAccount = oic.Errorf(oic.NotFound, "no such account")

// Create makes an account. See Name for its name; one that is taken is a 4.09.
func (a *Accounts) Create(ctx context.Context, name string, password secret.String, admin bool) (Info, error) {
	name, err := Name(name)
	if err != nil {
		return Info{}, err
	}
	r := record{Name: name, Admin: admin, Created: time.Now().UTC()}
	if err := r.setPassword(password); err != nil {
		return Info{}, err
	}
	err = a.accounts.Create(ctx, name, r)
	if errors.Is(err, store.ErrExists) {
		return Info{}, oic.Errorf(oic.Conflict, "there is an account %s already", name)
	}
	return r.info(), failed("create account", err)
}

// SetPassword replaces the password of an account. What logged in with the old
// one ends; tokens, devices and log-ins stay.
func (a *Accounts) SetPassword(ctx context.Context, name string, password secret.String) error {
	_, err := a.accounts.Modify(ctx, name, func(r *record) error {
		if r.Deleting {
			return errNoAccount
		}
		return r.setPassword(password)
	})
	if errors.Is(err, store.ErrNotFound) {
		return errNoAccount
	}
	return failed("set password", err)
}

// Lock locks an account, or unlocks it. Of one that is locked no password, log-in,
// token, browser or pairing code is taken, and what they opened ends; they are good
// again when it is unlocked. The grants of its devices stay good.
func (a *Accounts) Lock(ctx context.Context, name string, locked bool) error {
	_, err := a.accounts.Modify(ctx, name, func(r *record) error {
		if r.Deleting {
			return errNoAccount
		}
		r.Locked = locked
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return errNoAccount
	}
	return failed("lock account", err)
}

// errLocked answers who has proved to be of an account that is locked.
var errLocked = oic.Errorf(oic.Unauthorized, "the account is locked; ask who manages accounts")

// Get returns the account called name.
func (a *Accounts) Get(name string) (Info, bool) {
	if r := a.account(name); r != nil {
		return r.info(), true
	}
	return Info{}, false
}

// List returns all accounts, by name.
func (a *Accounts) List() (list []Info) {
	for _, r := range a.accounts.All() {
		if !r.Deleting {
			list = append(list, r.info())
		}
	}
	slices.SortFunc(list, func(x, y Info) int { return strings.Compare(x.Name, y.Name) })
	return list
}

// BeginDelete is the first of two steps, so that nothing of an account is left
// to a later one of the same name, even if the process dies in between. From
// here on the account is no more. Then the caller removes what belongs to it
// elsewhere, and calls FinishDelete.
func (a *Accounts) BeginDelete(ctx context.Context, name string) error {
	_, err := a.accounts.Modify(ctx, name, func(r *record) error {
		r.Deleting = true
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return errNoAccount
	}
	return failed("delete account", err)
}

// LastAdmin reports whether an account is the only one that may manage accounts and
// is not locked.
func (a *Accounts) LastAdmin(name string) bool {
	last := false
	for other, r := range a.accounts.All() {
		if r.Admin && !r.Deleting && !r.Locked && other != name {
			return false
		}
		last = last || r.Admin && other == name
	}
	return last
}

// Deleting returns the accounts for which FinishDelete is still to be called.
func (a *Accounts) Deleting() (names []string) {
	for name, r := range a.accounts.All() {
		if r.Deleting {
			names = append(names, name)
		}
	}
	return names
}

// FinishDelete removes the tokens, codes, grants, browsers and shares of an account, and then
// its name. See BeginDelete.
func (a *Accounts) FinishDelete(ctx context.Context, name string) error {
	err := errors.Join(
		deleteOf[token](ctx, a.tokens, name),
		deleteOf[code](ctx, a.codes, name),
		deleteOf[grant](ctx, a.grants, name),
		a.endShares(ctx, func(s *Share) bool { return s.Owner == name || s.With == name }),
		deleteOf[browser](ctx, a.browsers, name),
		deleteOf[signInLink](ctx, a.links, name),
	)
	if err == nil {
		err = a.accounts.Delete(ctx, name)
	}
	return failed("delete account", err)
}

// deleteOf removes what belongs to an account from a table.
func deleteOf[T any, P owned[T]](ctx context.Context, v *store.View[T], name string) error {
	for key, r := range v.All() {
		if P(r).owner() == name {
			if err := v.Delete(ctx, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// keepOf removes again what was just added to a table, if its account was
// deleted meanwhile: FinishDelete may have missed it.
func keepOf[T any](ctx context.Context, a *Accounts, name string, v *store.View[T], key string) error {
	if a.account(name) != nil {
		return nil
	}
	return errors.Join(errNoAccount, v.Delete(ctx, key))
}
