package xmppd

import (
	"context"
	"net/netip"
	"time"

	"github.com/farreach/farreach/xmpp/sasl"
)

// Accounts are those who may log in. Names are prepared local parts (RFC 7622,
// section 3.3).
type Accounts interface {
	// Begin begins a log-in as name from peer. It waits, or fails, where
	// guessing is slowed down. That name has no account is not told.
	Begin(ctx context.Context, peer netip.Addr, name string) (LogIn, error)

	// Since is when the account called name was made: another one of the same
	// name inherits nothing. It reports whether there is one.
	Since(name string) (made time.Time, ok bool)
}

// LogIn is one try to log in, with what was known of the account when it began.
type LogIn interface {
	// Verifier returns what SCRAM with m needs, of each password that opens the
	// account: of a name without an account one that is made up, and the same
	// each time.
	Verifier(m sasl.Mechanism) sasl.Verifier

	// Failed says that the try failed. It is called at most once.
	Failed()

	// Proved says that a password was proved, and which one
	// (sasl.Server.Which). It returns what that opens.
	Proved(which int) Pass
}

// Pass is what somebody who has proved a password may open.
type Pass interface {
	// May reports whether a session may have this resource: that of one device
	// may be all that its password is good for.
	May(resource string) bool

	// Enter opens a session: end is called, at most once and from another
	// goroutine, when the account is gone, its password has changed, or what
	// else it was opened by does not hold any more; leave is called when the
	// session is over. The error says that it does not hold already.
	Enter(end func()) (leave func(), err error)
}
