package rae

import (
	"bytes"
	"encoding/base64"
	"strings"

	"github.com/farreach/farreach/coap"
)

// Form is what a peer sends in its session.
type Form uint8

// The forms. Documents are what this package speaks; Doubly, the same once more
// in base64 (D2), and a raw CoAP message, which is IoTivity's way (D20), are
// only answered.
const (
	Unknown   Form = iota // too little has come
	Documents             // <rest/>
	Doubly                // base64 of that: see Decoder
	RawCoAP               // one message in the framing of datagrams
	Refused               // none of these: close the session
)

// Sniff tells by the first block of a session what the peer sends. Unknown asks
// for more; it never does for more than 7 bytes that are no white space.
func Sniff(b []byte) Form {
	rest := bytes.TrimLeft(bytes.TrimPrefix(b, []byte(bom)), blanks)
	const double = "PHJlc3Q" // <rest
	switch {
	case len(rest) == 0 || len(b) < len(bom) && strings.HasPrefix(bom, string(b)):
		return Unknown
	case rest[0] == '<':
		return Documents
	case bytes.HasPrefix(rest, []byte(double)):
		return Doubly
	case strings.HasPrefix(double, string(rest)):
		return Unknown
	}
	var m coap.Message
	if b[0] >= 0x40 && b[0] < 0x80 {
		if n, err := m.Parse(coap.UDP, b, len(b)); err == nil && n == len(b) {
			return RawCoAP
		}
	}
	return Refused
}

// doubly takes the outer base64 off what comes in pieces. Each document may end
// in padding, and white space may stand anywhere.
type doubly struct {
	quantum [4]byte
	n       int
}

func (d *doubly) decode(b []byte) ([]byte, error) {
	dst := make([]byte, 0, len(b)/4*3+3)
	for _, c := range b {
		if strings.IndexByte(blanks, c) >= 0 {
			continue
		}
		d.quantum[d.n] = c
		if d.n++; d.n < len(d.quantum) {
			continue
		}
		d.n = 0
		var err error
		if dst, err = base64.StdEncoding.Strict().AppendDecode(dst, d.quantum[:]); err != nil {
			return dst, &FormatError{"broken base64 inside base64", "D2"}
		}
	}
	return dst, nil
}

// unwrap decodes the base64 of a body.
func unwrap(b []byte) ([]byte, error) {
	return base64.StdEncoding.Strict().AppendDecode(nil, b)
}
