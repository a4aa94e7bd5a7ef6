package oic

import (
	"net/url"
	"strings"
)

// An href is URI text everywhere (RFC 7252, section 6.5), so that two hrefs of
// the same resource are equal: what would be mistaken for a delimiter inside a
// path segment or a query is percent-encoded.

// SplitHref cuts an href into its path and its query, without the "?".
func SplitHref(href string) (path, query string) {
	path, query, _ = strings.Cut(href, "?")
	return path, query
}

// Query calls each for every name=value of a query, percent-decoded. Pairs are
// parted by "&", and by ";" as IoTivity classic does; each pair may also come
// in an option of its own, which the binding joins with "&".
func Query(query string, each func(name, value string)) {
	for query != "" {
		i := strings.IndexAny(query, "&;")
		pair := query
		if i < 0 {
			query = ""
		} else {
			pair, query = query[:i], query[i+1:]
		}
		if pair != "" {
			name, value, _ := strings.Cut(pair, "=")
			each(unescape(name), unescape(value))
		}
	}
}

// unescape decodes s; what is no percent-encoding stands for itself.
func unescape(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		return plain
	}
	return s
}

// QueryValues returns all values of name in a query.
func QueryValues(query, name string) (values []string) {
	Query(query, func(n, v string) {
		if n == name {
			values = append(values, v)
		}
	})
	return values
}

// QueryValue returns the first value of name in a query, or "".
func QueryValue(query, name string) string {
	if v := QueryValues(query, name); len(v) > 0 {
		return v[0]
	}
	return ""
}
