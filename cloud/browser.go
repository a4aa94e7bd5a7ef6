package cloud

import (
	"context"
	"net/netip"
	"time"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// NewSignInLink makes the secret of a link that signs one browser in to the
// account of who, once, until the time returned.
func (c *Cloud) NewSignInLink(ctx context.Context, who oic.Identity) (secret.String, time.Time, error) {
	if err := c.authorize(who, opBrowsers, target{account: who.Account}); err != nil {
		return "", time.Time{}, err
	}
	return c.accounts.NewSignInLink(ctx, who.Account)
}

// FollowLink signs a browser in by such a link. It returns what the browser is
// to show from now on. peer is where it comes from; guessing is slowed down.
func (c *Cloud) FollowLink(ctx context.Context, peer netip.Addr, link secret.String) (secret.String, oic.Identity, error) {
	shown, who, err := c.accounts.FollowLink(ctx, peer, link)
	if err == nil {
		c.note(ctx, who, who.Account, "browser.sign-in", "by a link")
	}
	return shown, who, err
}

// LoginBrowser signs a browser in by a password; see FollowLink.
func (c *Cloud) LoginBrowser(ctx context.Context, peer netip.Addr, name string, password secret.String) (secret.String, oic.Identity, error) {
	shown, who, err := c.accounts.LoginBrowser(ctx, peer, name, password)
	if err == nil {
		c.note(ctx, who, who.Account, "browser.sign-in", "by password")
	}
	return shown, who, err
}

// Browser returns who is signed in with the browser that shows this, and until
// when, if it is not used until then.
func (c *Cloud) Browser(ctx context.Context, shown secret.String) (oic.Identity, time.Time, error) {
	return c.accounts.Browser(ctx, shown)
}

// SignOut signs out the browser that who shows, or all browsers of his account.
// What they have opened ends.
func (c *Cloud) SignOut(ctx context.Context, who oic.Identity, everywhere bool) error {
	if err := c.authorize(who, opBrowsers, target{account: who.Account}); err != nil {
		return err
	}
	return c.accounts.SignOut(ctx, who, everywhere)
}
