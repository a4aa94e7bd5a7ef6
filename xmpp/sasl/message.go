package sasl

import (
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf8"
)

// The four messages of RFC 5802, section 7. Each parser takes exactly what the
// grammar allows; what it allows and nobody knows (extensions) is kept in the
// text that is signed, but for m=, which asks not to be understood.

// clientFirst is "n,a=…,n=name,r=nonce".
type clientFirst struct {
	flag    string // "n", "y", or "p="
	binding string // with "p=": the type
	authzid string
	name    string
	nonce   string

	header string // the first two fields and their commas: what c= must repeat
	bare   string // the rest: what is signed
}

// serverFirst is "r=nonce,s=salt,i=iterations".
type serverFirst struct {
	nonce      string
	salt       []byte
	iterations int
}

// clientFinal is "c=…,r=nonce,p=proof".
type clientFinal struct {
	binding []byte // header of the first message, and the data of the channel
	nonce   string
	proof   []byte

	bare string // all but the proof: what is signed
}

var (
	errGrammar   = errors.New("the message is not one of RFC 5802, section 7")
	errExtension = errors.New("a mandatory extension, of which there are none")
)

func parseClientFirst(s string) (m clientFirst, err error) {
	if err := checkText(s); err != nil {
		return m, err
	}
	flag, rest, ok1 := strings.Cut(s, ",")
	authzid, bare, ok2 := strings.Cut(rest, ",")
	if !ok1 || !ok2 {
		return m, errGrammar
	}
	m.header, m.bare = s[:len(s)-len(bare)], bare
	if m.flag, m.binding, err = parseFlag(flag); err != nil {
		return m, err
	}
	if authzid != "" {
		if m.authzid, err = parseName(authzid, "a="); err != nil {
			return m, err
		}
	}
	f, err := fields(bare, 2)
	if err != nil {
		return m, err
	}
	if m.name, err = parseName(f[0], "n="); err != nil {
		return m, err
	}
	m.nonce, err = parseNonce(f[1])
	return m, err
}

func parseServerFirst(s string) (m serverFirst, err error) {
	if err := checkText(s); err != nil {
		return m, err
	}
	f, err := fields(s, 3)
	if err != nil {
		return m, err
	}
	if m.nonce, err = parseNonce(f[0]); err != nil {
		return m, err
	}
	if m.salt, err = parse64(f[1], "s="); err != nil {
		return m, err
	}
	m.iterations, err = parseIterations(f[2])
	return m, err
}

func parseClientFinal(s string) (m clientFinal, err error) {
	if err := checkText(s); err != nil {
		return m, err
	}
	end := strings.LastIndexByte(s, ',')
	if end < 0 {
		return m, errGrammar
	}
	m.bare = s[:end]
	f, err := fields(m.bare, 2)
	if err != nil {
		return m, err
	}
	if m.binding, err = parse64(f[0], "c="); err != nil {
		return m, err
	}
	if m.nonce, err = parseNonce(f[1]); err != nil {
		return m, err
	}
	m.proof, err = parse64(s[end+1:], "p=")
	return m, err
}

// parseServerFinal returns the signature, or what the server refuses with
// (RFC 5802, section 7: server-error-value), which is one word or nothing.
func parseServerFinal(s string) (signature []byte, refusal string, err error) {
	if err := checkText(s); err != nil {
		return nil, "", err
	}
	f, err := fields(s, 1)
	if err != nil {
		return nil, "", err
	}
	if word, ok := strings.CutPrefix(f[0], "e="); ok {
		return nil, plainWord(word), nil
	}
	signature, err = parse64(f[0], "v=")
	return signature, "", err
}

// fields splits s at its commas and returns the first n fields, which must be
// there. What follows must be extensions that may be overlooked.
func fields(s string, n int) ([]string, error) {
	if strings.HasPrefix(s, "m=") {
		return nil, errExtension
	}
	f := strings.SplitN(s, ",", n+1)
	if len(f) < n {
		return nil, errGrammar
	}
	if len(f) == n {
		return f, nil
	}
	for e := range strings.SplitSeq(f[n], ",") {
		// attr-val: a letter, "=", at least one character. The letters that
		// mean something have their place, which is not here.
		if len(e) < 3 || e[1] != '=' || !letter(e[0]) || strings.IndexByte("anmrcsipve", e[0]) >= 0 {
			return nil, errGrammar
		}
	}
	return f[:n], nil
}

// checkText refuses what no field may contain: NUL and broken UTF-8.
func checkText(s string) error {
	if len(s) > MaxMessage || !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		return errGrammar
	}
	return nil
}

func parseFlag(s string) (flag, binding string, err error) {
	if s == "n" || s == "y" {
		return s, "", nil
	}
	binding, ok := strings.CutPrefix(s, "p=")
	if !ok || binding == "" || strings.ContainsFunc(binding, func(r rune) bool {
		return r >= utf8.RuneSelf || !letter(byte(r)) && !digit(byte(r)) && r != '.' && r != '-'
	}) {
		return "", "", errGrammar
	}
	return "p=", binding, nil
}

// parseName undoes appendName. A name is never empty.
func parseName(s, key string) (string, error) {
	s, ok := strings.CutPrefix(s, key)
	if !ok || s == "" {
		return "", errGrammar
	}
	for rest := s; ; {
		i := strings.IndexByte(rest, '=')
		if i < 0 {
			break
		}
		if rest = rest[i+1:]; !strings.HasPrefix(rest, "2C") && !strings.HasPrefix(rest, "3D") {
			return "", errGrammar
		}
	}
	return nameUnescaper.Replace(s), nil
}

var (
	nameEscaper   = strings.NewReplacer("=", "=3D", ",", "=2C")
	nameUnescaper = strings.NewReplacer("=3D", "=", "=2C", ",")
)

// parseNonce takes printable characters; a comma cannot come, for fields are
// split there.
func parseNonce(s string) (string, error) {
	s, ok := strings.CutPrefix(s, "r=")
	if !ok || s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", errGrammar
	}
	return s, nil
}

func parse64(s, key string) ([]byte, error) {
	s, ok := strings.CutPrefix(s, key)
	if !ok {
		return nil, errGrammar
	}
	return decode64(s)
}

// parseIterations takes posit-number: no sign, no leading zero. A number with
// more digits than MaxIterations becomes one that is too large.
func parseIterations(s string) (int, error) {
	s, ok := strings.CutPrefix(s, "i=")
	if !ok || s == "" || s[0] == '0' {
		return 0, errGrammar
	}
	n := 0
	for i := range len(s) {
		if !digit(s[i]) {
			return 0, errGrammar
		}
		n = min(n*10+int(s[i]-'0'), MaxIterations+1)
	}
	return n, nil
}

// plainWord returns s if it may be shown: letters, digits, hyphens, not long.
func plainWord(s string) string {
	if len(s) == 0 || len(s) > 64 || strings.ContainsFunc(s, func(r rune) bool {
		return r >= utf8.RuneSelf || !letter(byte(r)) && !digit(byte(r)) && r != '-'
	}) {
		return "other-error"
	}
	return s
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func digit(c byte) bool  { return c >= '0' && c <= '9' }

func encode64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
