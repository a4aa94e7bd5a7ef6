package stream

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// AppendEscaped appends s so that it may stand as the value of an attribute in
// quotes of either kind. What XML cannot hold becomes U+FFFD.
func AppendEscaped[T string | []byte](dst []byte, s T) []byte { return escape(dst, s, false) }

// AppendText appends s so that it may stand as the content of an element. What
// XML cannot hold becomes U+FFFD.
func AppendText[T string | []byte](dst []byte, s T) []byte { return escape(dst, s, true) }

func escape[T string | []byte](dst []byte, s T, text bool) []byte {
	done := 0
	for i := 0; i < len(s); {
		with, size := escaped(s[i], text), 1
		if s[i] >= utf8.RuneSelf {
			var r rune
			r, size = utf8.DecodeRuneInString(string(s[i:min(len(s), i+utf8.UTFMax)]))
			if r == utf8.RuneError && size == 1 || !isChar(r) {
				with = "\uFFFD"
			}
		}
		if with != "" {
			dst = append(dst, s[done:i]...)
			dst = append(dst, with...)
			done = i + size
		}
		i += size
	}
	return append(dst, s[done:]...)
}

// escaped is what stands for an ASCII character; "": itself.
func escaped(c byte, text bool) string {
	switch c {
	case '<':
		return "&lt;"
	case '>':
		return "&gt;"
	case '&':
		return "&amp;"
	case '\r':
		return "&#13;"
	}
	if text && (c == '\'' || c == '"' || c == '\t' || c == '\n') {
		return ""
	}
	switch c {
	case '\'':
		return "&apos;"
	case '"':
		return "&quot;"
	case '\t':
		return "&#9;"
	case '\n':
		return "&#10;"
	}
	if c < ' ' {
		return "\uFFFD"
	}
	return ""
}

// Decode returns the text of an attribute's value as it stands in an Item. It
// is raw itself if nothing in it is escaped.
func Decode(raw []byte) []byte {
	if plainValue(raw, 0, '&') == len(raw) {
		return raw
	}
	return decode(raw, true, true)
}

// decode resolves references, if there may be any, and does to the ends of lines
// what XML says (XML 1.0, sections 2.11 and 3.3.3).
func decode(raw []byte, references, attribute bool) []byte {
	special := "\r"
	if references {
		special = "&\r"
	}
	if attribute {
		special = "&\r\n\t"
	}
	i := bytes.IndexAny(raw, special)
	if i < 0 {
		return raw
	}
	out := make([]byte, 0, len(raw))
	for ; i >= 0; i = bytes.IndexAny(raw, special) {
		out = append(out, raw[:i]...)
		raw = raw[i:]
		n := 1
		switch {
		case raw[0] == '&':
			out, n = appendReference(out, raw)
		case attribute:
			out = append(out, ' ')
		default:
			out = append(out, '\n')
		}
		if raw[0] == '\r' && len(raw) > 1 && raw[1] == '\n' {
			n = 2
		}
		raw = raw[n:]
	}
	return append(out, raw...)
}

// appendReference appends the character that the reference at the start of raw
// stands for, and returns the length of the reference.
func appendReference(dst, raw []byte) ([]byte, int) {
	r, n, err := reference(raw)
	if err != nil {
		return append(dst, '&'), 1 // no Scanner has seen this
	}
	return utf8.AppendRune(dst, r), n
}

// maxReference is how long a reference may be, bytes: a few more than
// &#x10FFFF; needs.
const maxReference = 16

// reference reads the reference at the start of b.
func reference(b []byte) (r rune, n int, err error) {
	end := bytes.IndexByte(b[:min(len(b), maxReference)], ';')
	if end < 0 {
		return 0, 0, unfinishedReference(b)
	}
	name := string(b[1:end])
	for i, entity := range entities {
		if entity == name {
			return rune("<>&'\""[i]), end + 1, nil
		}
	}
	digits, ok := strings.CutPrefix(name, "#")
	if !ok {
		return 0, 0, restricted("entity reference")
	}
	base := 10
	if hex, ok := strings.CutPrefix(digits, "x"); ok {
		digits, base = hex, 16
	}
	v, perr := strconv.ParseUint(digits, base, 32)
	if perr != nil || !isChar(rune(v)) {
		return 0, 0, malformed("reference to no character")
	}
	return rune(v), end + 1, nil
}

// entities are those that need no declaration (XML 1.0, section 4.6).
var entities = [...]string{"lt", "gt", "amp", "apos", "quot"}

// unfinishedReference says what is wrong with b, which begins with & and has no
// semicolon where one must be; ErrShort if one may come.
func unfinishedReference(b []byte) error {
	if len(b) > 1 && b[1] != '#' && !isEntityPrefix(b[1:]) {
		return restricted("entity reference")
	}
	for i := 2; i < min(len(b), maxReference); i++ {
		if c := b[i]; b[1] == '#' && !(c >= '0' && c <= '9' || b[2] == 'x' && (i == 2 || c|0x20 >= 'a' && c|0x20 <= 'f')) {
			return malformed("reference to no character")
		}
	}
	if len(b) >= maxReference {
		return violation("character reference is too long")
	}
	return ErrShort
}

func isEntityPrefix(b []byte) bool {
	for _, entity := range entities {
		if strings.HasPrefix(entity, string(b)) {
			return true
		}
	}
	return false
}

// isChar reports whether XML can hold r (XML 1.0, section 2.2).
func isChar(r rune) bool {
	switch {
	case r < ' ':
		return r == '\t' || r == '\n' || r == '\r'
	case r >= 0xd800 && r < 0xe000:
		return false
	}
	return r < 0xfffe || r >= 0x10000 && r <= utf8.MaxRune
}
