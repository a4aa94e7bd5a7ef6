package cloud

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/farreach/farreach/cloud/account"
	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// The methods below take who asks. A program that has a Cloud in its own
// process asks as its operator, oic.Identity{Admin: true}, or as one of its
// accounts.

// Login verifies a password and returns whose it is. peer is where the try
// comes from; guessing is slowed down.
func (c *Cloud) Login(ctx context.Context, peer netip.Addr, name string, password secret.String) (oic.Identity, error) {
	return c.accounts.Login(ctx, peer, name, password)
}

// Authenticate returns whose API token it is. peer is where it comes from.
func (c *Cloud) Authenticate(ctx context.Context, peer netip.Addr, token secret.String) (oic.Identity, error) {
	who, _, err := c.accounts.Bearer(ctx, peer, token)
	return who, err
}

// Accounts lists all accounts, by name.
func (c *Cloud) Accounts(_ context.Context, who oic.Identity) ([]account.Info, error) {
	if err := c.authorize(who, opAccounts, target{}); err != nil {
		return nil, err
	}
	return c.accounts.List(), nil
}

// CreateAccount makes an account. Names are as account.Name says; passwords
// have 8 bytes or more.
func (c *Cloud) CreateAccount(ctx context.Context, who oic.Identity, name string, password secret.String, admin bool) (account.Info, error) {
	if err := c.authorize(who, opAccounts, target{}); err != nil {
		return account.Info{}, err
	}
	info, err := c.accounts.Create(ctx, name, password, admin)
	if err == nil {
		c.log.Info("account created", "account", info.Name, "admin", admin, "by", who.Account)
		c.note(ctx, who, "", "account.create", info.Name)
	}
	return info, err
}

// SetPassword replaces the password of an account.
func (c *Cloud) SetPassword(ctx context.Context, who oic.Identity, name string, password secret.String) error {
	if err := c.authorize(who, opPassword, target{account: name}); err != nil {
		return err
	}
	err := c.accounts.SetPassword(ctx, name, password)
	if err == nil {
		c.log.Info("password set", "account", name, "by", who.Account)
		c.note(ctx, who, name, "password.set", name)
		if c.passwordChanged != nil {
			c.passwordChanged(name)
		}
	}
	return err
}

// LockAccount locks an account, or unlocks it. Nobody signs in to one that is
// locked, its tokens are refused, and what is open by them ends. Its devices stay
// connected and go on reporting, its rules go on, and what it shares stays shared.
func (c *Cloud) LockAccount(ctx context.Context, who oic.Identity, name string, locked bool) error {
	if err := c.authorize(who, opAccounts, target{}); err != nil {
		return err
	}
	if locked && c.accounts.LastAdmin(name) {
		return oic.Errorf(oic.Conflict, "%s is the only admin; make another first", name)
	}
	err := c.accounts.Lock(ctx, name, locked)
	if err == nil {
		what := "account.unlock"
		if locked {
			what = "account.lock"
		}
		c.log.Info("account locked or unlocked", "account", name, "locked", locked, "by", who.Account)
		c.note(ctx, who, "", what, name)
	}
	return err
}

// DeleteAccount ends an account: its tokens, its devices, its events, and
// everything that is open by them.
func (c *Cloud) DeleteAccount(ctx context.Context, who oic.Identity, name string) error {
	if err := c.authorize(who, opAccounts, target{}); err != nil {
		return err
	}
	if c.accounts.LastAdmin(name) {
		return oic.Errorf(oic.Conflict, "%s is the only admin; make another first", name)
	}
	if err := c.accounts.BeginDelete(ctx, name); err != nil {
		return err
	}
	c.log.Info("account deleted", "account", name, "by", who.Account)
	c.note(ctx, who, "", "account.delete", name)
	return c.finishDeletion(ctx, name)
}

// finishDeletions removes what is left of accounts whose deletion was cut
// short.
func (c *Cloud) finishDeletions(ctx context.Context) error {
	for _, name := range c.accounts.Deleting() {
		if err := c.finishDeletion(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cloud) finishDeletion(ctx context.Context, name string) error {
	if err := c.rules.RemoveAll(ctx, name); err != nil {
		return failed("delete rules", err)
	}
	for _, dev := range c.directory.Of(name) {
		if err := c.directory.Delete(ctx, dev.ID); err != nil {
			return err
		}
		c.forget(dev.ID)
	}
	reported := map[string]bool{}
	err := c.events.States(ctx, name, "", func(ev event.Event) bool {
		reported[ev.Device] = true
		return true
	})
	for di := range reported {
		err = errors.Join(err, c.events.Purge(ctx, name, di))
	}
	if err = errors.Join(err, c.commands.PurgeAccount(ctx, name), c.webhooks.Purge(ctx, name)); err != nil {
		return failed("delete events", err)
	}
	if err := c.audit.Forget(ctx, name); err != nil {
		return failed("delete audit log", err)
	}
	return c.accounts.FinishDelete(ctx, name)
}

// NewPairingCode makes a code with which one device may join the account of
// who, until the time returned.
func (c *Cloud) NewPairingCode(ctx context.Context, who oic.Identity) (secret.String, time.Time, error) {
	if err := c.authorize(who, opPair, target{account: who.Account}); err != nil {
		return "", time.Time{}, err
	}
	code, until, err := c.accounts.NewCode(ctx, who.Account)
	if err == nil {
		c.note(ctx, who, who.Account, "pairing-code.create", "")
	}
	return code, until, err
}

// NewToken makes an API token for the account of who, which is told only now.
// It may do what the scope says, and lives as long as life says; 0: until it is
// revoked.
func (c *Cloud) NewToken(ctx context.Context, who oic.Identity, label string, scope oic.Scope, life time.Duration) (secret.String, account.Token, error) {
	if err := c.authorize(who, opTokens, target{account: who.Account}); err != nil {
		return "", account.Token{}, err
	}
	clear, t, err := c.accounts.NewToken(ctx, who.Account, label, scope, life)
	if err == nil {
		c.note(ctx, who, who.Account, "token.create", nameOf(t)+", for "+scope.String())
	}
	return clear, t, err
}

// Tokens lists the API tokens of the account of who, oldest first.
func (c *Cloud) Tokens(_ context.Context, who oic.Identity) ([]account.Token, error) {
	if err := c.authorize(who, opTokens, target{account: who.Account}); err != nil {
		return nil, err
	}
	return c.accounts.Tokens(who.Account), nil
}

// RevokeToken ends an API token of the account of who, and what is open by it.
func (c *Cloud) RevokeToken(ctx context.Context, who oic.Identity, id string) error {
	if err := c.authorize(who, opTokens, target{account: who.Account}); err != nil {
		return err
	}
	t, err := c.accounts.RevokeToken(ctx, who.Account, id)
	if err == nil {
		c.note(ctx, who, who.Account, "token.revoke", nameOf(t))
	}
	return err
}

// nameOf is a token, for a person.
func nameOf(t account.Token) string { return strings.TrimSpace(t.Label + " (" + t.ID + ")") }
