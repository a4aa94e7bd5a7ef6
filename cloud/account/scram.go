package account

import (
	"context"
	"net/netip"
	"sync"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/xmpp/sasl"
)

// Proof is one try of somebody to prove with SCRAM (RFC 5802) that an account
// is his, with what was known of it when the try began. It is not for several
// goroutines at once.
type Proof struct {
	a    *Accounts
	name string
	peer netip.Addr
	r    *record // nil: there is no such account
	once sync.Once
}

// Begin begins a try from peer to prove to be name. It waits after failures, as
// Login does, and the error is that of Login or of ctx. That there is no such
// account is not told.
func (a *Accounts) Begin(ctx context.Context, peer netip.Addr, name string) (*Proof, error) {
	n, err := Name(name)
	if err != nil {
		n = name // fails like any other unknown account
	}
	if err := a.throttle.admit(ctx, n, peer); err != nil {
		return nil, err
	}
	return &Proof{a: a, name: n, peer: peer, r: a.account(n)}, nil
}

// Verifier returns what a SCRAM server needs for m: that of the password, and
// those of the log-ins beside it. For a name without an account it is made up:
// no password fits, and it is the same each time.
func (p *Proof) Verifier(m sasl.Mechanism) sasl.Verifier {
	v := p.a.fake(p.name, m)
	madeUp := sasl.Pair{StoredKey: v.StoredKey, ServerKey: v.ServerKey}
	if p.r != nil {
		v = p.r.verifier(m)
	}
	return sasl.Verifier{
		Salt: v.Salt, Iterations: v.Iterations, StoredKey: v.StoredKey, ServerKey: v.ServerKey,
		Others: p.r.others(m, madeUp),
	}
}

// Failed says that the try has failed. Only the first call of Failed or Proved
// counts.
func (p *Proof) Failed() {
	p.once.Do(func() { p.a.guessed(p.name, p.peer) })
}

// Proved says that the try went well, by which password (sasl.Server.Which), and
// returns whose it was. may says which resources of an XMPP address it is good
// for.
func (p *Proof) Proved(which int) (who oic.Identity, may func(resource string) bool) {
	p.once.Do(func() { p.a.proved(p.name, p.peer) })
	switch r := p.r; {
	case r != nil && which == 0:
		return oic.Identity{Account: r.Name, Admin: r.Admin, Credential: r.credential()}, func(string) bool { return true }
	case r != nil && which > 0 && which <= len(r.Logins):
		l := &r.Logins[which-1]
		return oic.Identity{Account: r.Name, Credential: l.credential()}, l.may
	}
	return oic.Identity{}, func(string) bool { return false } // cannot be
}
