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

// people are the accounts of a server, all with the same password.
type people struct {
	names []string

	mu   sync.Mutex // guards what follows
	next int
	ends map[string]map[int]func() // of their sessions
}

func newPeople(names []string) *people {
	return &people{names: names, ends: map[string]map[int]func(){}}
}

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
func (p *people) Begin(_ context.Context, _ netip.Addr, name string) (xmppd.LogIn, error) {
	return &logIn{p, name}, nil
}

// Since is that of xmppd.Accounts.
func (p *people) Since(name string) (time.Time, bool) {
	return time.Time{}, slices.Contains(p.names, name)
}

// revoke ends the sessions of an account.
func (p *people) revoke(name string) {
	p.mu.Lock()
	ends := p.ends[name]
	delete(p.ends, name)
	p.mu.Unlock()
	for _, end := range ends {
		end()
	}
}

type logIn struct {
	p    *people
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

func (l *logIn) Enter(end func()) (leave func(), err error) {
	p := l.p
	if _, ok := p.Since(l.name); !ok {
		return nil, errors.New("no such account")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ends[l.name] == nil {
		p.ends[l.name] = map[int]func(){}
	}
	n := p.next
	p.next++
	p.ends[l.name][n] = end
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.ends[l.name], n)
	}, nil
}
