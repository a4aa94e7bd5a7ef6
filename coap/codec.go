package coap

import (
	"encoding/binary"
	"fmt"
	"slices"
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
// read. After an error m has neither options nor payload. A datagram that a
// Reset may refuse (RFC 7252, section 4.2) has left m.Type Confirmable and
// m.ID set.
func (m *Message) Parse(t Transport, b []byte, limit int) (n int, err error) {
	m.Reset()
	m.Type = NonConfirmable
	switch t {
	case UDP:
		n, err = m.parseDatagram(b, limit)
	case TCP:
		n, err = m.parseStream(b, limit)
	case WebSocket:
		n, err = m.parseWebSocket(b, limit)
	default:
		panic("coap: Parse for " + t.String())
	}
	if err != nil {
		m.Options, m.Payload = m.Options[:0], nil
	}
	return n, err
}

// Append appends m in the framing of t to dst, which grows at most once. It
// fails if an option is out of order or too long, if the body is longer than
// MaxBody on a stream, or if an Empty datagram has anything in it; dst is then
// returned as it was.
func (m *Message) Append(t Transport, dst []byte) ([]byte, error) {
	body, err := m.bodyLen()
	if err != nil {
		return dst, err
	}
	grown := slices.Grow(dst, maxHeader+MaxToken+body)
	switch t {
	case UDP:
		if m.Code == Empty && int(m.Token.n)+body > 0 {
			return dst, fmt.Errorf("coap: Empty message with a token, options or payload (%s)", specEmpty)
		}
		grown = append(grown, 1<<6|byte(m.Type&3)<<4|m.Token.n, byte(m.Code), byte(m.ID>>8), byte(m.ID))
	case TCP:
		if int64(body) > MaxBody {
			return dst, fmt.Errorf("coap: body of %d bytes, more than the length field holds (%s)", body, specStream)
		}
		grown = append(appendStreamLength(grown, int64(body), m.Token.n), byte(m.Code))
	case WebSocket:
		grown = append(grown, m.Token.n, byte(m.Code))
	default:
		panic("coap: Append for " + t.String())
	}
	return m.appendBody(m.Token.Append(grown)), nil
}

// The least bodies of the stream header's length forms (RFC 8323, section 3.2).
const (
	form13 = 13
	form14 = 269
	form15 = 65805
)

// MaxBody is the longest body, options and payload together, that the stream
// header can announce.
const MaxBody int64 = form15 + 1<<32 - 1

// maxHeader is the longest header in front of the token, in bytes: that of a
// stream with four bytes of extended length.
const maxHeader = 6

// The sections that the errors name.
const (
	specHeader    = "RFC 7252, section 3"
	specEmpty     = "RFC 7252, section 4.1"
	specStream    = "RFC 8323, section 3.2"
	specLimit     = "RFC 8323, section 5.3.1"
	specWebSocket = "RFC 8323, section 4.2"
)

// appendStreamLength appends the first byte of the stream header and the
// extended length.
func appendStreamLength(dst []byte, body int64, tkl byte) []byte {
	switch {
	case body < form13:
		return append(dst, byte(body)<<4|tkl)
	case body < form14:
		return append(dst, 13<<4|tkl, byte(body-form13))
	case body < form15:
		return binary.BigEndian.AppendUint16(append(dst, 14<<4|tkl), uint16(body-form14))
	default:
		return binary.BigEndian.AppendUint32(append(dst, 15<<4|tkl), uint32(body-form15))
	}
}

// streamLength reads the extended length of a stream header, whose first byte
// is there: header is how many bytes these two take. Without the rest of the
// header, it reports false.
func streamLength(b []byte) (header int, body int64, ok bool) {
	switch length := b[0] >> 4; {
	case length < 13:
		return 1, int64(length), true
	case length == 13 && len(b) >= 2:
		return 2, int64(b[1]) + form13, true
	case length == 14 && len(b) >= 3:
		return 3, int64(binary.BigEndian.Uint16(b[1:])) + form14, true
	case length == 15 && len(b) >= 5:
		return 5, int64(binary.BigEndian.Uint32(b[1:])) + form15, true
	}
	return 0, 0, false
}

// tokenLength checks the token length in the low half of a header's first byte.
func tokenLength(first byte) (int, error) {
	if tkl := int(first & 15); tkl <= MaxToken {
		return tkl, nil
	}
	return 0, &FormatError{Off: 0, Why: fmt.Sprintf("token length %d, at most 8 is allowed", first&15), Spec: specHeader}
}

func (m *Message) parseStream(b []byte, limit int) (int, error) {
	if len(b) == 0 {
		return 0, ErrShort
	}
	tkl, err := tokenLength(b[0]) // before the length: this alone condemns the peer
	if err != nil {
		return 0, err
	}
	header, body64, ok := streamLength(b)
	if !ok {
		return 0, ErrShort
	}
	if body64 > int64(limit) {
		return 0, &FormatError{Off: 0, Spec: specLimit,
			Why: fmt.Sprintf("message of %d bytes, at most %d are taken", body64, limit)}
	}
	body, start := int(body64), header+1+tkl // body fits: it is no more than limit
	if len(b)-start < body {
		return 0, ErrShort
	}
	m.Code = Code(b[header])
	m.Token = MakeToken(b[header+1 : start])
	end := start + body
	return end, m.parseBody(b[start:end:end], start)
}

func (m *Message) parseWebSocket(b []byte, limit int) (int, error) {
	if len(b) < 2 {
		return len(b), &FormatError{Off: len(b), Why: "shorter than its header", Spec: specWebSocket}
	}
	if b[0]>>4 != 0 {
		return len(b), &FormatError{Off: 0, Why: "length in the header is not 0", Spec: specWebSocket}
	}
	m.Code = Code(b[1])
	return len(b), m.parseRest(b, 2, limit, specLimit)
}

func (m *Message) parseDatagram(b []byte, limit int) (int, error) {
	if len(b) < 4 {
		return len(b), &FormatError{Off: len(b), Why: "shorter than its header", Spec: specHeader}
	}
	if v := b[0] >> 6; v != 1 {
		return len(b), &FormatError{Off: 0, Why: fmt.Sprintf("version %d", v), Spec: specHeader}
	}
	m.Type = Type(b[0] >> 4 & 3)
	m.Code = Code(b[1])
	m.ID = binary.BigEndian.Uint16(b[2:])
	if m.Code == Empty && (len(b) > 4 || b[0]&15 != 0) {
		return len(b), &FormatError{Off: 4, Why: "Empty message with a token, options or payload", Spec: specEmpty}
	}
	return len(b), m.parseRest(b, 4, limit, "RFC 7252, section 4.6")
}

// parseRest reads token, options and payload of a message that ends with b;
// the token is at b[start]. spec names the section that allows a limit.
func (m *Message) parseRest(b []byte, start, limit int, spec string) error {
	tkl, err := tokenLength(b[0])
	if err != nil {
		return err
	}
	if len(b)-start < tkl {
		return &FormatError{Off: len(b), Why: "token runs past the end", Spec: specHeader}
	}
	m.Token = MakeToken(b[start : start+tkl])
	start += tkl
	if body := len(b) - start; body > limit {
		return &FormatError{Off: start, Spec: spec, Answer: RequestEntityTooLarge,
			Why: fmt.Sprintf("message of %d bytes, at most %d are taken", body, limit)}
	}
	return m.parseBody(b[start:len(b):len(b)], start)
}
