package account

import (
	"slices"
	"time"

	"github.com/farreach/farreach/internal/secret"
)

// reuse is how long a device may repeat a request whose answer was lost
// (cloud-interface rule 12, threats rule 16).
const reuse = 60 * time.Second

// grantTokens is how many tokens of each kind a grant has at most: more than
// one only while answers were lost.
const grantTokens = 4

// Grant is what a device holds after it signed up, and proves with who it is.
type Grant struct {
	Account string
	Device  string // di
	Access  secret.String
	Refresh secret.String
	Expires time.Time // of Access; zero: never
}

// grant is a Grant as it is kept, by di. All refresh tokens of a grant begin
// with its family's name, so that an old one is known for what it was without
// being kept: whoever shows it has copied it.
type grant struct {
	Account string        `json:"account"`
	Device  string        `json:"device"`
	Created time.Time     `json:"created"`
	Family  secret.Hash   `json:"family"`
	Access  []issued      `json:"access"`  // newest last
	Refresh []secret.Hash `json:"refresh"` // newest last; several if answers were lost
	Spent   secret.Hash   `json:"spent"`   // which those in Refresh replaced
	SpentAt time.Time     `json:"spent_at"`
}

// issued is an access token.
type issued struct {
	Hash    secret.Hash `json:"hash"`
	Expires time.Time   `json:"expires,omitzero"`
}

// newGrant returns the grant of a device that has just signed up.
func newGrant(account, di string, now time.Time, ttl time.Duration) (*grant, Grant) {
	family := secret.Token(secret.Refresh)
	g := &grant{Account: account, Device: di, Created: now, Family: secret.HashOf(family)}
	return g, g.issue(family, now, ttl)
}

// familyLen is the length of a family's name, which is a token itself.
const familyLen = len(secret.Refresh) + secret.TokenLen

// issue adds new tokens. Older access tokens end within the time in which the
// answer may still be on its way.
func (g *grant) issue(family secret.String, now time.Time, ttl time.Duration) Grant {
	out := Grant{
		Account: g.Account,
		Device:  g.Device,
		Access:  secret.Token(secret.Access),
		Refresh: family + secret.Token(""),
	}
	if ttl > 0 {
		out.Expires = now.Add(ttl)
	}
	g.Access = slices.DeleteFunc(g.Access, func(t issued) bool { return t.ended(now) })
	for i := range g.Access {
		if last := now.Add(reuse); g.Access[i].Expires.IsZero() || g.Access[i].Expires.After(last) {
			g.Access[i].Expires = last
		}
	}
	g.Access = newest(append(g.Access, issued{secret.HashOf(out.Access), out.Expires}))
	g.Refresh = newest(append(g.Refresh, secret.HashOf(out.Refresh)))
	return out
}

func newest[T any](list []T) []T { return list[max(0, len(list)-grantTokens):] }

func (t issued) ended(now time.Time) bool { return !t.Expires.IsZero() && !now.Before(t.Expires) }

// access returns the access token that tok is, if it is good now.
func (g *grant) access(tok secret.String, now time.Time) (issued, bool) {
	h := secret.HashOf(tok)
	for _, t := range g.Access {
		if t.Hash.Equal(h) && !t.ended(now) {
			return t, true
		}
	}
	return issued{}, false
}

// exchange is what became of a refresh token.
type exchange int

const (
	unknown  exchange = iota // it never belonged to the grant
	replaced                 // by new tokens
	stolen                   // it was replaced before: the grant is to be revoked
)

// refresh replaces a refresh token. The one replaced last may be shown again
// for a minute, and then every token given for it is good.
func (g *grant) refresh(tok secret.String, now time.Time, ttl time.Duration) (Grant, exchange) {
	if len(tok) < familyLen || !secret.HashOf(tok[:familyLen]).Equal(g.Family) {
		return Grant{}, unknown
	}
	h := secret.HashOf(tok)
	switch {
	case slices.ContainsFunc(g.Refresh, h.Equal):
		g.Spent, g.SpentAt, g.Refresh = h, now, nil
	case h.Equal(g.Spent) && now.Sub(g.SpentAt) < reuse:
	default:
		return Grant{}, stolen
	}
	return g.issue(tok[:familyLen], now, ttl), replaced
}

// credential names the grant in identities: not a secret, and another one for
// each sign-up.
func (g *grant) credential() string { return byGrant + g.Family.String() }

func (g *grant) owner() string { return g.Account }
