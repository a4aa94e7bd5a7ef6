package sasl

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"strconv"
)

// Offer is what a server offers on one stream. It may be used for one exchange
// after another, of which each gets a Server.
type Offer struct {
	// Bindings is by what the connection can be bound; see ServerBindings.
	// Without any, no -PLUS mechanism is offered.
	Bindings []Binding

	// Verifier returns the verifier of a name, as the client wrote it, for
	// ScramSHA256 or ScramSHA1. A name without an account has one too, which is
	// the same each time and which no password fits; see Fake. An error means
	// that nobody can be let in now.
	Verifier func(ctx context.Context, m Mechanism, name string) (Verifier, error)

	// Authorize reports whether name may act as authzid, which is not empty.
	// nil: nobody may. In XMPP authzid is a bare JID, and name's own is fine.
	Authorize func(name, authzid string) bool
}

// Mechanisms lists what is offered, the best first.
func (o *Offer) Mechanisms() []Mechanism {
	if len(o.Bindings) > 0 {
		return []Mechanism{ScramSHA256Plus, ScramSHA1Plus, ScramSHA256, ScramSHA1}
	}
	return []Mechanism{ScramSHA256, ScramSHA1}
}

// Server is the server's half of one exchange. It is not for several
// goroutines at once.
type Server struct {
	offer *Offer
	m     Mechanism
	state serverState

	name     string
	verifier Verifier
	nonce    string
	binding  string // what c= must be, not encoded
	signed   string // the first two messages, as they are signed
	which    int    // pair of verifier that was proved
}

type serverState int

const (
	wantClientFirst serverState = iota
	wantClientFinal
	proved
	over // failed: nothing more is taken
)

// Start begins an exchange with m, which the client chose. The error is a
// *Failure with invalid-mechanism.
func (o *Offer) Start(m Mechanism) (*Server, error) {
	for _, offered := range o.Mechanisms() {
		if m == offered {
			return &Server{offer: o, m: m}, nil
		}
	}
	return nil, &Failure{InvalidMechanism, "a mechanism that was not offered"}
}

// Step takes the next message of the client, nil if it sent none with its
// choice, and returns what to answer: a challenge, or what goes with the
// success when done is true. The error is a *Failure, and ends the exchange.
func (s *Server) Step(ctx context.Context, message []byte) (answer []byte, done bool, err error) {
	switch {
	case s.state == wantClientFirst && message == nil:
		return []byte{}, false, nil // RFC 6120, section 6.4.2: ask for it
	case s.state == wantClientFirst:
		answer, err = s.first(ctx, string(message))
	case s.state == wantClientFinal:
		answer, err = s.final(string(message))
	default:
		err = &Failure{MalformedRequest, "the exchange was over"}
	}
	if err != nil {
		s.state, s.verifier = over, Verifier{}
		return nil, false, err
	}
	s.state++
	return answer, s.state == proved, nil
}

// Claimed is who the client says it is, as it wrote it: "" before its first
// message. Nothing is proved by it.
func (s *Server) Claimed() string { return s.name }

// User is who the client has proved to be, as it wrote it: "" before Step was
// done.
func (s *Server) User() string {
	if s.state != proved {
		return ""
	}
	return s.name
}

// Which is by which password: 0 for that of the Verifier itself, from 1 on for
// those of Verifier.Others. It means something when Step was done.
func (s *Server) Which() int { return s.which }

func (s *Server) first(ctx context.Context, text string) ([]byte, error) {
	m, err := parseClientFirst(text)
	if err != nil {
		return nil, &Failure{MalformedRequest, err.Error()}
	}
	s.name = m.name
	if err := s.bind(m); err != nil {
		return nil, err
	}
	if m.authzid != "" && (s.offer.Authorize == nil || !s.offer.Authorize(m.name, m.authzid)) {
		return nil, &Failure{InvalidAuthzid, "not its own address"}
	}
	if s.verifier, err = s.offer.Verifier(ctx, s.m.base(), m.name); err != nil {
		return nil, &Failure{TemporaryAuthFailure, err.Error()}
	}
	s.nonce = m.nonce + newNonce()
	answer := "r=" + s.nonce + ",s=" + encode64(s.verifier.Salt) + ",i=" + strconv.Itoa(s.verifier.Iterations)
	s.signed = m.bare + "," + answer
	return []byte(answer), nil
}

// bind compares what the client says about binding with what was offered, and
// keeps what its next message must repeat (RFC 5802, section 6).
func (s *Server) bind(m clientFirst) error {
	if s.m.Plus() != (m.flag == "p=") {
		return &Failure{MalformedRequest, "the mechanism and its channel binding do not fit"}
	}
	switch m.flag {
	case "y":
		if len(s.offer.Bindings) > 0 {
			return &Failure{NotAuthorized, "the client did not see that -PLUS is offered: somebody took it away"}
		}
	case "p=":
		for _, b := range s.offer.Bindings {
			if b.Type == m.binding {
				s.binding = m.header + string(b.Data)
				return nil
			}
		}
		return &Failure{NotAuthorized, "a type of channel binding that was not offered"}
	}
	s.binding = m.header
	return nil
}

func (s *Server) final(text string) ([]byte, error) {
	m, err := parseClientFinal(text)
	if err != nil {
		return nil, &Failure{MalformedRequest, err.Error()}
	}
	if m.nonce != s.nonce {
		return nil, &Failure{NotAuthorized, "another nonce"}
	}
	if !hmac.Equal(m.binding, []byte(s.binding)) {
		return nil, &Failure{NotAuthorized, "another channel"}
	}
	signed := s.signed + "," + m.bare
	if len(m.proof) != s.m.hash()().Size() {
		return nil, &Failure{NotAuthorized, "a proof of another length"}
	}
	if s.which = s.verifier.prove(s.m, signed, m.proof); s.which < 0 {
		return nil, &Failure{NotAuthorized, "wrong account or password"}
	}
	return []byte("v=" + encode64(hmacOf(s.m.hash(), s.verifier.pair(s.which).ServerKey, signed))), nil
}

// newNonce returns 192 random bits in 32 characters that a nonce may have.
func newNonce() string {
	b := make([]byte, 24)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}
