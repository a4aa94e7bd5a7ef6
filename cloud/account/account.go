// Package account is the people of a cloud and what they hold: passwords, API
// tokens, pairing codes, the grants with which their devices sign in, and what
// they share with each other.
//
//	password ── SCRAM verifier ──▶ accounts ── Login ──▶ oic.Identity
//	log-in ──── SCRAM keys ──────▶ accounts ── Begin, Proved ──▶ oic.Identity, for one resource of XMPP
//	API token ────── SHA-256 ────▶ tokens ── Bearer ──▶ oic.Identity
//	link, password ─ SHA-256 ────▶ browsers ── Browser ──▶ oic.Identity
//	pairing code ─── SHA-256 ────▶ codes ── Redeem ──▶ grants ── SignIn, Refresh ──▶ oic.Identity
//	oic.Identity ── Valid, at each use ──▶ does it still hold?
//	share ───────────────────────▶ shares ── Role ──▶ what is one account to what is another's?
//
// The tables live in the store, where nothing secret is in clear, and are
// mirrored in memory: to ask whether an identity still holds costs no I/O, and
// a change made by another process arrives by itself. Each change is a
// compare-and-swap of one record, so that two of them never mix.
//
// Who may do what is not decided here but in package cloud.
package account

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// Config says how accounts are kept. Only Store has no default.
type Config struct {
	Store     *store.Store
	AccessTTL time.Duration // life of a device's access token; 0: 1 h; negative: it never ends
	Log       *slog.Logger  // nil: slog.Default()

	// Changed, if not nil, is called when something changed that identities of
	// the account name rest on: the account itself, and then by is empty, or
	// what some of them show, of which By is by. It must not call back and must
	// not block.
	Changed func(name, by string)

	// Refused, if not nil, is called when somebody at peer did not prove to be
	// principal: the name of an account or the di of a device, if there is one,
	// or a kind of secret. It must not block.
	Refused func(principal string, peer netip.Addr)
}

// sweepEvery is the time between two removals of what has expired.
const sweepEvery = time.Minute

// farewell is how long Close takes at most to write down what is not yet.
const farewell = time.Second

// Accounts are the accounts of a cloud. Its methods may be called from several
// goroutines at once.
//
// A refusal is an *oic.StatusError. To somebody who has not proved to be it,
// none tells whether an account exists.
type Accounts struct {
	cfg      Config
	accounts *store.View[record]
	tokens   *store.View[token] // by hash
	codes    *store.View[code]  // by hash
	grants   *store.View[grant] // by di
	shares   *store.View[Share] // by who is given, who gives, and what
	guests   guests
	browsers *store.View[browser]    // by hash
	links    *store.View[signInLink] // by hash
	fakes    []byte                  // key from which verifiers of unknown accounts are made
	throttle throttle
	guesses  guesses
	used     uses

	stop  context.CancelFunc
	tasks sync.WaitGroup
}

// Open reads the accounts from the store. Close is to be called at the end.
func Open(ctx context.Context, cfg Config) (*Accounts, error) {
	if cfg.AccessTTL == 0 {
		cfg.AccessTTL = time.Hour
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Changed == nil {
		cfg.Changed = func(string, string) {}
	}
	if cfg.Refused == nil {
		cfg.Refused = func(string, netip.Addr) {}
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	a := &Accounts{cfg: cfg, stop: stop}
	if err := a.open(ctx); err != nil {
		a.Close()
		return nil, fmt.Errorf("open accounts: %w", err)
	}
	a.tasks.Go(func() { a.sweep(run) })
	return a, nil
}

func (a *Accounts) open(ctx context.Context) (err error) {
	changed := a.cfg.Changed
	if a.accounts, err = openView[record](ctx, a, "accounts", func(name, _ string) { changed(name, "") }); err != nil {
		return err
	}
	if a.tokens, err = openView[token](ctx, a, "tokens", func(name, hash string) { changed(name, byToken+hash) }); err != nil {
		return err
	}
	if a.grants, err = openView[grant](ctx, a, "grants", changed); err != nil {
		return err
	}
	if a.shares, err = openView[Share](ctx, a, "shares", func(name, _ string) { a.guests.changed(); changed(name, "") }); err != nil {
		return err
	}
	if a.codes, err = openView[code](ctx, a, "pairing-codes", func(string, string) {}); err != nil { // no right rests on one
		return err
	}
	if a.browsers, err = openView[browser](ctx, a, "browsers", func(name, hash string) { changed(name, byBrowser+hash) }); err != nil {
		return err
	}
	if a.links, err = openView[signInLink](ctx, a, "sign-in-links", func(string, string) {}); err != nil {
		return err
	}
	if a.fakes, err = fakeKey(ctx, a.cfg.Store); err != nil {
		return err
	}
	return a.guesses.open(ctx, a.cfg.Store, &a.throttle)
}

// owned is a record that belongs to an account.
type owned[T any] interface {
	*T
	owner() string
}

// By is what an identity shows to prove who it is: its device, whose grant
// counts, or else its credential.
func By(who oic.Identity) string {
	if who.Device != "" {
		return who.Device
	}
	return who.Credential
}

// openView opens one of the tables. changed is called for each change, with
// the owner of what changed, and its key.
func openView[T any, P owned[T]](ctx context.Context, a *Accounts, name string, changed func(owner, key string)) (*store.View[T], error) {
	t, err := store.OpenTable[T](ctx, a.cfg.Store, name, 0)
	if err != nil {
		return nil, err
	}
	return store.OpenView(ctx, t, func(key string, old, new *T) {
		if old == nil {
			old = new
		}
		changed(P(old).owner(), key)
	})
}

// Close ends what Open started. The store stays open.
func (a *Accounts) Close() {
	a.stop()
	a.tasks.Wait()
	if a.tokens != nil {
		ctx, cancel := context.WithTimeout(context.Background(), farewell)
		defer cancel()
		if err := a.storeUses(ctx); err != nil {
			a.cfg.Log.Debug("last uses of tokens are lost", "err", err)
		}
	}
	a.guesses.close()
	closeView(a.accounts)
	closeView(a.tokens)
	closeView(a.codes)
	closeView(a.grants)
	closeView(a.shares)
	closeView(a.browsers)
	closeView(a.links)
}

func closeView[T any](v *store.View[T]) {
	if v != nil {
		v.Close()
	}
}

// Valid reports whether an identity still holds, with the state of this
// moment, and until when it will at most (zero: for ever).
//
// Identities without a credential were made inside this process; the one
// without an account too is its operator.
func (a *Accounts) Valid(who oic.Identity, now time.Time) (until time.Time, ok bool) {
	if who.Account == "" {
		return time.Time{}, who == oic.Identity{Admin: true}
	}
	r := a.account(who.Account)
	if r == nil || who.Admin && !r.Admin {
		return time.Time{}, false
	}
	if who.Credential == "" {
		return time.Time{}, true
	}
	switch kind, name := cutCredential(who.Credential); {
	case r.Locked && kind != byGrant:
		return time.Time{}, false
	case kind == byPassword:
		return time.Time{}, who.Credential == r.credential()
	case kind == byLogin:
		return time.Time{}, slices.ContainsFunc(r.Logins, func(l login) bool { return l.ID == name })
	case kind == byToken:
		t := a.tokens.Get(name)
		if t == nil || t.Account != who.Account || who.Device != "" || t.Scope != who.Scope {
			return time.Time{}, false
		}
		return t.Expires, !t.ended(now)
	case kind == byBrowser:
		b := a.browsers.Get(name)
		if b == nil || b.Account != who.Account || who.Device != "" {
			return time.Time{}, false
		}
		return b.ends(), b.holds(r, now)
	case kind == byOther:
		return time.Time{}, true
	case kind == byGrant:
		g := a.grants.Get(who.Device)
		return time.Time{}, g != nil && g.Account == who.Account && g.Family.Is(name)
	}
	return time.Time{}, false
}

// sweep removes what has expired, and writes down when tokens were used, until
// ctx ends.
func (a *Accounts) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if err := errors.Join(a.removeExpired(ctx, now), a.removeOld(ctx, now), a.storeUses(ctx)); err != nil && ctx.Err() == nil {
				a.cfg.Log.Warn("expired tokens and codes remain for now", "err", err)
			}
		}
	}
}

func (a *Accounts) removeExpired(ctx context.Context, now time.Time) error {
	for _, key := range a.expired(now) {
		if err := a.tokens.Delete(ctx, key); err != nil {
			return err
		}
	}
	offered := func(s *Share) bool { return s.Accepted.IsZero() && now.Sub(s.Created) > shareOffered }
	if err := a.endShares(ctx, offered); err != nil {
		return err
	}
	for key, c := range a.codes.All() {
		if now.Sub(c.Expires) > reuse {
			if err := a.codes.Delete(ctx, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// failed adds to an error what was being done. A refusal stays as it is, and a
// store that cannot write is one: 5.03.
func failed(what string, err error) error {
	if _, refusal := errors.AsType[*oic.StatusError](err); refusal || err == nil {
		return err
	}
	if errors.Is(err, store.ErrUnavailable) {
		return fmt.Errorf("%s: %w: %w", what, oic.Errorf(oic.Unavailable, "nothing can be stored now; try again"), err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
