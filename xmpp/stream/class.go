package stream

import (
	"encoding/binary"
	"math/bits"
)

// What a byte may be.
const (
	nameStart = 1 << iota // the beginning of a name
	nameChar              // a part of a name
	colon                 // what stands between prefix and name
	space                 // white space
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
			t[c] = space
		}
	}
	return t
}()

// Eight equal bytes.
const (
	ones  = 0x0101010101010101
	highs = 0x80 * ones
)

// plainText returns the offset of the first byte of b, at i or behind it, that
// is not printable ASCII or is one of < > &; len(b) if there is none.
func plainText(b []byte, i int) int {
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		angle := (x | 0x02*ones) ^ '>'*ones // a zero byte for each < and >
		amp := x ^ '&'*ones
		// A byte borrows from the next only if it is marked itself, so that the
		// lowest mark is right.
		if marks := (x | (x - ' '*ones) | (angle - ones) | (amp - ones)) & highs; marks != 0 {
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

// plainValue is plainText for the value of an attribute: > is plain there, and
// quote is not.
func plainValue(b []byte, i int, quote byte) int {
	quotes := uint64(quote) * ones
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		end := x ^ quotes
		less := x ^ '<'*ones
		amp := x ^ '&'*ones
		if marks := (x | (x - ' '*ones) | (end - ones) | (less - ones) | (amp - ones)) & highs; marks != 0 {
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
