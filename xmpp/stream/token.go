package stream

import "bytes"

// TokenKind says what a Token is.
type TokenKind uint8

// The kinds of tokens.
const (
	StartTag TokenKind = iota + 1
	EndTag
	Chars // text, or a CDATA section
	Declaration
)

// Token is a piece of an item that a Scanner has accepted.
type Token struct {
	Kind  TokenKind
	Name  []byte // of a tag, with its prefix
	Attrs []byte // of a start tag: see NextAttr
	Empty bool   // a start tag that is its own end
	text  []byte
	cdata bool
}

// Decode returns the text of Chars. It is part of the bytes that the token was
// made of unless something in it was escaped.
func (t *Token) Decode() []byte {
	switch {
	case PlainText(t.text, 0) == len(t.text):
		return t.text
	case t.cdata:
		return decode(t.text, false, false)
	}
	return decode(t.text, true, false)
}

// NextToken returns the first token of b, which a Scanner has accepted from its
// start up to somewhere at least as far as len(b), and its length. Bytes that
// no Scanner would accept give tokens without sense or none at all (then n is
// len(b) and the Kind zero), never a panic.
func NextToken(b []byte) (t Token, n int) {
	switch {
	case len(b) == 0:
		return t, 0
	case b[0] != '<':
		n = bytes.IndexByte(b, '<')
		if n < 0 {
			n = len(b)
		}
		return Token{Kind: Chars, text: b[:n]}, n
	case len(b) > 1 && b[1] == '?':
		return Token{Kind: Declaration}, behind(b, "?>")
	case bytes.HasPrefix(b, []byte(cdataOpen)):
		n = behind(b, "]]>")
		return Token{Kind: Chars, cdata: true, text: bytes.TrimSuffix(b[len(cdataOpen):n], []byte("]]>"))}, n
	case len(b) > 1 && b[1] == '/':
		n = behind(b, ">")
		return Token{Kind: EndTag, Name: bytes.TrimRight(b[2:max(2, n-1)], spaceSet)}, n
	}
	return startToken(b)
}

const (
	cdataOpen = "<![CDATA["
	spaceSet  = " \t\r\n"
)

// behind is the offset in b behind the first end, or len(b).
func behind(b []byte, end string) int {
	if i := bytes.Index(b, []byte(end)); i >= 0 {
		return i + len(end)
	}
	return len(b)
}

// startToken reads <name attributes>.
func startToken(b []byte) (t Token, n int) {
	n = 1
	for n < len(b) && class[b[n]]&(nameChar|colon) != 0 {
		n++
	}
	t = Token{Kind: StartTag, Name: b[1:n]}
	start := n
	for ; n < len(b); n++ {
		switch c := b[n]; c {
		case '\'', '"':
			end := bytes.IndexByte(b[n+1:], c)
			if end < 0 {
				return Token{}, len(b)
			}
			n += 1 + end
		case '>':
			t.Attrs = b[start:n]
			t.Empty = b[n-1] == '/'
			if t.Empty && len(t.Attrs) > 0 {
				t.Attrs = t.Attrs[:len(t.Attrs)-1]
			}
			return t, n + 1
		}
	}
	return Token{}, len(b)
}

// NextAttr returns the first attribute in attrs (the Attrs of a Token, or the
// rest that the last call returned): its name with its prefix, its value as it
// stands there, and what follows. A nil name says that there is none.
func NextAttr(attrs []byte) (name, value, rest []byte) {
	attrs = attrs[spaces(attrs, 0):]
	equals := bytes.IndexByte(attrs, '=')
	if equals < 0 {
		return nil, nil, nil
	}
	rest = attrs[equals+1:]
	rest = rest[spaces(rest, 0):]
	if len(rest) == 0 || rest[0] != '\'' && rest[0] != '"' {
		return nil, nil, nil
	}
	end := bytes.IndexByte(rest[1:], rest[0])
	if end < 0 {
		return nil, nil, nil
	}
	for equals > 0 && class[attrs[equals-1]]&space != 0 {
		equals--
	}
	return attrs[:equals], rest[1 : 1+end], rest[2+end:]
}
