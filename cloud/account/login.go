package account

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/sasl"
)

// maxLogins is how many log-ins an account has beside its password.
const maxLogins = 64

// Login is a log-in of an account to its XMPP server with a password of its
// own: what one device has, in the place of the account's password. It
// is worth nothing anywhere else, and can be ended alone.
type Login struct {
	Name string // by which its owner knows it

	// Resource is the resource that may be bound with it, in which * stands for
	// any characters: "OIC/1.0/*/<di>" is one device, whatever its type is.
	Resource string
	Created  time.Time
}

// login is a Login as it is kept, in the record of its account, whose salts
// and iterations it has: there is one challenge for all.
type login struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Resource string    `json:"resource"`
	Created  time.Time `json:"created"`
	SHA256   pair      `json:"scram_sha_256"`
	SHA1     pair      `json:"scram_sha_1"`
}

// pair is a sasl.Pair as it is kept.
type pair struct {
	StoredKey []byte `json:"stored_key"`
	ServerKey []byte `json:"server_key"`
}

func (l *login) info() Login { return Login{l.Name, l.Resource, l.Created} }

// credential names the log-in in identities: not a secret, and another one each
// time.
func (l *login) credential() string { return byLogin + l.ID }

// may reports whether l may bind a resource.
func (l *login) may(resource string) bool { return matches(l.Resource, resource) }

// matches reports whether s is what pattern says, in which * stands for any
// characters, or none.
func matches(pattern, s string) bool {
	first, rest, ok := strings.Cut(pattern, "*")
	if !ok {
		return pattern == s
	}
	s, ok = strings.CutPrefix(s, first)
	for ok {
		var part string
		if part, rest, ok = strings.Cut(rest, "*"); !ok {
			return strings.HasSuffix(s, part)
		}
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return false
}

// NewLogin adds a log-in to an account, and returns its password, which is told
// once. See Login for resource. A name that is taken is a 4.09, one log-in more
// than 64 a 4.03.
func (a *Accounts) NewLogin(ctx context.Context, name, called, resource string) (secret.String, Login, error) {
	address, err := jid.New("a", "example", resource)
	if err != nil || address.Resource() == "" {
		return "", Login{}, oic.Errorf(oic.BadRequest, "a log-in needs the resource of an XMPP address, in which * stands for anything")
	}
	if called == "" || len(called) > maxLabel || strings.ContainsFunc(called, unicode.IsControl) {
		return "", Login{}, oic.Errorf(oic.BadRequest, "a log-in has a name of 1 to %d bytes", maxLabel)
	}
	password := secret.Token("")
	l := login{ID: secret.ID(), Name: called, Resource: address.Resource(), Created: time.Now().UTC()}
	_, err = a.accounts.Modify(ctx, name, func(r *record) error {
		switch {
		case r.Deleting:
			return errNoAccount
		case r.login(called) >= 0:
			return oic.Errorf(oic.Conflict, "there is a log-in %s already", called)
		case len(r.Logins) >= maxLogins:
			return oic.Errorf(oic.Forbidden, "%d log-ins are all that an account may have; remove one", maxLogins)
		}
		if l.SHA256, err = pairOf(sasl.ScramSHA256, password, r.SHA256); err != nil {
			return err
		}
		if l.SHA1, err = pairOf(sasl.ScramSHA1, password, r.SHA1); err != nil {
			return err
		}
		r.Logins = append(r.Logins, l)
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		err = errNoAccount
	}
	if err != nil {
		return "", Login{}, failed("add log-in", err)
	}
	return password, l.info(), nil
}

// pairOf derives what is kept of a password beside v.
func pairOf(m sasl.Mechanism, password secret.String, v verifier) (pair, error) {
	got, err := sasl.Derive(m, password, v.Salt, v.Iterations)
	return pair{got.StoredKey, got.ServerKey}, err
}

// Logins returns the log-ins of an account, oldest first.
func (a *Accounts) Logins(name string) (list []Login, err error) {
	r := a.account(name)
	if r == nil {
		return nil, errNoAccount
	}
	for i := range r.Logins {
		list = append(list, r.Logins[i].info())
	}
	return list, nil
}

// RemoveLogin ends a log-in, and what it opened.
func (a *Accounts) RemoveLogin(ctx context.Context, name, called string) error {
	_, err := a.accounts.Modify(ctx, name, func(r *record) error {
		i := r.login(called)
		if i < 0 {
			return oic.Errorf(oic.NotFound, "no such log-in")
		}
		r.Logins = slices.Delete(r.Logins, i, i+1)
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return errNoAccount
	}
	return failed("remove log-in", err)
}

// login is the index of the log-in with this name, -1 if there is none.
func (r *record) login(name string) int {
	return slices.IndexFunc(r.Logins, func(l login) bool { return l.Name == name })
}

// others are the pairs of the log-ins of r for m, and made-up ones to fill up:
// how long it takes to try them all does not tell how many there are, or
// whether there is an account. r may be nil.
func (r *record) others(m sasl.Mechanism, madeUp sasl.Pair) []sasl.Pair {
	all := make([]sasl.Pair, 0, maxLogins)
	if r != nil {
		for i := range r.Logins {
			p := r.Logins[i].SHA256
			if isSHA1(m) {
				p = r.Logins[i].SHA1
			}
			all = append(all, sasl.Pair(p))
		}
	}
	for len(all) < maxLogins {
		all = append(all, madeUp)
	}
	return all
}
