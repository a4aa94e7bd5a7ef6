package xmppdtest

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/farreach/farreach/xmpp/sasl"
	"github.com/farreach/farreach/xmppd"
)

// people are the accounts of a server, by name, all with the same password, which
// nobody takes away.
type people []string

// verifiers are derived once for all tests.
var verifiers = sync.OnceValue(func() map[sasl.Mechanism]sasl.Verifier {
	all := map[sasl.Mechanism]sasl.Verifier{}
	for _, m := range []sasl.Mechanism{sasl.ScramSHA256, sasl.ScramSHA1} {
		v, err := sasl.Derive(m, Password, []byte("a salt of 16 byt"), sasl.MinIterations)
		if err != nil {
			panic(err)
		}
		all[m] = v
	}
	return all
})

// Begin is that of xmppd.Accounts.
func (p people) Begin(_ context.Context, _ netip.Addr, name string) (xmppd.LogIn, error) {
	return &logIn{p, name}, nil
}

// Since is that of xmppd.Accounts.
func (p people) Since(name string) (time.Time, bool) {
	return time.Time{}, slices.Contains(p, name)
}

type logIn struct {
	p    people
	name string
}

func (l *logIn) Verifier(m sasl.Mechanism) sasl.Verifier {
	if _, ok := l.p.Since(l.name); ok {
		return verifiers()[m]
	}
	return sasl.Fake([]byte("key"), m, l.name, sasl.MinIterations)
}

func (l *logIn) Failed() {}

func (l *logIn) Proved(int) xmppd.Pass { return l }

func (l *logIn) May(string) bool { return true }

func (l *logIn) Enter(func()) (leave func(), err error) {
	if _, ok := l.p.Since(l.name); !ok {
		return nil, errors.New("no such account")
	}
	return func() {}, nil
}
