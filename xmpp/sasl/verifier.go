package sasl

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"hash"
	"sync"

	"github.com/xdg-go/stringprep"

	"github.com/farreach/farreach/internal/secret"
)

// What a client takes from a server, so that none can have it burn its battery
// or make a guess cheap (RFC 5802, section 5.1; RFC 7677, section 4).
const (
	MinIterations = 4096
	MaxIterations = 1_000_000
	MinSalt       = 8 // bytes
)

// Verifier proves that somebody knows a password, without being the password
// (RFC 5802, section 3).
type Verifier struct {
	Salt       []byte
	Iterations int
	StoredKey  []byte
	ServerKey  []byte

	// Others are those of further passwords that open the same account, all
	// with the one salt and iterations: the challenge is the same for all of
	// them, and the proof tells which it was. All are tried each time.
	Others []Pair
}

// Pair is what a password became, of a Verifier.
type Pair struct{ StoredKey, ServerKey []byte }

// pair returns the pair called i: 0 is v's own, and from 1 on come Others.
func (v *Verifier) pair(i int) Pair {
	if i == 0 {
		return Pair{v.StoredKey, v.ServerKey}
	}
	return v.Others[i-1]
}

// prove returns which pair of v the client has proved to know the password of,
// -1 if none (RFC 5802, section 3). It tries all of them and decides without a
// branch, so that the time it takes depends only on how many there are.
func (v *Verifier) prove(m Mechanism, signed string, proof []byte) int {
	which := -1
	mac := newMAC(m.hash(), signed)
	for i := range 1 + len(v.Others) {
		stored := v.pair(i).StoredKey
		key := mac.of(stored)
		subtle.XORBytes(key, key, proof)
		fits := subtle.ConstantTimeCompare(mac.sum(key), stored)
		which = subtle.ConstantTimeSelect(fits, i, which)
	}
	return which
}

// Derive makes the verifier of a password for m. The error is that the
// password has characters which SASLprep (RFC 4013) forbids.
func Derive(m Mechanism, password secret.String, salt []byte, iterations int) (Verifier, error) {
	k, err := derive(m, password, salt, iterations)
	if err != nil {
		return Verifier{}, err
	}
	return Verifier{Salt: salt, Iterations: iterations, StoredKey: m.sum(k.client), ServerKey: k.server}, nil
}

// Fake makes up the verifier of a name that has no account. It is the same
// each time for the same key, and no password fits it: whoever asks does not
// learn which names have one. key is secret, random, and kept.
func Fake(key []byte, m Mechanism, name string, iterations int) Verifier {
	part := func(what string) []byte {
		return hmacOf(sha256.New, key, what+"\x00"+string(m.base())+"\x00"+name)
	}
	size := m.hash()().Size()
	return Verifier{Salt: part("salt")[:16], Iterations: iterations, StoredKey: part("stored")[:size], ServerKey: part("server")[:size]}
}

// keys is what a password becomes with one salt.
type keys struct{ client, server []byte }

// errPassword does not say which character it was.
var errPassword = errors.New("the password has characters that cannot be typed everywhere (RFC 4013)")

func derive(m Mechanism, password secret.String, salt []byte, iterations int) (keys, error) {
	prepared, err := stringprep.SASLprep.Prepare(password.Reveal())
	if err != nil || prepared == "" {
		return keys{}, errPassword
	}
	salted, err := pbkdf2.Key(m.hash(), prepared, salt, iterations, m.hash()().Size())
	if err != nil {
		return keys{}, err
	}
	return keys{
		client: hmacOf(m.hash(), salted, "Client Key"),
		server: hmacOf(m.hash(), salted, "Server Key"),
	}, nil
}

// Keys remembers what passwords became, so that a client which comes back to
// its server does not derive it again: with 10,000 iterations that is 3 ms of
// a CPU. Its zero value is ready. It may be shared by all clients of an
// account, and used from several goroutines.
type Keys struct {
	mu   sync.Mutex // guards what follows
	kept [maxKeys]keptKeys
	next int
}

// maxKeys is how many derivations are remembered: two mechanisms, and one more
// of each while a server changes salts.
const maxKeys = 4

type keptKeys struct {
	mechanism  Mechanism
	password   secret.String
	salt       string
	iterations int
	keys       keys
}

// derive is derive of the package, from memory where possible.
func (k *Keys) derive(m Mechanism, password secret.String, salt []byte, iterations int) (keys, error) {
	if k == nil {
		return derive(m, password, salt, iterations)
	}
	k.mu.Lock() // held while deriving: a thousand clients of one account derive once
	defer k.mu.Unlock()
	for _, c := range k.kept {
		if c.mechanism == m.base() && c.salt == string(salt) && c.iterations == iterations && c.password.Equal(password) {
			return c.keys, nil
		}
	}
	got, err := derive(m, password, salt, iterations)
	if err == nil {
		k.kept[k.next] = keptKeys{m.base(), password, string(salt), iterations, got}
		k.next = (k.next + 1) % maxKeys
	}
	return got, err
}

// base is m without its -PLUS.
func (m Mechanism) base() Mechanism {
	switch m {
	case ScramSHA256Plus:
		return ScramSHA256
	case ScramSHA1Plus:
		return ScramSHA1
	}
	return m
}

func (m Mechanism) hash() func() hash.Hash {
	if m.base() == ScramSHA1 {
		return sha1.New
	}
	return sha256.New
}

func (m Mechanism) sum(b []byte) []byte {
	h := m.hash()()
	h.Write(b)
	return h.Sum(nil)
}

func hmacOf(h func() hash.Hash, key []byte, text string) []byte {
	mac := hmac.New(h, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// mac is HMAC (RFC 2104) of one text with one key after another, none of which
// is longer than a block: crypto/hmac allocates five times for each key.
type mac struct {
	h            hash.Hash
	text         []byte
	inner, outer []byte // of a block's length
	sig, digest  []byte
}

func newMAC(h func() hash.Hash, text string) *mac {
	m := &mac{h: h(), text: []byte(text)}
	size := m.h.BlockSize()
	m.inner, m.outer = make([]byte, size), make([]byte, size)
	return m
}

// of is the HMAC with a key, and holds until the next call.
func (m *mac) of(key []byte) []byte {
	for i := range m.inner {
		var k byte
		if i < len(key) {
			k = key[i]
		}
		m.inner[i], m.outer[i] = k^0x36, k^0x5c
	}
	m.h.Reset()
	m.h.Write(m.inner)
	m.h.Write(m.text)
	m.sig = m.h.Sum(m.sig[:0])
	m.h.Reset()
	m.h.Write(m.outer)
	m.h.Write(m.sig)
	m.sig = m.h.Sum(m.sig[:0])
	return m.sig
}

// sum is the hash of b, and holds until the next call.
func (m *mac) sum(b []byte) []byte {
	m.h.Reset()
	m.h.Write(b)
	m.digest = m.h.Sum(m.digest[:0])
	return m.digest
}
