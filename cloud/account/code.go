package account

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// The limits of pairing codes.
const (
	codeLife = 10 * time.Minute
	maxCodes = 1000 // of an account at a time: as many as it may have devices
)

// code is a pairing code as it is kept, by its hash.
type code struct {
	Account string    `json:"account"`
	Expires time.Time `json:"expires"`
	Used    time.Time `json:"used,omitzero"`
	Device  string    `json:"device,omitzero"` // that used it
}

func (c *code) owner() string { return c.Account }

var errCode = oic.Errorf(oic.Unauthorized, "wrong, used or expired pairing code")

// NewCode makes a pairing code: with it one device may join the account, once,
// until the time returned.
func (a *Accounts) NewCode(ctx context.Context, name string) (secret.String, time.Time, error) {
	n, now := 0, time.Now().UTC()
	for _, c := range a.codes.All() {
		if c.Account == name && c.open(now) {
			n++
		}
	}
	if n >= maxCodes {
		return "", time.Time{}, oic.Errorf(oic.TooMany, "%d pairing codes are open; wait until one has expired", n)
	}
	clear, c := secret.Code(), code{Account: name, Expires: now.Add(codeLife)}
	key := secret.HashOf(clear).String()
	if err := a.codes.Create(ctx, key, c); err != nil {
		return "", time.Time{}, failed("create pairing code", err)
	}
	return clear, c.Expires, keepOf(ctx, a, name, a.codes, key)
}

func (c *code) open(now time.Time) bool { return c.Used.IsZero() && now.Before(c.Expires) }

// CheckCode returns the account that a pairing code which di shows is for, and
// leaves the code as it is. After failures it waits; see throttle.
func (a *Accounts) CheckCode(ctx context.Context, peer netip.Addr, typed secret.String, di string) (name string, err error) {
	const principal = "pairing code"
	if err := a.throttle.admit(ctx, principal, peer); err != nil {
		return "", err
	}
	key, err := codeKey(typed)
	if err != nil {
		a.failed(principal, peer)
		return "", errCode
	}
	c := a.codes.Get(key)
	if c == nil { // another node may have made it just now
		if c, err = a.codes.Renew(ctx, key); err != nil {
			return "", failed("look for the code", err)
		}
	}
	var r *record
	if c != nil && c.usable(di, time.Now()) {
		if r, err = a.ownerOf(ctx, c.Account); err != nil {
			return "", err
		}
	}
	if r == nil {
		a.guessed(principal, peer)
		return "", errCode
	}
	if r.Locked {
		return "", errLocked
	}
	return r.Name, nil
}

// Redeem uses up a pairing code, which then is worth nothing to any other
// device, and returns the account it is for. The same device may repeat it for
// a minute, in case the answer was lost (cloud-interface rule 12).
func (a *Accounts) Redeem(ctx context.Context, typed secret.String, di string) (name string, err error) {
	key, err := codeKey(typed)
	if err != nil {
		return "", errCode
	}
	now := time.Now().UTC()
	c, err := a.codes.Modify(ctx, key, func(c *code) error { return c.use(di, now) })
	if errors.Is(err, store.ErrNotFound) {
		return "", errCode
	}
	return c.Account, failed("redeem pairing code", err)
}

// usable reports whether di may use c.
func (c *code) usable(di string, now time.Time) bool { return c.open(now) || c.repeated(di, now) }

func (c *code) repeated(di string, now time.Time) bool {
	return c.Device == di && !c.Used.IsZero() && now.Sub(c.Used) < reuse
}

// use makes c used by di. Repeating it does not lengthen the time for that.
func (c *code) use(di string, now time.Time) error {
	if !c.usable(di, now) {
		return errCode
	}
	if !c.repeated(di, now) {
		c.Used, c.Device = now, di
	}
	return nil
}

func codeKey(typed secret.String) (string, error) {
	code, err := secret.ParseCode(typed)
	return secret.HashOf(code).String(), err
}
