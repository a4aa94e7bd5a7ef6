// Package sasl proves who opens a stream, with SCRAM (RFC 5802, RFC 7677) and
// nothing weaker: the server keeps no password, the client learns that the
// server knows it, and with -PLUS both know that nobody sits between them.
//
//	 client                                                   server
//	Login.Client                                              Offer.Mechanisms
//	  First ─── n,,n=ann,r=2Vx… ──────────────────────────────▶ Step ── Offer.Verifier
//	  Step  ◀── r=2Vx…9fQ…,s=salt,i=10000 ─────────────────────
//	        ─── c=…,r=2Vx…9fQ…,p=proof ───────────────────────▶ Step
//	  Success ◀── v=signature ─────────────────────────────────  User
//
// Messages are here as SCRAM has them; Encode and Decode are the base64 in
// which XMPP carries them (RFC 6120, section 6.4.2). Nothing here touches the
// network or starts a goroutine.
package sasl

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Mechanism is a SASL mechanism by its registered name.
type Mechanism string

// The mechanisms known here. PLAIN is for clients whose owner asked for it.
const (
	ScramSHA256Plus Mechanism = "SCRAM-SHA-256-PLUS"
	ScramSHA1Plus   Mechanism = "SCRAM-SHA-1-PLUS"
	ScramSHA256     Mechanism = "SCRAM-SHA-256"
	ScramSHA1       Mechanism = "SCRAM-SHA-1"
	Plain           Mechanism = "PLAIN"
)

// strongest lists the mechanisms, the best first. One that is bound to the
// channel is better than any that is not: it ends what sits in the middle.
var strongest = []Mechanism{ScramSHA256Plus, ScramSHA1Plus, ScramSHA256, ScramSHA1, Plain}

// Plus reports whether m is bound to the channel.
func (m Mechanism) Plus() bool { return strings.HasSuffix(string(m), "-PLUS") }

// Weaker reports whether m is worse than least. Any is worse than one that is
// known, and none is worse than "".
func (m Mechanism) Weaker(least Mechanism) bool {
	return least != "" && (m.rank() < 0 || m.rank() > least.rank())
}

func (m Mechanism) rank() int { return slices.Index(strongest, m) }

// MaxMessage is the longest message that is taken, in bytes, before base64.
const MaxMessage = 8192

// Failure is why an exchange failed. What the peer learns is Condition alone.
type Failure struct {
	Condition string // RFC 6120, section 6.5: "not-authorized", …; "" in a client
	Why       string // for our log; no secret, and nothing that the peer wrote
}

func (f *Failure) Error() string {
	if f.Condition == "" {
		return "sasl: " + f.Why
	}
	return fmt.Sprintf("sasl: %s: %s", f.Condition, f.Why)
}

// The conditions of RFC 6120, section 6.5, that a Server of this package fails
// with.
const (
	Aborted              = "aborted"
	IncorrectEncoding    = "incorrect-encoding"
	InvalidAuthzid       = "invalid-authzid"
	InvalidMechanism     = "invalid-mechanism"
	MalformedRequest     = "malformed-request"
	NotAuthorized        = "not-authorized"
	TemporaryAuthFailure = "temporary-auth-failure"
)

// Encode returns a message as XMPP carries it: base64, and "=" for an empty
// one (RFC 6120, section 6.4.2).
func Encode(message []byte) string {
	if len(message) == 0 {
		return "="
	}
	return base64.StdEncoding.EncodeToString(message)
}

// Decode is the reverse of Encode. No text at all is no message: nil. The
// error is a *Failure: incorrect-encoding, or malformed-request when the
// message is longer than MaxMessage.
func Decode(text string) ([]byte, error) {
	switch {
	case text == "":
		return nil, nil
	case text == "=":
		return []byte{}, nil
	case len(text) > base64.StdEncoding.EncodedLen(MaxMessage):
		return nil, &Failure{MalformedRequest, "the message is too long"}
	}
	b, err := decode64(text)
	if err != nil {
		return nil, &Failure{IncorrectEncoding, err.Error()}
	}
	return b, nil
}

var errBase64 = errors.New("base64 is damaged")

// decode64 decodes base64 as RFC 4648, section 3, wants it by default: padded,
// no line breaks, no stray bits.
func decode64(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") { // the decoder would skip them
		return nil, errBase64
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, errBase64
	}
	return b, nil
}
