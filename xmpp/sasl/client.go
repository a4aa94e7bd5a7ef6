package sasl

import (
	"crypto/hmac"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/farreach/farreach/internal/secret"
)

// minServerNonce is how many characters a server must add to our nonce.
const minServerNonce = 12

// ErrTooWeak is the error of Login.Client when the server offers nothing that
// Login allows: nothing was sent.
var ErrTooWeak = errors.New("the server offers no mechanism that is strong enough")

// Login is as whom and how a client logs in.
type Login struct {
	User     string // the local part of the address
	Password secret.String
	Keys     *Keys // nil: the password is derived anew each time

	// Least is the weakest mechanism to use, such as the best that this server
	// offered before. "": SCRAM-SHA-1.
	Least Mechanism
	// AllowPlain shows the password to the server when it can do nothing
	// better and Least allows it. The caller sees to TLS.
	AllowPlain bool
}

// Client is the client's half of one exchange. It is not for several
// goroutines at once.
type Client struct {
	login   *Login
	m       Mechanism
	state   clientState
	binding Binding

	header    string // what c= repeats
	nonce     string
	bare      string // our first message, as it is signed
	signature []byte // what the server must show
}

type clientState int

const (
	toStart       clientState = iota
	wantChallenge             // server-first
	wantSignature             // server-final, in a challenge or with the success
	trusted                   // the server has shown that it knows the password
	wantSuccess               // PLAIN: the server shows nothing
	distrusted                // failed: nothing more is taken
)

// Client begins an exchange with the strongest mechanism of those that the
// server offers and l allows. bindings is by what the connection can be bound,
// types is what the server says it can bind by (XEP-0440). A server that offers
// -PLUS and does not say is not bound to: it may well mean tls-unique, even in
// TLS 1.3, where there is none. The error is ErrTooWeak.
func (l *Login) Client(offered []Mechanism, bindings []Binding, types []string) (*Client, error) {
	b, bound := pick(bindings, types)
	plus := slices.ContainsFunc(offered, Mechanism.Plus)
	for _, m := range strongest {
		switch {
		case !slices.Contains(offered, m), m.Weaker(l.Least), m.Plus() && !bound, m == Plain && !l.AllowPlain:
			continue
		case m.Plus():
			return &Client{login: l, m: m, binding: b, header: "p=" + b.Type + ",,"}, nil
		case len(bindings) > 0 && !plus:
			// We could bind, and the server seems not to: if somebody took its
			// -PLUS away, it will find out (RFC 5802, section 6).
			return &Client{login: l, m: m, header: "y,,"}, nil
		default:
			return &Client{login: l, m: m, header: "n,,"}, nil
		}
	}
	return nil, fmt.Errorf("%w: %q", ErrTooWeak, offered)
}

// pick chooses the first binding that the server lists.
func pick(bindings []Binding, types []string) (Binding, bool) {
	for _, b := range bindings {
		if slices.Contains(types, b.Type) {
			return b, true
		}
	}
	return Binding{}, false
}

// Mechanism is what Login.Client chose.
func (c *Client) Mechanism() Mechanism { return c.m }

// Binding is the type of channel binding in use, "" for none.
func (c *Client) Binding() string { return c.binding.Type }

// First returns what goes with the choice of the mechanism.
func (c *Client) First() []byte {
	if c.m == Plain { // RFC 4616
		c.state = wantSuccess
		return []byte("\x00" + c.login.User + "\x00" + c.login.Password.Reveal())
	}
	c.state = wantChallenge
	c.nonce = newNonce()
	c.bare = "n=" + nameEscaper.Replace(c.login.User) + ",r=" + c.nonce
	return []byte(c.header + c.bare)
}

// Step takes a challenge and returns the answer. The error is a *Failure;
// nothing derived from the password was sent if the challenge was not to be
// trusted with it.
func (c *Client) Step(challenge []byte) (answer []byte, err error) {
	switch c.state {
	case wantChallenge:
		answer, err = c.final(string(challenge))
	case wantSignature: // some servers send it before the success
		answer, err = []byte{}, c.verify(string(challenge))
	default:
		err = &Failure{Why: "a challenge out of turn"}
	}
	if err != nil {
		c.state = distrusted
		return nil, err
	}
	return answer, nil
}

// Success takes what came with the server's success, nil if nothing did. The
// error is a *Failure: the server has not shown that it knows the password,
// and is not the one we know.
func (c *Client) Success(data []byte) error {
	switch {
	case c.state == wantSignature && len(data) > 0:
		err := c.verify(string(data))
		if err != nil {
			c.state = distrusted
		}
		return err
	case c.state == trusted && len(data) == 0, c.state == wantSuccess:
		return nil
	}
	c.state = distrusted
	return &Failure{Why: "the server says success without having shown that it knows the password"}
}

func (c *Client) final(challenge string) ([]byte, error) {
	m, err := parseServerFirst(challenge)
	if err != nil {
		return nil, &Failure{Why: err.Error()}
	}
	added, ours := strings.CutPrefix(m.nonce, c.nonce)
	switch {
	case !ours || len(added) < minServerNonce:
		return nil, &Failure{Why: "the server's nonce does not continue ours"}
	case m.iterations < MinIterations || m.iterations > MaxIterations:
		return nil, &Failure{Why: fmt.Sprintf("the server asks for fewer than %d or more than %d iterations", MinIterations, MaxIterations)}
	case len(m.salt) < MinSalt:
		return nil, &Failure{Why: fmt.Sprintf("the server's salt has fewer than %d bytes", MinSalt)}
	}
	k, err := c.login.Keys.derive(c.m, c.login.Password, m.salt, m.iterations)
	if err != nil {
		return nil, &Failure{Why: err.Error()}
	}
	answer := "c=" + encode64(append([]byte(c.header), c.binding.Data...)) + ",r=" + m.nonce
	signed := c.bare + "," + challenge + "," + answer
	proof := hmacOf(c.m.hash(), c.m.sum(k.client), signed)
	subtle.XORBytes(proof, proof, k.client)
	c.signature = hmacOf(c.m.hash(), k.server, signed)
	c.state = wantSignature
	return []byte(answer + ",p=" + encode64(proof)), nil
}

func (c *Client) verify(text string) error {
	signature, refusal, err := parseServerFinal(text)
	switch {
	case err != nil:
		return &Failure{Why: err.Error()}
	case refusal != "":
		return &Failure{Why: "the server refuses: " + refusal}
	case !hmac.Equal(signature, c.signature):
		return &Failure{Why: "the server does not know the password"}
	}
	c.state = trusted
	return nil
}
