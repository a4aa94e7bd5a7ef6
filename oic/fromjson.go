package oic

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// FromJSON converts JSON to a body in f, which must be OCF or CBOR (or JSON,
// for the sake of the check). Numbers with a point or an exponent, and integers
// that CBOR has no room for, become floats of 64 bits, the others integers.
// Members keep their order and lengths are definite. No body is none: nil.
//
// The limits and errors are those of Decode.
func FromJSON(f ContentFormat, b []byte) ([]byte, error) {
	switch {
	case !f.IsCBOR() && f != JSON:
		return nil, unsupported(f)
	case len(b) == 0:
		return nil, nil
	}
	w := cborWriter{in: b, out: make([]byte, 0, len(b)+16)}
	if err := w.document(); err != nil {
		return nil, err
	}
	if f == JSON {
		return b, nil
	}
	return w.out, nil
}

// cborWriter reads JSON (RFC 8259) and writes CBOR as it goes. encoding/json
// could read it too, but takes sixty times the memory that the text has.
type cborWriter struct {
	in    []byte
	at    int
	out   []byte
	items int
	keys  []span // in out, of the objects that are open
}

func (w *cborWriter) fail(format string, args ...any) error {
	return Errorf(BadRequest, "JSON, byte %d: "+format, append([]any{w.at}, args...)...)
}

// unexpected refuses the byte that comes next.
func (w *cborWriter) unexpected(wanted string) error {
	if w.at >= len(w.in) {
		return w.fail("ends too early")
	}
	r, _ := utf8.DecodeRune(w.in[w.at:])
	return w.fail("%q in the place of %s", r, wanted)
}

func (w *cborWriter) document() error {
	if !utf8.Valid(w.in) {
		return w.fail("text is not UTF-8")
	}
	if err := w.value(0); err != nil {
		return err
	}
	if w.next(); w.at < len(w.in) {
		return w.fail("%d bytes behind the end", len(w.in)-w.at)
	}
	return nil
}

// next passes over white space and returns the byte behind it, 0 at the end.
func (w *cborWriter) next() byte {
	for ; w.at < len(w.in); w.at++ {
		switch c := w.in[w.at]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

func (w *cborWriter) value(depth int) error {
	switch c := w.next(); {
	case c == '{', c == '[':
		if depth == maxDepth {
			return w.fail("nested deeper than %d", maxDepth)
		}
		w.at++
		if c == '[' {
			return w.array(depth + 1)
		}
		return w.object(depth + 1)
	case c == '"':
		_, err := w.text()
		return err
	case c == '-', '0' <= c && c <= '9':
		return w.number()
	}
	for _, word := range [...]struct {
		text string
		cbor byte
	}{{"true", simpleTrue}, {"false", simpleFalse}, {"null", simpleNull}} {
		if bytes.HasPrefix(w.in[w.at:], []byte(word.text)) {
			w.at += len(word.text)
			w.out = append(w.out, majorSimple<<5|word.cbor)
			return nil
		}
	}
	return w.unexpected("a value")
}

// more reports whether the container that ends with end has an element n, and
// passes over what stands in front of it.
func (w *cborWriter) more(end byte, n uint64) (bool, error) {
	c := w.next()
	switch {
	case c == end:
		w.at++
		return false, nil
	case n > 0 && c != ',':
		return false, w.unexpected("a comma")
	case n > 0:
		w.at++
	}
	if w.items++; w.items > maxItems {
		return false, w.fail("more than %d items", maxItems)
	}
	return true, nil
}

func (w *cborWriter) array(depth int) error {
	start := len(w.out)
	for n := uint64(0); ; n++ {
		more, err := w.more(']', n)
		if err != nil {
			return err
		}
		if !more {
			w.out = insertHead(w.out, start, majorArray, n)
			return nil
		}
		if err := w.value(depth); err != nil {
			return err
		}
	}
}

func (w *cborWriter) object(depth int) error {
	start, base := len(w.out), len(w.keys)
	for n := uint64(0); ; n++ {
		more, err := w.more('}', n)
		if err != nil {
			return err
		}
		if !more {
			if err := w.distinct(w.keys[base:]); err != nil {
				return err
			}
			w.keys = w.keys[:base]
			w.out = insertHead(w.out, start, majorMap, n)
			return nil
		}
		if err := w.member(depth); err != nil {
			return err
		}
	}
}

func (w *cborWriter) member(depth int) error {
	if w.next() != '"' {
		return w.unexpected("a key")
	}
	length, err := w.text()
	if err != nil {
		return err
	}
	if len(w.keys) == cap(w.keys) {
		w.keys = slices.Grow(w.keys, len(w.keys)+8)
	}
	w.keys = append(w.keys, span{uint32(len(w.out) - length), uint32(len(w.out))})
	if w.next() != ':' {
		return w.unexpected("a colon")
	}
	w.at++
	return w.value(depth)
}

// distinct refuses keys of which two are equal. It sorts them.
func (w *cborWriter) distinct(keys []span) error {
	text := func(s span) []byte { return w.out[s.from:s.to] }
	slices.SortFunc(keys, func(a, b span) int { return bytes.Compare(text(a), text(b)) })
	for i := 1; i < len(keys); i++ {
		if k := text(keys[i]); bytes.Equal(k, text(keys[i-1])) {
			return w.fail("key %.64q comes twice", k)
		}
	}
	return nil
}

func (w *cborWriter) number() error {
	start := w.at
	w.take("-")
	if !w.take("0") && !w.digits() {
		return w.unexpected("a digit")
	}
	whole := w.at
	if w.take(".") && !w.digits() {
		return w.unexpected("a digit")
	}
	if w.take("eE") {
		if w.take("+-"); !w.digits() {
			return w.unexpected("a digit")
		}
	}
	text := string(w.in[start:w.at])
	if w.at == whole && w.integer(text) {
		return nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return w.fail("number %.32s does not fit", text)
	}
	w.out = append(w.out, majorSimple<<5|info64)
	w.out = binary.BigEndian.AppendUint64(w.out, math.Float64bits(f))
	return nil
}

// take passes over the next byte if it is one of set, and reports whether.
func (w *cborWriter) take(set string) bool {
	if w.at < len(w.in) && strings.IndexByte(set, w.in[w.at]) >= 0 {
		w.at++
		return true
	}
	return false
}

// digits passes over digits, and reports whether there was one.
func (w *cborWriter) digits() bool {
	from := w.at
	for w.at < len(w.in) && '0' <= w.in[w.at] && w.in[w.at] <= '9' {
		w.at++
	}
	return w.at > from
}

// integer reports whether CBOR has room for the integer s, and writes it.
func (w *cborWriter) integer(s string) bool {
	if s == lowest {
		w.out = appendHead(w.out, majorNegative, math.MaxUint64)
		return true
	}
	negative := s[0] == '-'
	if negative {
		s = s[1:]
	}
	n, err := strconv.ParseUint(s, 10, 64)
	switch {
	case err != nil:
		return false
	case negative && n > 0:
		w.out = appendHead(w.out, majorNegative, n-1)
	default:
		w.out = appendHead(w.out, majorUint, n)
	}
	return true
}

// text reads a string and returns how many bytes it has.
func (w *cborWriter) text() (int, error) {
	w.at++
	start := len(w.out)
	for {
		plain := w.at
		for w.at < len(w.in) && w.in[w.at] >= ' ' && w.in[w.at] != '"' && w.in[w.at] != '\\' {
			w.at++
		}
		w.out = append(w.out, w.in[plain:w.at]...)
		switch {
		case w.at == len(w.in) || w.in[w.at] < ' ':
			return 0, w.unexpected("a character")
		case w.in[w.at] == '\\':
			if err := w.escape(); err != nil {
				return 0, err
			}
			continue
		}
		w.at++
		length := len(w.out) - start
		if length > maxText {
			return 0, w.fail("text over %d bytes", maxText)
		}
		w.out = insertHead(w.out, start, majorText, uint64(length))
		return length, nil
	}
}

// escape reads what begins with a backslash. Half of a surrogate pair becomes
// the replacement character, as in encoding/json.
func (w *cborWriter) escape() error {
	if w.at+1 >= len(w.in) {
		w.at = len(w.in)
		return w.unexpected("an escape")
	}
	w.at++
	c := w.in[w.at]
	if c == 'u' {
		r, ok := w.hex()
		if !ok {
			return w.unexpected("four hexadecimal digits")
		}
		if utf16.IsSurrogate(r) {
			r = w.pair(r)
		}
		w.out = utf8.AppendRune(w.out, r)
		return nil
	}
	i := bytes.IndexByte([]byte(`"\/bfnrt`), c)
	if i < 0 {
		return w.unexpected("an escape")
	}
	w.out = append(w.out, "\"\\/\b\f\n\r\t"[i])
	w.at++
	return nil
}

// pair reads the second half of a surrogate pair, if it is there.
func (w *cborWriter) pair(first rune) rune {
	at := w.at
	if bytes.HasPrefix(w.in[at:], []byte(`\u`)) {
		w.at++
		if second, ok := w.hex(); ok {
			if r := utf16.DecodeRune(first, second); r != utf8.RuneError {
				return r
			}
		}
	}
	w.at = at
	return utf8.RuneError
}

// hex reads a "u" and four digits.
func (w *cborWriter) hex() (rune, bool) {
	if w.at+5 > len(w.in) {
		w.at = len(w.in)
		return 0, false
	}
	n, err := strconv.ParseUint(string(w.in[w.at+1:w.at+5]), 16, 16)
	if err != nil {
		return 0, false
	}
	w.at += 5
	return rune(n), true
}

// appendHead appends the start of a CBOR item in its shortest form (RFC 8949,
// section 3).
func appendHead(dst []byte, major byte, n uint64) []byte {
	major <<= 5
	switch {
	case n < 24:
		return append(dst, major|byte(n))
	case n <= math.MaxUint8:
		return append(dst, major|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, major|info16), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, major|info32), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, major|info64), n)
}

// insertHead puts the start of an item in front of its content at dst[at:].
func insertHead(dst []byte, at int, major byte, n uint64) []byte {
	var head [9]byte
	return slices.Insert(dst, at, appendHead(head[:0], major, n)...)
}
