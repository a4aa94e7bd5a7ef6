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

// Verifier returns what a SCRAM server needs for m. For a name without an
// account it is made up: no password fits, and it is the same each time.
func (p *Proof) Verifier(m sasl.Mechanism) sasl.Verifier {
	v := p.a.fake(p.name, m)
	if p.r != nil {
		v = p.r.verifier(m)
	}
	return sasl.Verifier(v)
}

// Failed says that the try has failed. Only the first call of Failed or Proved
// counts.
func (p *Proof) Failed() {
	p.once.Do(func() { p.a.throttle.failed(p.name, p.peer) })
}

// Proved says that the try went well, and returns whose it was.
func (p *Proof) Proved() oic.Identity {
	p.once.Do(func() { p.a.throttle.proved(p.name, p.peer) })
	if p.r == nil {
		return oic.Identity{} // cannot be
	}
	return oic.Identity{Account: p.r.Name, Admin: p.r.Admin, Credential: p.r.credential()}
}
