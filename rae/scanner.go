package rae

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/farreach/farreach/xmpp/stream"
)

// tokenKind says what a token is.
type tokenKind uint8

const (
	text tokenKind = iota
	startTag
	endTag
	comment
	cdata
	declaration
	mark // of the order of bytes, at the start
)

// token is a piece of the document, whole with its delimiters.
type token struct {
	kind     tokenKind
	off, end int
}

const (
	bom        = "\ufeff"
	cdataOpen  = "<![CDATA["
	cdataClose = "]]>"
)

// scanner cuts a document into tokens.
type scanner struct {
	off   int  // where the next token begins
	seen  int  // how far the search for its end has come, from the start of the document
	quote byte // that is open at seen, in a tag
}

// next returns the token at off. The error is ErrShort, and no byte is looked
// at again when more have come; or a *FormatError.
func (s *scanner) next(b []byte) (t token, err error) {
	s.seen = max(s.seen, s.off)
	t.off = s.off
	if t.kind, err = s.kind(b[s.off:]); err != nil {
		return t, err
	}
	switch t.kind {
	case startTag:
		t.end, err = s.tag(b)
	case endTag:
		t.end, err = s.until(b, len("</"), ">")
	case comment:
		t.end, err = s.until(b, len("<!--"), "-->")
	case cdata:
		t.end, err = s.until(b, len(cdataOpen), cdataClose)
	case declaration:
		t.end, err = s.until(b, len("<?xml"), "?>")
	case mark:
		t.end = len(bom)
	default:
		t.end, err = s.until(b, 0, "<")
		t.end--
	}
	if err == nil {
		s.off, s.seen, s.quote = t.end, t.end, 0
	}
	return t, err
}

// kind tells by its first bytes what b begins with.
func (s *scanner) kind(b []byte) (tokenKind, error) {
	if len(b) == 0 {
		return 0, ErrShort
	}
	if b[0] != '<' {
		if s.off == 0 && b[0] == bom[0] {
			return mark, begins(b, bom, "text outside a document")
		}
		return text, nil
	}
	if len(b) == 1 {
		return 0, ErrShort
	}
	switch c := b[1]; {
	case c == '/':
		return endTag, nil
	case c == '?':
		return declaration, begins(b, "<?xml", "processing instruction")
	case c == '!' && len(b) > 2 && b[2] == '[':
		return cdata, begins(b, cdataOpen, "conditional section")
	case c == '!':
		return comment, begins(b, "<!--", "document type or declaration")
	}
	return startTag, nil
}

// begins says whether b begins with want, or may.
func begins(b []byte, want, why string) error {
	switch n := min(len(b), len(want)); {
	case string(b[:n]) != want[:n]:
		return &FormatError{why, "RA-076"}
	case n < len(want):
		return ErrShort
	}
	return nil
}

// until looks for end, at least skip bytes behind the start of the token, and
// returns the offset behind it.
func (s *scanner) until(b []byte, skip int, end string) (int, error) {
	from := max(s.seen-len(end)+1, s.off+skip)
	if from < len(b) {
		if i := bytes.Index(b[from:], []byte(end)); i >= 0 {
			return from + i + len(end), nil
		}
	}
	s.seen = max(s.seen, len(b))
	return 0, ErrShort
}

// tag looks for the > of a start tag, which may stand in an attribute's value
// too.
func (s *scanner) tag(b []byte) (int, error) {
	for i := tagMark(b, max(s.seen, s.off+1)); i < len(b); i = tagMark(b, i+1) {
		switch c := b[i]; {
		case c == '<':
			return 0, &FormatError{"< in a tag", "XML 1.0, section 3.1"}
		case c == s.quote:
			s.quote = 0
		case s.quote != 0:
		case c == '>':
			return i + 1, nil
		default:
			s.quote = c
		}
	}
	s.seen = len(b)
	return 0, ErrShort
}

// tagMark returns the offset of the first < > ' or " of b, at i or behind it;
// len(b) if there is none. It takes eight bytes at a time.
func tagMark(b []byte, i int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		angle := (x | ('<'^'>')*ones) ^ '>'*ones // a zero byte for each < and >
		single, double := x^'\''*ones, x^'"'*ones
		// The first zero byte is the lowest that is marked here.
		marks := (angle-ones)&^angle | (single-ones)&^single | (double-ones)&^double
		if marks &= highs; marks != 0 {
			return i + bits.TrailingZeros64(marks)>>3
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c == '<' || c == '>' || c == '\'' || c == '"' {
			break
		}
	}
	return i
}

// parseTag reads the start tag t, and n attributes of it into attrs.
func parseTag(b []byte, t token, attrs *[maxAttributes]attribute) (name qname, n int, err error) {
	end := t.end - 1
	if b[end-1] == '/' {
		end--
	}
	if name = nameAt(b[:end], t.off+1); name.off == name.end {
		return name, 0, badTag()
	}
	for i := name.end; ; n++ {
		spaced := i
		if i = spaces(b[:end], i); i == end {
			return name, n, nil
		}
		if n == maxAttributes {
			return name, n, &FormatError{"too many attributes", "RA-076"}
		}
		a := &attrs[n]
		if a.name = nameAt(b[:end], i); i == spaced || a.name.off == a.name.end {
			return name, n, badTag()
		}
		if i = spaces(b[:end], a.name.end); i == end || b[i] != '=' {
			return name, n, badTag()
		}
		if i = spaces(b[:end], i+1); i == end || b[i] != '\'' && b[i] != '"' {
			return name, n, badTag()
		}
		size := bytes.IndexByte(b[i+1:end], b[i])
		if size < 0 {
			return name, n, badTag()
		}
		a.value = span{i + 1, i + 1 + size}
		if _, err := checkText(a.value.of(b), false); err != nil {
			return name, n, err
		}
		i = a.value.end + 1
	}
}

func badTag() error { return &FormatError{"start tag", "XML 1.0, section 3.1"} }

// nameAt is the name at i, with at most one colon inside; an empty one if there
// is none.
func nameAt(b []byte, i int) qname {
	n := qname{span{i, i}, i}
	first := true
	for ; n.end < len(b); n.end++ {
		switch c := b[n.end]; {
		case isLetter(c) || c == '_':
			first = false
		case !first && (isDigit(c) || c == '-' || c == '.'):
		case !first && c == ':' && n.local == i:
			n.local = n.end + 1
			first = true
		case first || c == ':':
			return qname{span{i, i}, i}
		default:
			return n
		}
	}
	if first {
		return qname{span{i, i}, i}
	}
	return n
}

func spaces(b []byte, i int) int {
	for i < len(b) && isBlank(b[i]) {
		i++
	}
	return i
}

func isBlank(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// checkText checks text, the value of an attribute or the inside of a CDATA
// section. plain says that it stands for itself.
func checkText(b []byte, cdata bool) (plain bool, err error) {
	plain = true
	ascii := true
	for i := stream.PlainText(b, 0); i < len(b); i = stream.PlainText(b, i+1) {
		switch c := b[i]; {
		case c >= utf8.RuneSelf:
			ascii = false
		case c == '\r':
			plain = false
		case c < ' ' && c != '\t' && c != '\n':
			return false, &FormatError{"control character", "XML 1.0, section 2.2"}
		case cdata:
		case c == '>' && i >= 2 && b[i-1] == ']' && b[i-2] == ']':
			return false, &FormatError{"]]> in text", "XML 1.0, section 2.4"}
		case c == '&':
			_, n := reference(b[i:])
			if n == 0 {
				return false, &FormatError{"entity, or reference to no character", "RA-076"}
			}
			plain = false
			i += n - 1
		}
	}
	switch {
	case ascii:
	case !utf8.Valid(b):
		return false, &FormatError{"not UTF-8", "RFC 6120, section 11.6"}
	case bytes.Contains(b, []byte("\uFFFE")) || bytes.Contains(b, []byte("\uFFFF")):
		return false, &FormatError{"no character of XML", "XML 1.0, section 2.2"}
	}
	return plain, nil
}

// appendText appends what b, which checkText has seen, stands for.
func appendText(dst, b []byte, cdata bool) []byte {
	from := 0
	for i := stream.PlainText(b, 0); i < len(b); i = stream.PlainText(b, i+1) {
		switch c := b[i]; {
		case c == '&' && !cdata:
			r, n := reference(b[i:])
			dst = utf8.AppendRune(append(dst, b[from:i]...), r)
			i += n - 1
			from = i + 1
		case c == '\r': // XML 1.0, section 2.11
			dst = append(append(dst, b[from:i]...), '\n')
			if i+1 < len(b) && b[i+1] == '\n' {
				i++
			}
			from = i + 1
		}
	}
	return append(dst, b[from:]...)
}

// reference reads the reference at the start of b; n is 0 if there is none.
func reference(b []byte) (r rune, n int) {
	end := bytes.IndexByte(b[:min(len(b), 16)], ';')
	if end < 0 {
		return 0, 0
	}
	name := string(b[1:end])
	switch name {
	case "lt":
		return '<', end + 1
	case "gt":
		return '>', end + 1
	case "amp":
		return '&', end + 1
	case "apos":
		return '\'', end + 1
	case "quot":
		return '"', end + 1
	}
	digits, ok := strings.CutPrefix(name, "#")
	if !ok {
		return 0, 0
	}
	base := 10
	if hex, ok := strings.CutPrefix(digits, "x"); ok {
		digits, base = hex, 16
	}
	v, err := strconv.ParseUint(digits, base, 21)
	if r = rune(v); err != nil || !isChar(r) {
		return 0, 0
	}
	return r, end + 1
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

// checkComment checks a comment.
func checkComment(b []byte) error {
	inside := b[len("<!--") : len(b)-len("-->")]
	if bytes.Contains(inside, []byte("--")) || bytes.HasSuffix(inside, []byte("-")) {
		return &FormatError{"-- in a comment", "XML 1.0, section 2.5"}
	}
	_, err := checkText(inside, true)
	return err
}

// checkDeclaration checks an XML declaration: version 1.0, in UTF-8.
func checkDeclaration(b []byte) error {
	wrong := &FormatError{"XML declaration", "XML 1.0, section 2.8"}
	attrs := b[len("<?xml") : len(b)-len("?>")]
	if _, err := checkText(attrs, false); err != nil || len(attrs) == 0 || strings.IndexByte(blanks, attrs[0]) < 0 {
		return wrong
	}
	for i := 0; len(bytes.TrimLeft(attrs, blanks)) > 0; i++ {
		var name, value []byte
		name, value, attrs = stream.NextAttr(attrs)
		switch n := string(name); {
		case n == "version" && i == 0 && string(value) == "1.0":
		case n == "encoding" && i > 0 && bytes.EqualFold(value, []byte("UTF-8")):
		case n == "standalone" && i > 0 && (string(value) == "yes" || string(value) == "no"):
		default:
			return wrong
		}
	}
	return nil
}
