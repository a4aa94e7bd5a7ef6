package oic

import (
	"fmt"
	"slices"
)

// Scope is what may be done with a credential at most, whatever its owner may.
// The zero Scope is everything.
type Scope uint8

// The scopes, from the widest to the narrowest: each may do what those behind it
// may.
const (
	ScopeAdmin   Scope = iota // everything that its account may
	ScopeCommand              // see, read, and change what devices do
	ScopeRead                 // see and read
)

var scopeNames = []string{"admin", "command", "read"}

// Allows reports whether s is as wide as what is needed.
func (s Scope) Allows(needed Scope) bool { return s <= needed }

func (s Scope) String() string {
	if int(s) < len(scopeNames) {
		return scopeNames[s]
	}
	return fmt.Sprintf("scope %d", uint8(s))
}

// ParseScope returns the scope with this name. A name that is none is refused
// with 4.00.
func ParseScope(name string) (Scope, error) {
	i := slices.Index(scopeNames, name)
	if i < 0 {
		return ScopeRead, Errorf(BadRequest, "a scope is read, command or admin")
	}
	return Scope(i), nil
}

// MarshalText implements encoding.TextMarshaler.
func (s Scope) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Scope) UnmarshalText(text []byte) (err error) {
	*s, err = ParseScope(string(text))
	return err
}
