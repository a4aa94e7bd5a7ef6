package secret

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"strings"
)

// The prefixes of tokens, so that one found in a log or a repository is known
// for what it is.
const (
	Access  = "fat_" // a device's access token
	Refresh = "frt_" // a device's refresh token
	User    = "fut_" // a person's token for the API
	Browser = "fbr_" // what a browser that is signed in shows
	Link    = "fln_" // what signs a browser in, once
)

// tokenBytes is the randomness of a token: more than the 128 bits that nobody
// guesses, and 24 bytes fill base64 without padding.
const tokenBytes = 24

// TokenLen is the length of a token behind its prefix, in characters.
const TokenLen = tokenBytes / 3 * 4

// Token returns a new random token of 192 bits behind prefix, in characters
// that need no escaping in URLs, headers or shells.
func Token(prefix string) String {
	return String(prefix + base64.RawURLEncoding.EncodeToString(random(tokenBytes)))
}

// ID returns 128 random bits in 26 lower-case characters: a name that nobody
// guesses but that need not be hidden.
func ID() string {
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(random(16)))
}

// random returns n bytes of crypto/rand, which never fails.
func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// crockford is the alphabet of pairing codes: Crockford's base32, which leaves
// out I, L, O and U.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// codeLen is the length of a pairing code in characters of 5 bits: 60 bits.
const codeLen = 12

// ErrCode is the error of ParseCode. It does not repeat what was parsed.
var ErrCode = errors.New("a pairing code looks like 7K3P-9QXM-4TBH: three times four letters and digits")

// Code returns a new random pairing code of 60 bits: XXXX-XXXX-XXXX.
func Code() String {
	code := random(codeLen)
	for i, b := range code {
		code[i] = crockford[b%32]
	}
	return group(code)
}

// ParseCode returns the code that a person typed as s in the form of Code.
// Case, hyphens and spaces do not matter; O counts as 0, and I and L as 1.
func ParseCode(s String) (String, error) {
	var code [codeLen]byte
	n := 0
	for _, r := range s.Reveal() {
		if r == '-' || r == ' ' {
			continue
		}
		c := digit(r)
		if c == 0 || n == codeLen {
			return "", ErrCode
		}
		code[n] = c
		n++
	}
	if n < codeLen || len(s) > 4*codeLen {
		return "", ErrCode
	}
	return group(code[:]), nil
}

// digit returns the character of the alphabet that r stands for, or 0.
func digit(r rune) byte {
	if r >= 'a' && r <= 'z' {
		r -= 'a' - 'A'
	}
	switch {
	case r == 'O':
		return '0'
	case r == 'I' || r == 'L':
		return '1'
	case r > 0 && r < 0x80 && strings.IndexByte(crockford, byte(r)) >= 0:
		return byte(r)
	}
	return 0
}

func group(code []byte) String {
	return String(code[:4]) + "-" + String(code[4:8]) + "-" + String(code[8:])
}
