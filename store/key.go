package store

import (
	"fmt"
	"strings"
)

// maxSubject is the length that an escaped key may have. NATS takes protocol
// lines of 4,096 bytes, of which the names around the key need some.
const maxSubject = 3000

// Key joins tokens to the key of a table. What a token holds is escaped, so
// that Key("a/b", "c") and Key("a", "b/c") differ. A key of one plain token
// is the token itself.
func Key(tokens ...string) string {
	escaped := make([]string, len(tokens))
	for i, t := range tokens {
		escaped[i] = keyEscaper.Replace(t)
	}
	return strings.Join(escaped, "/")
}

// Tokens is the inverse of Key.
func Tokens(key string) []string {
	tokens := strings.Split(key, "/")
	for i, t := range tokens {
		tokens[i] = keyUnescaper.Replace(t)
	}
	return tokens
}

var (
	keyEscaper   = strings.NewReplacer("%", "%25", "/", "%2F")
	keyUnescaper = strings.NewReplacer("%25", "%", "%2F", "/")
)

// Any stands in the prefix of a reader for any one token. It is no token.
const Any = "\x00any"

// appendSubject adds tokens to a NATS subject, each with a dot before it. With
// wild, the token Any becomes a wildcard. The error is ErrTooLarge.
func appendSubject(dst []byte, tokens []string, wild bool) ([]byte, error) {
	start := len(dst)
	for _, t := range tokens {
		dst = append(dst, '.')
		if wild && t == Any {
			dst = append(dst, '*')
			continue
		}
		if dst = appendToken(dst, t); len(dst)-start > maxSubject {
			return nil, fmt.Errorf("key: %w", ErrTooLarge)
		}
	}
	return dst, nil
}

// appendToken escapes t so that it is one token of a NATS subject and of a KV
// key: letters, digits, "-", "_" and "/" stand for themselves, every other
// byte is "=" and two hexadecimal digits, the empty token is "=".
func appendToken(dst []byte, t string) []byte {
	const hex = "0123456789ABCDEF"
	if t == "" {
		return append(dst, '=')
	}
	for i := range len(t) {
		if c := t[i]; plain(c) {
			dst = append(dst, c)
		} else {
			dst = append(dst, '=', hex[c>>4], hex[c&15])
		}
	}
	return dst
}

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '/'
}

// parseSubject is the inverse of appendSubject, without wildcards.
func parseSubject(subject string) ([]string, error) {
	tokens := strings.Split(subject, ".")
	for i, t := range tokens {
		text, ok := parseToken(t)
		if !ok {
			return nil, fmt.Errorf("subject %q is not ours", subject)
		}
		tokens[i] = text
	}
	return tokens, nil
}

func parseToken(t string) (string, bool) {
	if t == "=" {
		return "", true
	}
	if !strings.Contains(t, "=") {
		return t, t != ""
	}
	text := make([]byte, 0, len(t))
	for i := 0; i < len(t); i++ {
		if t[i] != '=' {
			text = append(text, t[i])
			continue
		}
		if i+2 >= len(t) {
			return "", false
		}
		hi, lo := unhex(t[i+1]), unhex(t[i+2])
		if hi > 15 || lo > 15 {
			return "", false
		}
		text = append(text, hi<<4|lo)
		i += 2
	}
	return string(text), true
}

func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}
