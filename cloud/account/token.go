package account

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// The limits of API tokens.
const (
	maxTokens = 20 // of an account; and as many that have expired
	maxLabel  = 64 // bytes

	// expiredKept is how long a token that has expired is remembered, to tell
	// who shows it what is wrong.
	expiredKept = 30 * 24 * time.Hour
)

// Token is what may be told of an API token.
type Token struct {
	ID      string
	Label   string    // by which its owner knows it
	Scope   oic.Scope // what it may do at most
	Created time.Time
	Expires time.Time // zero: never
	Used    time.Time // the last time, to the minute; zero: never
}

// token is an API token as it is kept, by its hash.
type token struct {
	ID      string    `json:"id"`
	Account string    `json:"account"`
	Label   string    `json:"label,omitzero"`
	Scope   oic.Scope `json:"scope,omitzero"` // none, in records from before there were scopes: admin
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"`
	Used    time.Time `json:"used,omitzero"`
}

func (t *token) owner() string { return t.Account }

func (t *token) ended(now time.Time) bool { return !t.Expires.IsZero() && !now.Before(t.Expires) }

func (t *token) info() Token { return Token{t.ID, t.Label, t.Scope, t.Created, t.Expires, t.Used} }

// identity is who shows t, which is kept under key, and is of the account r.
func (t *token) identity(key string, r *record) oic.Identity {
	return oic.Identity{
		Account: r.Name, Admin: r.Admin, Credential: byToken + key, Token: t.ID, Name: t.Label, Scope: t.Scope,
	}
}

// NewToken makes an API token for an account. It is told once and lives as
// long as life says; 0: until it is revoked.
func (a *Accounts) NewToken(ctx context.Context, name, label string, scope oic.Scope, life time.Duration) (secret.String, Token, error) {
	if len(label) > maxLabel || strings.ContainsFunc(label, unicode.IsControl) || life < 0 {
		return "", Token{}, oic.Errorf(oic.BadRequest, "a token has a label of %d bytes at most and no life below 0", maxLabel)
	}
	if len(a.Tokens(name)) >= maxTokens {
		return "", Token{}, oic.Errorf(oic.Forbidden, "%d tokens are all that an account may have; revoke one", maxTokens)
	}
	now := time.Now().UTC()
	t := token{ID: secret.ID(), Account: name, Label: label, Scope: scope, Created: now}
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

// Tokens returns the API tokens of an account that are good now, oldest first.
func (a *Accounts) Tokens(name string) (list []Token) {
	now := time.Now()
	for key, t := range a.tokens.All() {
		if t.Account == name && !t.ended(now) {
			info := t.info()
			info.Used = a.used.last(key, info.Used)
			list = append(list, info)
		}
	}
	slices.SortFunc(list, func(x, y Token) int { return x.Created.Compare(y.Created) })
	return list
}

// RevokeToken ends the API token of an account with this id, and what it
// opened. It returns what that was.
func (a *Accounts) RevokeToken(ctx context.Context, name, id string) (Token, error) {
	for key, t := range a.tokens.All() {
		if t.Account == name && t.ID == id {
			return t.info(), failed("revoke token", a.tokens.Delete(ctx, key))
		}
	}
	return Token{}, oic.Errorf(oic.NotFound, "no such token")
}

// Bearer returns whose API token clear is, and until when it holds (zero: for
// ever). After failures the refusal comes late; a good token never waits for
// the bad ones of others. One that was good and has expired is no guess, and
// refused at once.
func (a *Accounts) Bearer(ctx context.Context, peer netip.Addr, clear secret.String) (oic.Identity, time.Time, error) {
	key := secret.HashOf(clear).String()
	t := a.tokens.Get(key)
	if t == nil { // another node may have made it just now
		var err error
		if t, err = a.tokens.Renew(ctx, key); err != nil {
			return oic.Identity{}, time.Time{}, failed("look for the token", err)
		}
	}
	if t != nil {
		now := time.Now()
		if t.ended(now) {
			return oic.Identity{}, time.Time{}, oic.Errorf(oic.Unauthorized, "the token has expired at %s", t.Expires.Format(time.RFC3339))
		}
		r, err := a.ownerOf(ctx, t.Account)
		if err != nil {
			return oic.Identity{}, time.Time{}, err
		}
		if r != nil && r.Locked {
			return oic.Identity{}, time.Time{}, errLocked
		}
		if r != nil {
			a.used.note(key, now)
			return t.identity(key, r), t.Expires, nil
		}
	}
	return oic.Identity{}, time.Time{}, a.refuse(ctx, "token", peer)
}

// uses is when tokens were used last, as far as the store does not know yet.
type uses struct {
	mu sync.Mutex           // guards at
	at map[string]time.Time // by hash of the token; nil: none
}

func (u *uses) note(key string, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.at == nil {
		u.at = map[string]time.Time{}
	}
	u.at[key] = now
}

// last is when the token at key was used last; stored is what the store knows.
func (u *uses) last(key string, stored time.Time) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	if at, ok := u.at[key]; ok {
		return at.UTC()
	}
	return stored
}

// take returns all that was noted, and forgets it.
func (u *uses) take() map[string]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	at := u.at
	u.at = nil
	return at
}

// storeUses writes down when tokens were used last. What cannot be written is
// lost with the process, and no more than that.
func (a *Accounts) storeUses(ctx context.Context) error {
	for key, at := range a.used.take() {
		_, err := a.tokens.Modify(ctx, key, func(t *token) error {
			t.Used = at.UTC().Truncate(time.Second)
			return nil
		})
		if err != nil && !errors.Is(err, store.ErrNotFound) { // revoked meanwhile
			a.used.note(key, at)
			return err
		}
	}
	return nil
}

// expired returns the keys of the tokens that have expired and need not be
// remembered any more: for their age, or because the account has younger ones.
func (a *Accounts) expired(now time.Time) (keys []string) {
	ended := map[string][]string{} // by account
	tokens := map[string]*token{}
	for key, t := range a.tokens.All() {
		switch {
		case !t.ended(now):
		case now.Sub(t.Expires) > expiredKept:
			keys = append(keys, key)
		default:
			ended[t.Account], tokens[key] = append(ended[t.Account], key), t
		}
	}
	for _, of := range ended {
		slices.SortFunc(of, func(x, y string) int { return tokens[y].Expires.Compare(tokens[x].Expires) })
		keys = append(keys, of[min(len(of), maxTokens):]...)
	}
	return keys
}

// refuse counts a wrong guess of a secret that nobody can guess, and answers
// it, later after each further one.
func (a *Accounts) refuse(ctx context.Context, principal string, peer netip.Addr) error {
	if err := a.throttle.admit(ctx, principal, peer); err != nil {
		return err
	}
	a.guessed(principal, peer)
	return oic.Errorf(oic.Unauthorized, "wrong or revoked token")
}

// The kinds of credential: what stands before the colon of
// oic.Identity.Credential.
const (
	byPassword = "password:"
	byLogin    = "login:"
	byToken    = "token:"
	byGrant    = "grant:"
	byOther    = "other:"
	byBrowser  = "browser:"
)

// cutCredential parts a credential into its kind and its name.
func cutCredential(c string) (kind, name string) {
	i := strings.IndexByte(c, ':') + 1
	return c[:i], c[i:]
}
