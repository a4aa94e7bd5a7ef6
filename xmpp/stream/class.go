package stream

import (
	"encoding/binary"
	"math/bits"
	"strings"
)

// What a byte may be.
const (
	nameStart = 1 << iota // the beginning of a name
	nameChar              // a part of a name
	colon                 // what stands between prefix and name
	space                 // white space
	notURI                // what the name of a namespace cannot hold
)

// class says what each byte may be. Names are ASCII: which others are letters
// depends on the edition of XML, so that a name of them could be an error for
// one parser and none for the next.
var class = func() (t [256]uint8) {
	for c := range 128 {
		switch c := byte(c); {
		case c|0x20 >= 'a' && c|0x20 <= 'z', c == '_':
			t[c] = nameStart | nameChar
		case c >= '0' && c <= '9', c == '-', c == '.':
			t[c] = nameChar
		case c == ':':
			t[c] = colon
		case c == ' ', c == '\t', c == '\r', c == '\n':
			t[c] = space | notURI
		case c < ' ', c == 0x7f, strings.IndexByte("<>\"{}|\\^`", c) >= 0:
			t[c] = notURI
		}
	}
	return t
}()

// Eight equal bytes.
const (
	ones  = 0x0101010101010101
	highs = 0x80 * ones
)

// PlainText returns the offset of the first byte of b, at i or behind it, that
// is not printable ASCII or is one of < > &; len(b) if there is none. What it
// passes over stands for itself in any text.
func PlainText(b []byte, i int) int {
	for ; i+16 <= len(b); i += 16 {
		x, y := binary.LittleEndian.Uint64(b[i:]), binary.LittleEndian.Uint64(b[i+8:])
		if (textMarks(x)|textMarks(y))&highs != 0 {
			break
		}
	}
	for ; i+8 <= len(b); i += 8 {
		if marks := textMarks(binary.LittleEndian.Uint64(b[i:])) & highs; marks != 0 {
			return i + bits.TrailingZeros64(marks)>>3
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c < ' ' || c >= 0x80 || c == '<' || c == '>' || c == '&' {
			break
		}
	}
	return i
}

// textMarks sets the highest bit of each byte of x where PlainText stops, and
// perhaps of some behind the first of them: a byte borrows from the next one
// only if it is marked itself.
func textMarks(x uint64) uint64 {
	angle := (x | 0x02*ones) ^ '>'*ones // a zero byte for each < and >
	amp := x ^ '&'*ones
	return x | (x - ' '*ones) | (angle - ones) | (amp - ones)
}

// plainValue is PlainText for the value of an attribute: > is plain there, and
// quote is not.
func plainValue(b []byte, i int, quote byte) int {
	both := uint64(quote|'&') * ones   // each kind of quote and & differ in one bit
	differ := uint64(quote^'&') * ones // this one
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		less, end := x^'<'*ones, (x|differ)^both // a zero byte for each < and for each quote and &
		if marks := (x | (x - ' '*ones) | (less - ones) | (end - ones)) & highs; marks != 0 {
			return i + bits.TrailingZeros64(marks)>>3
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c < ' ' || c >= 0x80 || c == '<' || c == quote || c == '&' {
			break
		}
	}
	return i
}
