package oic

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
)

// ToJSON converts a body in f to JSON, on one line and with the members in
// their order. Integers stay integers, and floats with an integral value are
// written as 42.0, so that FromJSON gives back the same type. Byte strings
// become base64url text without padding, but for a "di" of 16 bytes, IoTivity
// 1.0's, which becomes a UUID. NaN, infinities and undefined become null, and
// tags are dropped. No body is none in JSON too: nil.
//
// The limits are those of Decode, and so are the errors. JSON is passed on as it
// is once it has been looked at.
func ToJSON(f ContentFormat, b []byte) ([]byte, error) {
	switch {
	case len(b) == 0:
		return nil, nil
	case f == JSON:
		_, err := FromJSON(CBOR, b)
		return b, err
	case !f.IsCBOR():
		return nil, unsupported(f)
	}
	if err := check(b); err != nil {
		return nil, err
	}
	p := printer{s: scanner{b: b}, out: make([]byte, 0, len(b)+len(b)/2+slack)}
	p.item()
	return p.out, nil
}

// No item becomes more than eight times as long, the worst being small floats
// of 16 bits. slack is room for the longest number, and for what may stand
// between two items: 32 brackets and a comma.
const (
	worstGrowth = 8
	slack       = 64
)

// printer writes CBOR that check has let pass as JSON.
type printer struct {
	s   scanner
	out []byte
}

// need makes room for n bytes and slack. The room that is made will do for the
// rest too.
func (p *printer) need(n int) {
	if n += len(p.out) + slack; n > cap(p.out) {
		p.out = append(make([]byte, 0, max(n, worstGrowth*len(p.s.b)+2*slack)), p.out...)
	}
}

func (p *printer) item() {
	p.need(0)
	h, _ := p.s.head()
	switch h.major {
	case majorUint:
		p.out = strconv.AppendUint(p.out, h.value, 10)
	case majorNegative:
		p.out = appendNegative(p.out, h.value)
	case majorBytes:
		p.bytes(p.string(h))
	case majorText:
		p.text(p.string(h))
	case majorArray:
		p.array(h)
	case majorMap:
		p.object(h)
	case majorSimple:
		p.simple(h)
	}
}

func (p *printer) array(h head) {
	p.out = append(p.out, '[')
	for n := uint64(0); p.more(h, n); n++ {
		p.item()
	}
	p.out = append(p.out, ']')
}

func (p *printer) object(h head) {
	p.out = append(p.out, '{')
	for n := uint64(0); p.more(h, n); n++ {
		k, _ := p.s.head()
		key := p.string(k)
		p.text(key)
		p.out = append(p.out, ':')
		if string(key) != "di" || !p.legacyDevice() {
			p.item()
		}
	}
	p.out = append(p.out, '}')
}

// more reports whether the container has an element n, and parts it from the
// one before.
func (p *printer) more(h head, n uint64) bool {
	if h.indefinite() && p.s.ended() || !h.indefinite() && n == h.value {
		return false
	}
	if n > 0 {
		p.out = append(p.out, ',')
	}
	return true
}

// string returns the bytes of a string whose head is h.
func (p *printer) string(h head) []byte {
	if !h.indefinite() {
		p.s.at += int(h.value)
		return p.s.b[p.s.at-int(h.value) : p.s.at]
	}
	var joined []byte
	_ = p.s.text(h, &joined)
	return joined
}

func (p *printer) bytes(b []byte) {
	p.need(base64.RawURLEncoding.EncodedLen(len(b)))
	p.out = append(p.out, '"')
	p.out = base64.RawURLEncoding.AppendEncode(p.out, b)
	p.out = append(p.out, '"')
}

// legacyDevice writes the next item, if it is 16 bytes, as a UUID.
func (p *printer) legacyDevice() bool {
	start := p.s
	if h, _ := p.s.head(); h.major == majorBytes && h.value == 16 {
		p.out = fmt.Appendf(p.out, "%q", uuidText(p.string(h)))
		return true
	}
	p.s = start
	return false
}

func (p *printer) simple(h head) {
	switch h.info {
	case simpleFalse:
		p.out = append(p.out, "false"...)
	case simpleTrue:
		p.out = append(p.out, "true"...)
	case info16, info32, info64:
		p.out = appendFloat(p.out, h.float())
	default:
		p.out = append(p.out, "null"...)
	}
}

// float is the value of a float of any width (RFC 8949, section 3.3).
func (h head) float() float64 {
	switch h.info {
	case info16:
		return half(uint16(h.value))
	case info32:
		return float64(math.Float32frombits(uint32(h.value)))
	}
	return math.Float64frombits(h.value)
}

// half is the float of 16 bits (RFC 8949, appendix D).
func half(bits uint16) float64 {
	exp, mant := int(bits>>10&31), float64(bits&0x3ff)
	value := math.Ldexp(mant+1024, exp-25)
	switch exp {
	case 0:
		value = math.Ldexp(mant, -24)
	case 31:
		value = math.Inf(1)
		if mant != 0 {
			value = math.NaN()
		}
	}
	if bits>>15 != 0 {
		return -value
	}
	return value
}

// appendNegative appends -1-n.
func appendNegative(dst []byte, n uint64) []byte {
	if n == math.MaxUint64 {
		return append(dst, lowest...)
	}
	return strconv.AppendUint(append(dst, '-'), n+1, 10)
}

// lowest is the least integer of CBOR, -1-(1<<64-1).
const lowest = "-18446744073709551616"

// appendFloat appends f so that it is read as a float again: with a point or
// an exponent.
func appendFloat(dst []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
	dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
	if f == math.Trunc(f) {
		dst = append(dst, ".0"...)
	}
	return dst
}

// text writes a string.
func (p *printer) text(s []byte) {
	length := len(s)
	for _, c := range s {
		if c < ' ' || c == '"' || c == '\\' {
			length += len(`\u0000`) - 1
		}
	}
	p.need(length)
	p.out = append(p.out, '"')
	if length == len(s) {
		p.out = append(p.out, s...)
	} else {
		p.out = appendEscaped(p.out, s)
	}
	p.out = append(p.out, '"')
}

// appendEscaped appends s, which is UTF-8, as the inside of a JSON string.
func appendEscaped(dst, s []byte) []byte {
	const digits = "0123456789abcdef"
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// uuidText is the text form of a UUID's 16 bytes (RFC 9562, section 4).
func uuidText(b []byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
