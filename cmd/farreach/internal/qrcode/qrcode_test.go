package qrcode

import (
	"strings"
	"testing"

	"rsc.io/qr"
)

const uri = "farreach:pair?at=K3J7-9QWX-42MD&cis=coaps%2Btcp%3A%2F%2F192.0.2.7%3A5684"

// The drawing has the modules of the code, all of them, in the middle of a
// quiet zone.
func TestDraw(t *testing.T) {
	code, err := qr.Encode(uri, qr.L)
	if err != nil {
		t.Fatal(err)
	}
	text, width, err := Draw(uri)
	if err != nil || width != code.Size+2*quiet {
		t.Fatalf("width %d of %d modules, %v", width, code.Size, err)
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if want := (width + 1) / 2; len(lines) != want {
		t.Fatalf("%d lines, want %d", len(lines), want)
	}
	for row, line := range lines {
		cells := []rune(strings.TrimSuffix(strings.TrimPrefix(line, paper), reset))
		if len(cells) != width {
			t.Fatalf("line %d has %d characters, want %d", row, len(cells), width)
		}
		for x, r := range cells {
			for half, black := range []bool{r == '█' || r == '▀', r == '█' || r == '▄'} {
				if y := 2*row + half - quiet; black != code.Black(x-quiet, y) {
					t.Fatalf("module %d,%d is wrong", x-quiet, y)
				}
			}
		}
	}
}

func TestTooMuch(t *testing.T) {
	if _, _, err := Draw(strings.Repeat("x", 5000)); err == nil {
		t.Error("no error for what no code can hold")
	}
}
