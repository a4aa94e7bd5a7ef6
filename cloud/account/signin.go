package account

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// NewGrant gives the device di of an account what it signs in with. A grant
// that it had before ends.
func (a *Accounts) NewGrant(ctx context.Context, name, di string) (Grant, error) {
	g, out := newGrant(name, di, time.Now().UTC(), a.cfg.AccessTTL)
	if err := a.grants.Put(ctx, di, *g); err != nil {
		return Grant{}, failed("grant", err)
	}
	return out, keepOf(ctx, a, name, a.grants, di)
}

// SignIn returns the identity of the device di of an account that shows this
// access token, and until when the token holds (zero: for ever).
func (a *Accounts) SignIn(ctx context.Context, peer netip.Addr, name, di string, access secret.String) (oic.Identity, time.Time, error) {
	g, err := a.grantOf(ctx, name, di, access)
	if err != nil {
		return oic.Identity{}, time.Time{}, err
	}
	if g != nil {
		if t, ok := g.access(access, time.Now()); ok {
			r, err := a.ownerOf(ctx, name)
			if err != nil {
				return oic.Identity{}, time.Time{}, err
			}
			if r != nil {
				a.proved(di, peer)
				return oic.Identity{Account: name, Device: di, Credential: g.credential()}, t.Expires, nil
			}
		}
	}
	return oic.Identity{}, time.Time{}, a.refuse(ctx, di, peer)
}

// grantOf returns the grant of a device, if it is one of the account. One that
// does not know the token may have been given it by another node.
func (a *Accounts) grantOf(ctx context.Context, name, di string, access secret.String) (g *grant, err error) {
	if g = a.grants.Get(di); g != nil && g.Account == name {
		if _, ok := g.access(access, time.Now()); ok {
			return g, nil
		}
	}
	if g, err = a.grants.Renew(ctx, di); err != nil || g == nil || g.Account != name {
		return nil, failed("sign in", err)
	}
	return g, nil
}

// Refresh replaces the tokens of a device. A refresh token that was replaced
// before is a copy in the wrong hands, or the device's own is: the grant is
// revoked and the device must be paired again (threats rule 16).
func (a *Accounts) Refresh(ctx context.Context, peer netip.Addr, name, di string, tok secret.String) (Grant, error) {
	if g, err := a.grantOf(ctx, name, di, ""); err != nil {
		return Grant{}, err
	} else if g == nil {
		return Grant{}, a.refuse(ctx, di, peer)
	}
	if r, err := a.ownerOf(ctx, name); err != nil {
		return Grant{}, err
	} else if r == nil {
		return Grant{}, a.refuse(ctx, di, peer)
	}
	var out Grant
	var what exchange
	_, err := a.grants.Modify(ctx, di, func(g *grant) error {
		if out, what = g.refresh(tok, time.Now().UTC(), a.cfg.AccessTTL); what != replaced || g.Account != name {
			return errKept
		}
		return nil
	})
	switch {
	case err == nil:
		a.proved(di, peer)
		return out, nil
	case !errors.Is(err, errKept) && !errors.Is(err, store.ErrNotFound):
		return Grant{}, failed("refresh", err)
	case what == stolen:
		a.cfg.Log.Warn("refresh token used twice: the device must be paired again", "account", name, "device", di)
		if err := a.Revoke(ctx, di); err != nil {
			return Grant{}, err
		}
	}
	return Grant{}, a.refuse(ctx, di, peer)
}

var errKept = errors.New("nothing to change")

// Revoke ends the grant of a device, and what it opened. The pairing code that
// the device came with, which it might still repeat, is spent for good.
func (a *Accounts) Revoke(ctx context.Context, di string) error {
	for key, c := range a.codes.All() {
		if c.Device == di {
			if err := a.codes.Delete(ctx, key); err != nil {
				return failed("revoke", err)
			}
		}
	}
	if a.grants.Get(di) == nil {
		return nil
	}
	return failed("revoke", a.grants.Delete(ctx, di))
}
