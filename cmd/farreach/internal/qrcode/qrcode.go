// Package qrcode draws a QR code with the characters of a terminal:
//
//	text ── rsc.io/qr ──▶ modules ──▶ two to a character: ▀ ▄ █ and blank
//
// Colours are set, black on white, for a reader wants dark modules on a light
// ground and nobody knows the colours of a terminal.
package qrcode

import (
	"strings"

	"rsc.io/qr"
)

const (
	quiet = 2 // modules around the code; the standard asks for 4, readers for less

	paper = "\x1b[30;107m" // black on bright white
	reset = "\x1b[0m"
)

// Draw returns the lines of a code for text, each ended, and how many
// characters wide they are.
func Draw(text string) (lines string, width int, err error) {
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		return "", 0, err
	}
	var b strings.Builder
	for y := -quiet; y < code.Size+quiet; y += 2 {
		b.WriteString(paper)
		for x := -quiet; x < code.Size+quiet; x++ {
			b.WriteRune(glyph(code.Black(x, y), code.Black(x, y+1)))
		}
		b.WriteString(reset + "\n")
	}
	return b.String(), code.Size + 2*quiet, nil
}

// glyph has a black upper half, a black lower half, both or none.
func glyph(upper, lower bool) rune {
	switch {
	case upper && lower:
		return '█'
	case upper:
		return '▀'
	case lower:
		return '▄'
	}
	return ' '
}
