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

// The limits of browsers and of the links that sign them in (threats, section 4).
const (
	browserLife = 7 * 24 * time.Hour
	browserIdle = 12 * time.Hour
	browserNote = 10 * time.Minute // how exactly it is known when one was used
	maxBrowsers = 50               // of an account; the one that was used longest ago goes first
	linkLife    = 10 * time.Minute
	maxLinks    = 20 // of an account at a time
)

// browser is a browser that somebody is signed in with, kept by the hash of
// its cookie.
type browser struct {
	Account  string    `json:"account"`
	Password string    `json:"password"` // the name of the account's at that time: a new password ends it
	Created  time.Time `json:"created"`
	Used     time.Time `json:"used"`
}

func (b *browser) owner() string { return b.Account }

// ends is when it must sign in again, if it is not used until then.
func (b *browser) ends() time.Time {
	idle, life := b.Used.Add(browserIdle), b.Created.Add(browserLife)
	if idle.Before(life) {
		return idle
	}
	return life
}

// signInLink is a link that signs one browser in, kept by its hash.
type signInLink struct {
	Account string    `json:"account"`
	Expires time.Time `json:"expires"`
	Used    bool      `json:"used,omitzero"`
}

func (l *signInLink) owner() string { return l.Account }

var errLink = oic.Errorf(oic.Unauthorized, "this link was used before, or is older than %s; farreach open makes another", linkLife)

// NewSignInLink makes the secret of a link that signs one browser in to an
// account, once, until the time returned.
func (a *Accounts) NewSignInLink(ctx context.Context, name string) (secret.String, time.Time, error) {
	n, now := 0, time.Now().UTC()
	for _, l := range a.links.All() {
		if l.Account == name && now.Before(l.Expires) {
			n++
		}
	}
	if n >= maxLinks {
		return "", time.Time{}, oic.Errorf(oic.TooMany, "%d links are open; use one, or wait until one has expired", n)
	}
	clear, l := secret.Token(secret.Link), signInLink{Account: name, Expires: now.Add(linkLife)}
	key := secret.HashOf(clear).String()
	if err := a.links.Create(ctx, key, l); err != nil {
		return "", time.Time{}, failed("create link", err)
	}
	return clear, l.Expires, keepOf(ctx, a, name, a.links, key)
}

// FollowLink signs a browser in by a link, which is then used up. It returns
// what the browser is to show from now on.
func (a *Accounts) FollowLink(ctx context.Context, peer netip.Addr, clear secret.String) (secret.String, oic.Identity, error) {
	key := secret.HashOf(clear).String()
	l, err := a.links.Modify(ctx, key, func(l *signInLink) error {
		if l.Used || !time.Now().Before(l.Expires) {
			return errLink
		}
		l.Used = true
		return nil
	})
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, errLink):
		if err := a.throttle.admit(ctx, "link", peer); err != nil {
			return "", oic.Identity{}, err
		}
		a.guessed("link", peer)
		return "", oic.Identity{}, errLink
	case err != nil:
		return "", oic.Identity{}, failed("follow link", err)
	}
	return a.newBrowser(ctx, l.Account)
}

// LoginBrowser signs a browser in by a password; see Login. It returns what
// the browser is to show from now on.
func (a *Accounts) LoginBrowser(ctx context.Context, peer netip.Addr, name string, password secret.String) (secret.String, oic.Identity, error) {
	who, err := a.Login(ctx, peer, name, password)
	if err != nil {
		return "", oic.Identity{}, err
	}
	return a.newBrowser(ctx, who.Account)
}

func (a *Accounts) newBrowser(ctx context.Context, name string) (secret.String, oic.Identity, error) {
	r, err := a.ownerOf(ctx, name)
	if err != nil {
		return "", oic.Identity{}, err
	}
	if r == nil {
		return "", oic.Identity{}, errLink
	}
	if r.Locked {
		return "", oic.Identity{}, errLocked
	}
	if err := a.makeRoom(ctx, name); err != nil {
		return "", oic.Identity{}, failed("sign in", err)
	}
	now := time.Now().UTC()
	clear := secret.Token(secret.Browser)
	key := secret.HashOf(clear).String()
	if err := a.browsers.Create(ctx, key, browser{Account: name, Password: r.credential(), Created: now, Used: now}); err != nil {
		return "", oic.Identity{}, failed("sign in", err)
	}
	return clear, identityOf(r, byBrowser+key), keepOf(ctx, a, name, a.browsers, key)
}

// makeRoom signs out the browser that was used longest ago if there are too many.
func (a *Accounts) makeRoom(ctx context.Context, name string) error {
	var oldest string
	var used time.Time
	n := 0
	for key, b := range a.browsers.All() {
		if b.Account != name {
			continue
		}
		if n++; oldest == "" || b.Used.Before(used) {
			oldest, used = key, b.Used
		}
	}
	if n < maxBrowsers {
		return nil
	}
	return a.browsers.Delete(ctx, oldest)
}

// Browser returns who is signed in with the browser that shows clear, and until
// when at most, if it is not used until then.
func (a *Accounts) Browser(ctx context.Context, clear secret.String) (oic.Identity, time.Time, error) {
	key := secret.HashOf(clear).String()
	b := a.browsers.Get(key)
	if b == nil {
		return oic.Identity{}, time.Time{}, errSignedOut
	}
	now := time.Now()
	r := a.account(b.Account)
	if r == nil || !b.holds(r, now) {
		return oic.Identity{}, time.Time{}, errSignedOut
	}
	if r.Locked {
		return oic.Identity{}, time.Time{}, errLocked
	}
	if now.Sub(b.Used) > browserNote {
		used, err := a.browsers.Modify(ctx, key, func(b *browser) error { b.Used = now.UTC(); return nil })
		if err != nil {
			return oic.Identity{}, time.Time{}, failed("note the use of a browser", err)
		}
		b = &used
	}
	return identityOf(r, byBrowser+key), b.ends(), nil
}

var errSignedOut = oic.Errorf(oic.Unauthorized, "signed out; sign in again")

// holds reports whether somebody is still signed in, with the account as it is.
func (b *browser) holds(r *record, now time.Time) bool {
	return b.Password == r.credential() && now.Before(b.ends())
}

func identityOf(r *record, credential string) oic.Identity {
	return oic.Identity{Account: r.Name, Admin: r.Admin, Credential: credential}
}

// SignOut signs out the browser by which who is signed in, or all browsers of
// his account, and ends what they opened.
func (a *Accounts) SignOut(ctx context.Context, who oic.Identity, everywhere bool) error {
	if everywhere {
		return failed("sign out", deleteOf[browser](ctx, a.browsers, who.Account))
	}
	if kind, key := cutCredential(who.Credential); kind == byBrowser {
		return failed("sign out", a.browsers.Delete(ctx, key))
	}
	return nil
}

// removeOld removes what browsers and links have outlived.
func (a *Accounts) removeOld(ctx context.Context, now time.Time) error {
	for key, b := range a.browsers.All() {
		if !now.Before(b.ends()) {
			if err := a.browsers.Delete(ctx, key); err != nil {
				return err
			}
		}
	}
	for key, l := range a.links.All() {
		if !now.Before(l.Expires) {
			if err := a.links.Delete(ctx, key); err != nil {
				return err
			}
		}
	}
	return nil
}
