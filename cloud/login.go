package cloud

import (
	"context"
	"net/netip"
	"time"

	"github.com/farreach/farreach/cloud/account"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// LogIn is one try to log in with a password that is proved, not shown (RFC
// 5802), to a session that stays open: that of an XMPP client.
type LogIn struct {
	*account.Proof
	c *Cloud
}

// BeginLogIn begins a try of somebody at peer to log in as name. After failures
// it waits; that there is no such account is not told.
func (c *Cloud) BeginLogIn(ctx context.Context, peer netip.Addr, name string) (*LogIn, error) {
	p, err := c.accounts.Begin(ctx, peer, name)
	if err != nil {
		return nil, err
	}
	return &LogIn{p, c}, nil
}

// Proved says that the password was proved, and which one (sasl.Server.Which).
// It returns what that opens.
func (l *LogIn) Proved(which int) *Pass {
	who, may := l.Proof.Proved(which)
	return &Pass{l.c, who, may}
}

// Pass is what was proved: the right to open sessions with certain resources.
type Pass struct {
	c   *Cloud
	who oic.Identity
	may func(resource string) bool
}

// May reports whether a session may have this resource. By the password of the
// account any may.
func (p *Pass) May(resource string) bool { return p.may(resource) }

// Enter opens a session. end is called, once and from another goroutine, when
// the login no longer holds: the password has changed, the log-in was removed,
// or the account is no more. leave is to be called at the end. The error says
// that the login does not hold already.
func (p *Pass) Enter(end func()) (leave func(), err error) {
	o := &hold{who: p.who, op: opStream, on: target{account: p.who.Account}, end: func(error) { end() }}
	remove := p.c.held.add(o)
	if err := p.c.authorize(p.who, opStream, o.on); err != nil {
		remove()
		return nil, err
	}
	return remove, nil
}

// NewLogin adds a log-in to an account, and returns its password, which is told
// only now; see account.Login. A name that is taken is a 4.09.
func (c *Cloud) NewLogin(ctx context.Context, who oic.Identity, name, called, resource string) (secret.String, account.Login, error) {
	if err := c.authorize(who, opLogins, target{account: name}); err != nil {
		return "", account.Login{}, err
	}
	password, l, err := c.accounts.NewLogin(ctx, name, called, resource)
	if err == nil {
		c.log.Info("log-in added", "account", name, "login", l.Name, "resource", l.Resource, "by", who.Account)
		c.note(ctx, who, name, "login.create", l.Name+", for "+l.Resource)
	}
	return password, l, err
}

// Logins lists the log-ins of an account, oldest first.
func (c *Cloud) Logins(_ context.Context, who oic.Identity, name string) ([]account.Login, error) {
	if err := c.authorize(who, opLogins, target{account: name}); err != nil {
		return nil, err
	}
	return c.accounts.Logins(name)
}

// RemoveLogin ends a log-in of an account, and what is open by it.
func (c *Cloud) RemoveLogin(ctx context.Context, who oic.Identity, name, called string) error {
	if err := c.authorize(who, opLogins, target{account: name}); err != nil {
		return err
	}
	err := c.accounts.RemoveLogin(ctx, name, called)
	if err == nil {
		c.log.Info("log-in removed", "account", name, "login", called, "by", who.Account)
		c.note(ctx, who, name, "login.delete", called)
	}
	return err
}

// AccountSince is when the account called name was made, and whether there is
// one. It is for servers of this process, which must not tell.
func (c *Cloud) AccountSince(name string) (made time.Time, ok bool) {
	info, ok := c.accounts.Get(name)
	return info.Created, ok
}
