package oic

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
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
	case !utf8.Valid(b):
		return nil, Errorf(BadRequest, "JSON: text is not UTF-8")
	}
	w := cborWriter{in: json.NewDecoder(bytes.NewReader(b)), out: make([]byte, 0, len(b)+8)}
	w.in.UseNumber()
	if err := w.document(); err != nil {
		return nil, err
	}
	if f == JSON {
		return b, nil
	}
	return w.out, nil
}

// cborWriter writes the tokens of a JSON document as CBOR.
type cborWriter struct {
	in    *json.Decoder
	out   []byte
	items int
	keys  []string // of the objects that are open, to find double ones
}

func (w *cborWriter) fail(format string, args ...any) error {
	args = append([]any{w.in.InputOffset()}, args...)
	return Errorf(BadRequest, "JSON, byte %d: "+format, args...)
}

func (w *cborWriter) document() error {
	t, err := w.token()
	if err != nil {
		return err
	}
	if err := w.value(t, 0); err != nil {
		return err
	}
	if _, err := w.in.Token(); err != io.EOF {
		return w.fail("bytes behind the end")
	}
	return nil
}

func (w *cborWriter) token() (json.Token, error) {
	t, err := w.in.Token()
	switch {
	case err == nil:
		return t, nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, w.fail("ends too early")
	}
	return nil, w.fail("%s", strings.TrimPrefix(err.Error(), "json: "))
}

func (w *cborWriter) value(t json.Token, depth int) error {
	switch t := t.(type) {
	case nil:
		w.out = append(w.out, majorSimple<<5|simpleNull)
	case bool:
		b := byte(majorSimple<<5 | simpleFalse)
		if t {
			b++
		}
		w.out = append(w.out, b)
	case json.Number:
		return w.number(t.String())
	case string:
		return w.text(t)
	case json.Delim:
		if depth == maxDepth {
			return w.fail("nested deeper than %d", maxDepth)
		}
		if t == '[' {
			return w.array(depth + 1)
		}
		return w.object(depth + 1)
	}
	return nil
}

func (w *cborWriter) number(s string) error {
	if !strings.ContainsAny(s, ".eE") {
		digits, negative := strings.CutPrefix(s, "-")
		n, err := strconv.ParseUint(digits, 10, 64)
		switch {
		case err == nil && negative && n > 0:
			w.out = appendHead(w.out, majorNegative, n-1)
			return nil
		case err == nil:
			w.out = appendHead(w.out, majorUint, n)
			return nil
		case s == lowest:
			w.out = appendHead(w.out, majorNegative, math.MaxUint64)
			return nil
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return w.fail("number %.32s does not fit", s)
	}
	w.out = append(w.out, majorSimple<<5|info64)
	w.out = binary.BigEndian.AppendUint64(w.out, math.Float64bits(f))
	return nil
}

func (w *cborWriter) text(s string) error {
	if len(s) > maxText {
		return w.fail("text over %d bytes", maxText)
	}
	w.out = append(appendHead(w.out, majorText, uint64(len(s))), s...)
	return nil
}

// next reads the token of one more element or member, and reports false at
// the end of the container.
func (w *cborWriter) next() (json.Token, bool, error) {
	t, err := w.token()
	if err != nil {
		return nil, false, err
	}
	if d, ok := t.(json.Delim); ok && (d == ']' || d == '}') {
		return nil, false, nil
	}
	if w.items++; w.items > maxItems {
		return nil, false, w.fail("more than %d items", maxItems)
	}
	return t, true, nil
}

func (w *cborWriter) array(depth int) error {
	start, n := len(w.out), uint64(0)
	for ; ; n++ {
		t, more, err := w.next()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if err := w.value(t, depth); err != nil {
			return err
		}
	}
	w.out = insertHead(w.out, start, majorArray, n)
	return nil
}

func (w *cborWriter) object(depth int) error {
	start, base, n := len(w.out), len(w.keys), uint64(0)
	for ; ; n++ {
		t, more, err := w.next()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if err := w.member(t, depth); err != nil {
			return err
		}
	}
	w.out = insertHead(w.out, start, majorMap, n)
	keys := w.keys[base:]
	w.keys = w.keys[:base]
	slices.Sort(keys)
	for i := 1; i < len(keys); i++ {
		if keys[i] == keys[i-1] {
			return w.fail("key %.64q comes twice", keys[i])
		}
	}
	return nil
}

func (w *cborWriter) member(key json.Token, depth int) error {
	k, ok := key.(string)
	if !ok {
		return w.fail("key of an object is not text")
	}
	if err := w.text(k); err != nil {
		return err
	}
	w.keys = append(w.keys, k)
	t, err := w.token()
	if err != nil {
		return err
	}
	return w.value(t, depth)
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
