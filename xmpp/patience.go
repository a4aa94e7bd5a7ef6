package xmpp

import (
	"cmp"
	"crypto/tls"
	"errors"
	"time"

	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/xmpp/sasl"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
)

// patience is how long a Client waits between attempts, by what went wrong.
type patience struct {
	usual backoff.Backoff

	// wrong is for what stays as it is until somebody puts it right.
	wrong backoff.Backoff

	// conflict is for when somebody took the address. If it is another living
	// client with the same one, the two would throw each other out for ever: the
	// wait grows until one of them has served for two hours.
	conflict backoff.Backoff
}

func newPatience(usual backoff.Backoff) patience {
	return patience{
		usual:    usual,
		wrong:    backoff.Backoff{Base: 30 * time.Second, Max: 10 * time.Minute, Steady: true},
		conflict: backoff.Backoff{Base: time.Minute, Max: time.Hour, Good: 2 * time.Hour, Steady: true},
	}
}

// served says that an attempt succeeded and then lasted for d.
func (p *patience) served(d time.Duration) {
	p.usual.Served(d)
	p.wrong.Served(d)
	p.conflict.Served(d)
}

// after is how long to wait before the next attempt, after one that lasted for
// d and ended because of err. A server that says goodbye has all its clients
// come back: they spread (threats rule 21).
func (p *patience) after(d time.Duration, err error) time.Duration {
	switch {
	case isConflict(err):
		return p.conflict.Next()
	case lasts(err):
		return p.wrong.Next()
	case saidGoodbye(err) && d >= cmp.Or(p.usual.Good, backoff.DefaultGood):
		return p.usual.Goodbye()
	}
	return p.usual.Next()
}

func isConflict(err error) bool {
	e, ok := errors.AsType[*stream.Error](err)
	return ok && e.Condition == stream.Conflict
}

// lasts reports whether a server that is there will most likely do the same
// again until somebody has changed it, or us.
func lasts(err error) bool {
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, refused := errors.AsType[*sasl.Failure](err)
	bind, unbound := errors.AsType[*stanza.Error](err)
	if unbound && bind.Condition == stanza.NotAllowed { // the password is another device's
		return true
	}
	return certificate || refused || errors.Is(err, ErrRenamed) || errors.Is(err, ErrNoTLS) || errors.Is(err, sasl.ErrTooWeak)
}

func saidGoodbye(err error) bool {
	e, ok := errors.AsType[*stream.Error](err)
	return errors.Is(err, ErrEnded) || ok && e.Condition == stream.SystemShutdown
}

// final reports whether trying again would not help.
func final(err error) bool {
	e, ok := errors.AsType[*AuthError](err)
	if !ok {
		return false
	}
	switch e.Condition { // RFC 6120, section 6.5
	case "not-authorized", "account-disabled", "credentials-expired", "invalid-authzid":
		return true
	}
	return false
}
