package cloud

import (
	"context"
	"net/netip"
	"time"

	"github.com/farreach/farreach/cloud/account"
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

// Enter says that the password was proved. end is called, once and from another
// goroutine, when the login no longer holds: the password has changed, or the
// account is no more. leave is to be called at the end. The error says that the
// login does not hold already.
func (l *LogIn) Enter(end func()) (leave func(), err error) {
	who := l.Proved()
	o := &hold{who: who, op: opStream, on: target{account: who.Account}, end: func(error) { end() }}
	remove := l.c.held.add(o)
	if err := l.c.authorize(who, opStream, o.on); err != nil {
		remove()
		return nil, err
	}
	return remove, nil
}

// AccountSince is when the account called name was made, and whether there is
// one. It is for servers of this process, which must not tell.
func (c *Cloud) AccountSince(name string) (made time.Time, ok bool) {
	info, ok := c.accounts.Get(name)
	return info.Created, ok
}
