package account

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// The limits of API tokens.
const (
	maxTokens = 20 // of an account
	maxLabel  = 64 // bytes
)

// Token is what may be told of an API token.
type Token struct {
	ID      string
	Label   string // by which its owner knows it
	Created time.Time
	Expires time.Time // zero: never
}

// token is an API token as it is kept, by its hash.
type token struct {
	ID      string    `json:"id"`
	Account string    `json:"account"`
	Label   string    `json:"label,omitzero"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"`
}

func (t *token) owner() string { return t.Account }

func (t *token) ended(now time.Time) bool { return !t.Expires.IsZero() && !now.Before(t.Expires) }

func (t *token) info() Token { return Token{t.ID, t.Label, t.Created, t.Expires} }

// NewToken makes an API token for an account. It is told once and lives as
// long as life says; 0: until it is revoked.
func (a *Accounts) NewToken(ctx context.Context, name, label string, life time.Duration) (secret.String, Token, error) {
	if len(label) > maxLabel || strings.ContainsFunc(label, unicode.IsControl) || life < 0 {
		return "", Token{}, oic.Errorf(oic.BadRequest, "a token has a label of %d bytes at most and no life below 0", maxLabel)
	}
	if len(a.Tokens(name)) >= maxTokens {
		return "", Token{}, oic.Errorf(oic.Forbidden, "%d tokens are all that an account may have; revoke one", maxTokens)
	}
	now := time.Now().UTC()
	t := token{ID: secret.ID(), Account: name, Label: label, Created: now}
	if life > 0 {
		t.Expires = now.Add(life)
	}
	clear := secret.Token(secret.User)
	key := secret.HashOf(clear).String()
	if err := a.tokens.Create(ctx, key, t); err != nil {
		return "", Token{}, failed("create token", err)
	}
	return clear, t.info(), keepOf(ctx, a, name, a.tokens, key)
}

// Tokens returns the API tokens of an account, oldest first.
func (a *Accounts) Tokens(name string) (list []Token) {
	now := time.Now()
	for _, t := range a.tokens.All() {
		if t.Account == name && !t.ended(now) {
			list = append(list, t.info())
		}
	}
	slices.SortFunc(list, func(x, y Token) int { return x.Created.Compare(y.Created) })
	return list
}

// RevokeToken ends the API token of an account with this id, and what it
// opened.
func (a *Accounts) RevokeToken(ctx context.Context, name, id string) error {
	for key, t := range a.tokens.All() {
		if t.Account == name && t.ID == id {
			return failed("revoke token", a.tokens.Delete(ctx, key))
		}
	}
	return oic.Errorf(oic.NotFound, "no such token")
}

// Bearer returns whose API token clear is, and until when it holds (zero: for
// ever). After failures the refusal comes late; a good token never waits for
// the bad ones of others.
func (a *Accounts) Bearer(ctx context.Context, peer netip.Addr, clear secret.String) (oic.Identity, time.Time, error) {
	key := secret.HashOf(clear).String()
	if t := a.tokens.Get(key); t != nil && !t.ended(time.Now()) {
		r, err := a.ownerOf(ctx, t.Account)
		if err != nil {
			return oic.Identity{}, time.Time{}, err
		}
		if r != nil {
			return oic.Identity{Account: r.Name, Admin: r.Admin, Credential: byToken + key}, t.Expires, nil
		}
	}
	return oic.Identity{}, time.Time{}, a.refuse(ctx, "token", peer)
}

// refuse counts a wrong guess of a secret that nobody can guess, and answers
// it, later after each further one.
func (a *Accounts) refuse(ctx context.Context, principal string, peer netip.Addr) error {
	if err := a.throttle.admit(ctx, principal, peer); err != nil {
		return err
	}
	a.throttle.failed(principal, peer)
	return oic.Errorf(oic.Unauthorized, "wrong or expired token")
}

// The kinds of credential: what stands before the colon of
// oic.Identity.Credential.
const (
	byPassword = "password:"
	byLogin    = "login:"
	byToken    = "token:"
	byGrant    = "grant:"
)

// cutCredential parts a credential into its kind and its name.
func cutCredential(c string) (kind, name string) {
	i := strings.IndexByte(c, ':') + 1
	return c[:i], c[i:]
}
