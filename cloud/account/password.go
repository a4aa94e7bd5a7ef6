package account

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/netip"

	"github.com/xdg-go/scram"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// How passwords are kept (RFC 5802, RFC 7677).
const (
	saltLen    = 16
	iterations = 10_000

	minPassword = 8    // bytes
	maxPassword = 1024 // bytes
)

// Mechanism is a SASL mechanism whose verifiers are kept.
type Mechanism string

// The mechanisms of which each account has a verifier.
const (
	SHA256 Mechanism = "SCRAM-SHA-256"
	SHA1   Mechanism = "SCRAM-SHA-1"
)

func (m Mechanism) hash() scram.HashGeneratorFcn {
	if m == SHA1 {
		return scram.SHA1
	}
	return scram.SHA256
}

// verifier proves that somebody knows a password, without being the password
// (RFC 5802, section 3).
type verifier struct {
	Salt       []byte `json:"salt"`
	Iterations int    `json:"iterations"`
	StoredKey  []byte `json:"stored_key"`
	ServerKey  []byte `json:"server_key"`
}

// newVerifier derives a verifier from a password. The error is that the
// password has characters which SASLprep (RFC 4013) forbids.
func newVerifier(m Mechanism, password secret.String, salt []byte) (verifier, error) {
	client, err := m.hash().NewClient("", password.Reveal(), "")
	if err != nil {
		return verifier{}, err
	}
	c, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: iterations})
	if err != nil {
		return verifier{}, err
	}
	return verifier{salt, iterations, c.StoredKey, c.ServerKey}, nil
}

// newVerifiers derives the verifiers of both mechanisms, each with its own
// salt. A password that cannot be one is refused with 4.00.
func newVerifiers(password secret.String) (v256, v1 verifier, err error) {
	if n := len(password); n < minPassword || n > maxPassword {
		return v256, v1, oic.Errorf(oic.BadRequest, "a password has %d to %d bytes", minPassword, maxPassword)
	}
	v256, err = newVerifier(SHA256, password, newSalt())
	if err == nil {
		v1, err = newVerifier(SHA1, password, newSalt())
	}
	if err != nil {
		return v256, v1, oic.Errorf(oic.BadRequest, "the password has characters that cannot be typed everywhere")
	}
	return v256, v1, nil
}

func newSalt() []byte {
	salt := make([]byte, saltLen)
	rand.Read(salt)
	return salt
}

// Login verifies a password and returns whose it is. After failures it waits;
// see throttle. A wrong password and an unknown account are the same 4.01 and
// take the same time.
func (a *Accounts) Login(ctx context.Context, peer netip.Addr, name string, password secret.String) (oic.Identity, error) {
	n, err := Name(name)
	if err != nil {
		n = name // fails below like any other unknown account
	}
	if err := a.throttle.admit(ctx, n, peer); err != nil {
		return oic.Identity{}, err
	}
	v, r := a.fake(n, SHA256), a.account(n)
	if r != nil {
		v = r.SHA256
	}
	if !v.fits(password) || r == nil {
		a.throttle.failed(n, peer)
		return oic.Identity{}, oic.Errorf(oic.Unauthorized, "wrong account or password")
	}
	a.throttle.proved(n, peer)
	return oic.Identity{Account: r.Name, Admin: r.Admin, Credential: r.credential()}, nil
}

// fits reports whether v was derived from password.
func (v verifier) fits(password secret.String) bool {
	if len(password) > maxPassword {
		password = password[:maxPassword+1] // too long for any account, and hashed all the same
	}
	got, err := newVerifier(SHA256, password, v.Salt)
	return err == nil && subtle.ConstantTimeCompare(got.StoredKey, v.StoredKey) == 1
}

// fake makes up the verifier of a name that has no account.
func (a *Accounts) fake(name string, m Mechanism) verifier {
	derive := func(what string) []byte {
		mac := hmac.New(sha256.New, a.fakes)
		mac.Write([]byte(what + "\x00" + string(m) + "\x00" + name))
		return mac.Sum(nil)
	}
	size := sha256.Size
	if m == SHA1 {
		size = 20
	}
	return verifier{derive("salt")[:saltLen], iterations, derive("stored")[:size], derive("server")[:size]}
}

// fakeKey returns the key from which salts of unknown accounts are made. It is
// kept, so that they stay the same.
func fakeKey(ctx context.Context, s *store.Store) ([]byte, error) {
	t, err := store.OpenTable[[]byte](ctx, s, "account-keys", 0)
	if err != nil {
		return nil, err
	}
	fresh := make([]byte, 32)
	rand.Read(fresh)
	if _, err := t.Create(ctx, "unknown", fresh); err == nil || !errors.Is(err, store.ErrExists) {
		return fresh, err
	}
	key, _, err := t.Get(ctx, "unknown")
	return key, err
}
