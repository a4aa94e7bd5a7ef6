package account

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"net/netip"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
	"github.com/farreach/farreach/xmpp/sasl"
)

// How passwords are kept (RFC 5802, RFC 7677).
const (
	saltLen    = 16
	iterations = 10_000

	minPassword = 8    // bytes
	maxPassword = 1024 // bytes
)

// verifier is a sasl.Verifier as it is kept.
type verifier struct {
	Salt       []byte `json:"salt"`
	Iterations int    `json:"iterations"`
	StoredKey  []byte `json:"stored_key"`
	ServerKey  []byte `json:"server_key"`
}

// newVerifier derives a verifier from a password. The error is that the
// password has characters which SASLprep (RFC 4013) forbids.
func newVerifier(m sasl.Mechanism, password secret.String, salt []byte) (verifier, error) {
	v, err := sasl.Derive(m, password, salt, iterations)
	return kept(v), err
}

func kept(v sasl.Verifier) verifier {
	return verifier{v.Salt, v.Iterations, v.StoredKey, v.ServerKey}
}

// setPassword derives the verifiers of both mechanisms, each with a salt of its
// own. The salts are new ones, unless there are log-ins: those were derived with
// them. A password that cannot be one is refused with 4.00.
func (r *record) setPassword(password secret.String) error {
	if n := len(password); n < minPassword || n > maxPassword {
		return oic.Errorf(oic.BadRequest, "a password has %d to %d bytes", minPassword, maxPassword)
	}
	salts := [2][]byte{r.SHA256.Salt, r.SHA1.Salt}
	if len(r.Logins) == 0 {
		salts = [2][]byte{newSalt(), newSalt()}
	}
	v256, err := newVerifier(sasl.ScramSHA256, password, salts[0])
	if err != nil {
		return oic.Errorf(oic.BadRequest, "the password has characters that cannot be typed everywhere")
	}
	v1, err := newVerifier(sasl.ScramSHA1, password, salts[1])
	if err != nil {
		return err // cannot be: it was one a moment ago
	}
	r.SHA256, r.SHA1, r.Password = v256, v1, secret.ID()
	return nil
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
	v, r := a.fake(n, sasl.ScramSHA256), a.account(n)
	if r != nil {
		v = r.SHA256
	}
	if !v.fits(password) || r == nil {
		a.guessed(n, peer)
		return oic.Identity{}, oic.Errorf(oic.Unauthorized, "wrong account or password")
	}
	a.proved(n, peer)
	if r.Locked {
		return oic.Identity{}, errLocked
	}
	return oic.Identity{Account: r.Name, Admin: r.Admin, Credential: r.credential()}, nil
}

// fits reports whether v was derived from password.
func (v verifier) fits(password secret.String) bool {
	if len(password) > maxPassword {
		password = password[:maxPassword+1] // too long for any account, and hashed all the same
	}
	got, err := newVerifier(sasl.ScramSHA256, password, v.Salt)
	return err == nil && subtle.ConstantTimeCompare(got.StoredKey, v.StoredKey) == 1
}

// fake makes up the verifier of a name that has no account.
func (a *Accounts) fake(name string, m sasl.Mechanism) verifier {
	return kept(sasl.Fake(a.fakes, m, name, iterations))
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
