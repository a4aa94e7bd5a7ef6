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
	// Verifier returns what SCRAM with m needs: of a name without an account
	// one that is made up, and the same each time.
	Verifier(m sasl.Mechanism) sasl.Verifier

	// Failed says that the try failed. It is called at most once.
	Failed()

	// Enter says that the password was proved, and opens a session: end is
	// called, at most once and from another goroutine, when the account is
	// gone or its password has changed; leave is called when the session is
	// over. The error says that the account has changed already.
	Enter(end func()) (leave func(), err error)
}
