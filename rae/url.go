package rae

import (
	"strings"
	"unicode/utf8"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
)

// The schemes that a URL may have. None selects a transport.
var schemes = [...]string{"coap", "coaps", "coap+tcp", "coaps+tcp", "oic", "ocf", "http", "https"}

// formURL is the URL of href on device, whose di is known or "" (D6).
func formURL(device, href string) string {
	if device == "" {
		return href
	}
	return "coap://" + strings.ToLower(device) + href
}

// parseURL takes a URL apart. device is the authority in lower case if it
// is a UUID, and "" for any other, which stands for whoever was asked. href is
// as in an oic.Request: two that mean the same are equal.
func parseURL(s string) (device, href string, err error) {
	if !strings.HasPrefix(s, "/") {
		scheme, rest, ok := strings.Cut(s, "://")
		if !ok || !isScheme(scheme) {
			return "", "", oic.Errorf(oic.BadRequest, "URL without a scheme that is known")
		}
		authority := rest
		if i := strings.IndexAny(rest, "/?#"); i >= 0 {
			authority, s = rest[:i], rest[i:]
		} else {
			s = ""
		}
		authority = authority[strings.LastIndexByte(authority, '@')+1:]
		host, _, _ := strings.Cut(authority, ":")
		device, _ = uuid(host)
	}
	href, err = canonical(s)
	return device, href, err
}

func isScheme(s string) bool {
	for _, scheme := range schemes {
		if strings.EqualFold(s, scheme) {
			return true
		}
	}
	return false
}

// canonical writes path and query as hrefs are written, and refuses what
// someone on the way could take for another path.
func canonical(s string) (string, error) {
	if isPlain(s) {
		return s, nil
	}
	return respelled(s)
}

// respelled is canonical for whatever there is.
func respelled(s string) (string, error) {
	if strings.Contains(s, "#") {
		return "", oic.Errorf(oic.BadRequest, "URL with a fragment")
	}
	path, query := oic.SplitHref(s)
	var m coap.Message
	if path != "/" {
		m.SetPath(path)
	}
	for _, o := range m.Options {
		v := string(o.Value)
		if v == "" || v == "." || v == ".." || !utf8.ValidString(v) || !clean(o.Value) {
			return "", oic.Errorf(oic.BadRequest, "path with a segment that is empty, a dot or no text")
		}
	}
	m.SetQuery(query)
	b := m.Options.AppendPath(nil)
	if n := len(b); m.Options.Has(coap.URIQuery) {
		b = m.Options.AppendQuery(append(b, '?'))
		if len(b) == n+1 {
			b = b[:n]
		}
	}
	return string(b), nil
}

// isPlain reports whether there is no other way to write a path, as with most: it
// has segments of letters, digits, dashes and underscores, with a dot not at the
// beginning.
func isPlain(path string) bool {
	before := byte(0)
	for i := range len(path) {
		c := path[i]
		switch {
		case isLetter(c), isDigit(c), c == '-', c == '_':
		case c == '.' && before != '/':
		case c == '/' && before != '/':
		default:
			return false
		}
		before = c
	}
	return len(path) > 1 && path[0] == '/' && before != '/'
}
