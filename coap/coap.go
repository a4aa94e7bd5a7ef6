// Package coap is the Constrained Application Protocol: one message type, its
// framing for datagrams (RFC 7252), for streams and for WebSockets (RFC 8323),
// and connections over streams on which both ends may ask.
//
//	bytes ── Parse ──▶ Message ──▶ Handler          the peer asks
//	bytes ◀── Append ── Message ◀── Exchange.Reply
//	bytes ◀── Append ── Message ◀── Conn.Do         we ask
//	bytes ── Parse ──▶ Message ──▶ Conn.Do
//
// The codec (Message, Options and their Parse and Append) touches no network,
// starts no goroutine, and can be used alone by someone who brings their own
// server.
package coap

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Transport selects the header in front of a message. UDP and TCP have the
// values that the Cloud Interface proposal gave coap_transport_type.
type Transport uint8

// The transports.
const (
	UDP       Transport = 0 // RFC 7252, section 3
	TCP       Transport = 1 // RFC 8323, section 3.2
	WebSocket Transport = 2 // RFC 8323, section 4.2: the frame gives the length
)

func (t Transport) String() string {
	switch t {
	case UDP:
		return "udp"
	case TCP:
		return "tcp"
	case WebSocket:
		return "ws"
	}
	return fmt.Sprintf("transport %d", uint8(t))
}

// Type is the message type of RFC 7252, section 4. Only datagrams carry it: on
// a stream every message counts as NonConfirmable.
type Type uint8

// The types.
const (
	Confirmable     Type = 0
	NonConfirmable  Type = 1
	Acknowledgement Type = 2
	Reset           Type = 3
)

func (t Type) String() string { return [...]string{"CON", "NON", "ACK", "RST"}[t&3] }

// MaxToken is the longest token, in bytes (RFC 7252, section 3). The longer
// ones of RFC 8974 are not negotiated.
const MaxToken = 8

// Token matches a response to its request. It is a value: comparable, and free
// of the buffer that it was parsed from. The zero Token is the empty one.
type Token struct {
	b [MaxToken]byte
	n uint8
}

// MakeToken returns the token with the bytes b. It panics if b is longer than
// MaxToken.
func MakeToken(b []byte) (t Token) {
	if len(b) > MaxToken {
		panic("coap: token longer than 8 bytes")
	}
	t.n = uint8(copy(t.b[:], b))
	return t
}

// TokenFrom returns the eight-byte token that spells n in network order.
func TokenFrom(n uint64) (t Token) {
	binary.BigEndian.PutUint64(t.b[:], n)
	t.n = MaxToken
	return t
}

// Len is the number of bytes in t, 0 to MaxToken.
func (t Token) Len() int { return int(t.n) }

// Append appends the bytes of t to dst.
func (t Token) Append(dst []byte) []byte { return append(dst, t.b[:t.n]...) }

func (t Token) String() string { return fmt.Sprintf("%x", t.b[:t.n]) }

// Message is one CoAP message, whatever carries it.
type Message struct {
	Type    Type   // datagrams only
	ID      uint16 // datagrams only: the Message ID
	Code    Code
	Token   Token
	Options Options // in ascending order of their numbers
	Payload []byte  // nil or empty: no payload, and no marker on the wire

	scratch []byte // where AddUint keeps its values
}

// Reset empties m and keeps its memory for the next use.
func (m *Message) Reset() {
	*m = Message{Options: m.Options[:0], scratch: m.scratch[:0]}
}

// Clone returns a copy of m that shares no memory with it.
func (m *Message) Clone() *Message {
	c := &Message{Type: m.Type, ID: m.ID, Code: m.Code, Token: m.Token}
	n := len(m.Payload)
	for _, o := range m.Options {
		n += len(o.Value)
	}
	mem := make([]byte, 0, n)
	keep := func(b []byte) []byte {
		mem = append(mem, b...)
		return mem[len(mem)-len(b) : len(mem) : len(mem)]
	}
	if len(m.Options) > 0 {
		c.Options = make(Options, len(m.Options))
	}
	for i, o := range m.Options {
		c.Options[i] = Option{Number: o.Number, Value: keep(o.Value)}
	}
	if len(m.Payload) > 0 {
		c.Payload = keep(m.Payload)
	}
	return c
}

// String is a one-line summary for logs and tests: no payload, for it may be
// secret.
func (m *Message) String() string {
	return fmt.Sprintf("%v token=%v options=%d payload=%d", m.Code, m.Token, len(m.Options), len(m.Payload))
}

// ErrShort is the error of Parse when the bytes end before the message does:
// read more, and call again.
var ErrShort = errors.New("coap: message incomplete")

// FormatError says what is wrong with a peer's bytes.
type FormatError struct {
	Off  int    // of the first offending byte, counted from the message's first
	Why  string // in words: "option delta 15 is reserved"
	Spec string // the section broken: "RFC 7252, section 3.1"

	// Answer is the code with which this one request is to be refused, its
	// extent and its token being known; a response with such a fault is
	// dropped. It is 0 if the peer's framing cannot be trusted any more: then
	// a stream is aborted and a datagram dropped.
	Answer Code
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("coap: byte %d: %s (%s)", e.Off, e.Why, e.Spec)
}
