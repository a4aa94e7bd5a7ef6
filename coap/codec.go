package coap

import (
	"encoding/binary"
	"fmt"
)

// Parse reads the first message in b into m, whose memory it reuses, and
// reports how many bytes n the message takes. m's option values and payload
// alias b.
//
// limit bounds the options and payload together, in bytes; on a stream a
// longer message is refused by its header alone. A datagram and a WebSocket
// frame are always taken whole: n is len(b).
//
// The error is ErrShort if b ends too early, on a stream only, or a
// *FormatError. If that has an Answer, then n, m.Code and m.Token are good,
// and this one message is to be refused; otherwise nothing behind it can be
// read.
func (m *Message) Parse(t Transport, b []byte, limit int) (n int, err error) {
	m.Reset()
	switch t {
	case UDP:
		return m.parseDatagram(b, limit)
	case TCP:
		return m.parseStream(b, limit)
	case WebSocket:
		return m.parseWebSocket(b, limit)
	}
	panic("coap: Parse for " + t.String())
}

// Append appends m in the framing of t to dst. It fails if an option is out of
// order or too long, or if the payload does not fit the length field; dst is
// then returned as it was.
func (m *Message) Append(t Transport, dst []byte) ([]byte, error) {
	start := len(dst)
	switch t {
	case UDP:
		dst = append(dst, 1<<6|byte(m.Type&3)<<4|m.Token.n, byte(m.Code), byte(m.ID>>8), byte(m.ID))
	case TCP:
		var err error
		if dst, err = m.appendStreamLength(dst); err != nil {
			return dst[:start], err
		}
		dst = append(dst, byte(m.Code))
	case WebSocket:
		dst = append(dst, m.Token.n, byte(m.Code))
	default:
		panic("coap: Append for " + t.String())
	}
	dst = m.Token.Append(dst)
	dst, err := m.appendOptions(dst)
	if err != nil {
		return dst[:start], err
	}
	return dst, nil
}

// The least bodies of the stream header's length forms (RFC 8323, section 3.2).
const (
	form13 = 13
	form14 = 269
	form15 = 65805
)

// MaxBody is the longest body, options and payload together, that the stream
// header can announce.
const MaxBody = form15 + 1<<32 - 1

const specStream = "RFC 8323, section 3.2"

// appendStreamLength appends the first byte of the stream header and the
// extended length.
func (m *Message) appendStreamLength(dst []byte) ([]byte, error) {
	switch body := m.optionsLen(); {
	case body < form13:
		return append(dst, byte(body)<<4|m.Token.n), nil
	case body < form14:
		return append(dst, 13<<4|m.Token.n, byte(body-form13)), nil
	case body < form15:
		return binary.BigEndian.AppendUint16(append(dst, 14<<4|m.Token.n), uint16(body-form14)), nil
	case body <= MaxBody:
		return binary.BigEndian.AppendUint32(append(dst, 15<<4|m.Token.n), uint32(body-form15)), nil
	default:
		return dst, fmt.Errorf("coap: body of %d bytes, more than the length field holds (%s)", body, specStream)
	}
}

// streamLength reads the first byte of the stream header and the extended
// length: header is how many bytes these take.
func streamLength(b []byte) (header, body int, err error) {
	if len(b) == 0 {
		return 0, 0, ErrShort
	}
	length := int(b[0] >> 4)
	header = 1
	if length >= 13 {
		header += 1 << (length - 13)
	}
	if len(b) < header {
		return 0, 0, ErrShort
	}
	switch length {
	case 13:
		return header, int(b[1]) + form13, nil
	case 14:
		return header, int(binary.BigEndian.Uint16(b[1:])) + form14, nil
	case 15:
		return header, int(binary.BigEndian.Uint32(b[1:])) + form15, nil
	}
	return header, length, nil
}

// tokenLength checks the token length in the low half of a header's first byte.
func tokenLength(first byte) (int, error) {
	if tkl := int(first & 15); tkl <= MaxToken {
		return tkl, nil
	}
	return 0, &FormatError{Off: 0, Why: fmt.Sprintf("token length %d, at most 8 is allowed", first&15), Spec: specMarker}
}

func (m *Message) parseStream(b []byte, limit int) (int, error) {
	if len(b) == 0 {
		return 0, ErrShort
	}
	tkl, err := tokenLength(b[0]) // before the length: this alone condemns the peer
	if err != nil {
		return 0, err
	}
	header, body, err := streamLength(b)
	if err != nil {
		return 0, err
	}
	if body > limit {
		return 0, &FormatError{Off: 0, Spec: "RFC 8323, section 5.3.1",
			Why: fmt.Sprintf("message of %d bytes, at most %d are taken", body, limit)}
	}
	start := header + 1 + tkl
	if len(b) < start+body {
		return 0, ErrShort
	}
	m.Type = NonConfirmable
	m.Code = Code(b[header])
	m.Token = MakeToken(b[header+1 : start])
	return start + body, m.parseOptions(b[start:start+body], start)
}

func (m *Message) parseWebSocket(b []byte, limit int) (int, error) {
	if len(b) < 2 {
		return len(b), &FormatError{Off: len(b), Why: "shorter than its header", Spec: "RFC 8323, section 4.2"}
	}
	if b[0]>>4 != 0 {
		return len(b), &FormatError{Off: 0, Why: "length in the header is not 0", Spec: "RFC 8323, section 4.2"}
	}
	m.Type = NonConfirmable
	m.Code = Code(b[1])
	return len(b), m.parseRest(b, 2, limit)
}

func (m *Message) parseDatagram(b []byte, limit int) (int, error) {
	if len(b) < 4 {
		return len(b), &FormatError{Off: len(b), Why: "shorter than its header", Spec: specMarker}
	}
	if v := b[0] >> 6; v != 1 {
		return len(b), &FormatError{Off: 0, Why: fmt.Sprintf("version %d", v), Spec: specMarker}
	}
	m.Type = Type(b[0] >> 4 & 3)
	m.Code = Code(b[1])
	m.ID = binary.BigEndian.Uint16(b[2:])
	if m.Code == Empty && len(b) > 4 {
		return len(b), &FormatError{Off: 4, Why: "bytes behind the Message ID of an Empty message", Spec: "RFC 7252, section 4.1"}
	}
	return len(b), m.parseRest(b, 4, limit)
}

// parseRest reads token, options and payload of a message that ends with b;
// the token is at b[start].
func (m *Message) parseRest(b []byte, start, limit int) error {
	tkl, err := tokenLength(b[0])
	if err != nil {
		return err
	}
	if len(b) < start+tkl {
		return &FormatError{Off: len(b), Why: "token runs past the end", Spec: specMarker}
	}
	m.Token = MakeToken(b[start : start+tkl])
	if body := len(b) - start - tkl; body > limit {
		return &FormatError{Off: start + tkl, Spec: "RFC 7252, section 4.6", Answer: RequestEntityTooLarge,
			Why: fmt.Sprintf("message of %d bytes, at most %d are taken", body, limit)}
	}
	return m.parseOptions(b[start+tkl:], start+tkl)
}
