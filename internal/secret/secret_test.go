package secret_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/goccy/go-yaml"

	"github.com/farreach/farreach/internal/secret"
)

const hidden = "correct horse battery staple"

// TestNoWayOfPrintingShowsASecret: threats rule 13.
func TestNoWayOfPrintingShowsASecret(t *testing.T) {
	type box struct {
		Password secret.String
		Pointer  *secret.String
	}
	s := secret.String(hidden)
	v := box{s, &s}
	encode := func(f func(any) ([]byte, error)) string {
		b, err := f(v)
		if err != nil {
			t.Errorf("encode: %v", err)
		}
		return string(b)
	}
	var logged, stream bytes.Buffer
	slog.New(slog.NewTextHandler(&logged, nil)).Info("in", "password", s, "box", v)
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("in", "password", s, "box", v)
	if err := gob.NewEncoder(&stream).Encode(v); err != nil {
		t.Errorf("gob: %v", err)
	}
	printed := map[string]string{
		"log":  logged.String(),
		"gob":  stream.String(),
		"json": encode(json.Marshal),
		"xml":  encode(xml.Marshal),
		"yaml": encode(func(v any) ([]byte, error) { return yaml.Marshal(v) }),
		"cbor": encode(cbor.Marshal),
		"err":  fmt.Errorf("login with %s: %w", s, fmt.Errorf("%v", v)).Error(),
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%10.3s"} {
		printed[verb] = fmt.Sprintf(verb, s) + fmt.Sprintf(verb, v.Password)
		printed["box "+verb] = fmt.Sprintf(verb, v)
	}
	hex := fmt.Sprintf("%x", hidden)
	for how, got := range printed {
		for _, part := range []string{"horse", "cor", hex[:8], strings.ToUpper(hex[:8])} {
			if strings.Contains(got, part) {
				t.Errorf("%s shows the secret: %s", how, got)
			}
		}
	}
	if s.Reveal() != hidden {
		t.Errorf("Reveal = %q, want the secret", s.Reveal())
	}
}

func TestStringIsReadFromJSON(t *testing.T) {
	var v struct{ Password secret.String }
	if err := json.Unmarshal([]byte(`{"password":"`+hidden+`"}`), &v); err != nil || v.Password.Reveal() != hidden {
		t.Errorf("Unmarshal = %q, %v; want the secret", v.Password.Reveal(), err)
	}
}

func TestHashIsAKeyAndComesBack(t *testing.T) {
	h := secret.HashOf("abc") // FIPS 180-2, appendix B.1
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if h.String() != want {
		t.Fatalf("HashOf(abc) = %s, want %s", h, want)
	}
	b, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	if !h.Is(want) || h.Is(want[:63]) || h.Is("") || secret.HashOf("abd").Is(want) {
		t.Errorf("%s is not what it is", h)
	}
	var back secret.Hash
	if err := json.Unmarshal(b, &back); err != nil || !back.Equal(h) {
		t.Errorf("came back as %s, %v; want %s", back, err, h)
	}
	for _, bad := range []string{"", "ba", strings.Repeat("g", 64), h.String() + "00"} {
		if err := back.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("UnmarshalText(%q) = nil, want an error", bad)
		}
	}
}

// TestBad48TokensAreLong: 128 bits of crypto/rand at least.
func TestBad48TokensAreLong(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		for _, s := range []string{secret.Token(secret.Access).Reveal(), secret.Token(secret.User).Reveal(), secret.ID(), secret.Code().Reveal()} {
			if seen[s] {
				t.Fatalf("%q came twice", s)
			}
			seen[s] = true
		}
	}
	if s := secret.Token(secret.Refresh).Reveal(); !strings.HasPrefix(s, "frt_") || len(s) != 4+32 {
		t.Errorf("Token(Refresh) = %q, want frt_ and 32 characters of 6 bits", s)
	}
	if s := secret.ID(); len(s) != 26 {
		t.Errorf("ID() = %q, want 26 characters of 5 bits", s)
	}
}
