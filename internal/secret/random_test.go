package secret_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/farreach/farreach/internal/secret"
)

var codes = []struct{ typed, want string }{ // want "": refused
	{"7K3P-9QXM-4TBH", "7K3P-9QXM-4TBH"},
	{"7k3p9qxm4tbh", "7K3P-9QXM-4TBH"},
	{" 7k3p 9qxm 4tbh ", "7K3P-9QXM-4TBH"},
	{"7-K-3-P-9-Q-X-M-4-T-B-H", "7K3P-9QXM-4TBH"},
	{"oOiI-lL01-0000", "0011-1101-0000"},
	{"7K3P-9QXM-4TB", ""},
	{"7K3P-9QXM-4TBHH", ""},
	{"7K3P-9QXM-4TBU", ""}, // U is not in the alphabet
	{"7K3P-9QXM-4TB\x00", ""},
	{"7K3P-9QXM-4TB\u212a", ""}, // the Kelvin sign is a K only to Unicode
	{"", ""},
	{"----", ""},
	{strings.Repeat("-", 1000) + "7K3P9QXM4TBH", ""},
}

func TestParseCode(t *testing.T) {
	for _, c := range codes {
		got, err := secret.ParseCode(secret.String(c.typed))
		if got.Reveal() != c.want || (c.want == "") != errors.Is(err, secret.ErrCode) {
			t.Errorf("ParseCode(%q) = %q, %v; want %q", c.typed, got.Reveal(), err, c.want)
		}
	}
}

func TestCodeParsesAsItself(t *testing.T) {
	for range 100 {
		code := secret.Code()
		if got, err := secret.ParseCode(code); got != code || err != nil {
			t.Fatalf("ParseCode(%q) = %q, %v", code.Reveal(), got.Reveal(), err)
		}
	}
}

// FuzzParseCode: what parses is printed in one form, which parses as itself.
func FuzzParseCode(f *testing.F) {
	for _, c := range codes {
		f.Add(c.typed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		code, err := secret.ParseCode(secret.String(typed))
		if err != nil {
			if code != "" {
				t.Fatalf("a refused code came back as %q", code.Reveal())
			}
			return
		}
		if again, err := secret.ParseCode(code); err != nil || again != code || len(code) != 14 {
			t.Fatalf("%q came back as %q, then %q (%v)", typed, code.Reveal(), again.Reveal(), err)
		}
	})
}
