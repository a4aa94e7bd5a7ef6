// Package secret holds what must not be seen: passwords, tokens and pairing
// codes on their way through the program.
//
//	crypto/rand ──▶ Token, Code ──▶ String ── Reveal ──▶ the one who may know it
//	                                  └───── Hash ──▶ the store
//
// A String prints as stars wherever it is printed; the store keeps hashes.
package secret

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
)

// String is a secret. Every way of printing or encoding it gives stars;
// Reveal gives the secret itself. The zero String is no secret.
type String string

const stars = "***"

// Reveal returns the secret as it is, to be sent or derived from, never to be
// printed.
func (s String) Reveal() string { return string(s) }

// Equal reports whether s and t are the same, in a time that does not tell
// where they differ.
func (s String) Equal(t String) bool {
	return subtle.ConstantTimeCompare([]byte(s), []byte(t)) == 1
}

// String implements fmt.Stringer: stars.
func (s String) String() string { return stars }

// GoString implements fmt.GoStringer: stars.
func (s String) GoString() string { return stars }

// Format implements fmt.Formatter: stars for every verb, %x and %q too.
func (s String) Format(f fmt.State, _ rune) { io.WriteString(f, stars) }

// LogValue implements slog.LogValuer: stars.
func (s String) LogValue() slog.Value { return slog.StringValue(stars) }

// MarshalText implements encoding.TextMarshaler, and so covers JSON, XML and
// YAML: stars.
func (s String) MarshalText() ([]byte, error) { return []byte(stars), nil }

// MarshalBinary implements encoding.BinaryMarshaler, which CBOR and gob prefer
// to a string: stars.
func (s String) MarshalBinary() ([]byte, error) { return []byte(stars), nil }

// UnmarshalText implements encoding.TextUnmarshaler, so that a secret can be
// read from what a peer or a file says.
func (s *String) UnmarshalText(b []byte) error {
	*s = String(b)
	return nil
}

// Hash is the SHA-256 of a secret of 60 random bits or more, as the store
// keeps it. It needs no salt, for nobody can try that many; passwords, which
// people choose, are kept otherwise.
type Hash [sha256.Size]byte

// HashOf returns the hash of s.
func HashOf(s String) Hash { return sha256.Sum256([]byte(s)) }

// Equal reports whether h and g are the same, in constant time.
func (h Hash) Equal(g Hash) bool { return subtle.ConstantTimeCompare(h[:], g[:]) == 1 }

// String returns h as 64 hexadecimal digits: a key for the store.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Is reports whether s is what String returns. It allocates nothing.
func (h Hash) Is(s string) bool {
	var text [2 * len(h)]byte
	hex.Encode(text[:], h[:])
	return s == string(text[:])
}

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hash) UnmarshalText(b []byte) error {
	if hex.DecodedLen(len(b)) != len(h) {
		return fmt.Errorf("secret: a hash has %d hexadecimal digits, not %d", hex.EncodedLen(len(h)), len(b))
	}
	if _, err := hex.Decode(h[:], b); err != nil {
		return fmt.Errorf("secret: hash: %w", err)
	}
	return nil
}
