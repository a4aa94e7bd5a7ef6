package rae

import (
	"encoding/hex"
	"strings"

	"github.com/farreach/farreach/oic"
)

// authorize is the one place that says who may do what from afar (section 7 of
// the wire profile). What it does not allow is denied:
//
//  1. who: the own account, or a device of another that it is shared with; others
//     do not get here, except over a session on which they answer us
//  2. what nobody does from afar, whatever anybody allows: forbidden
//  3. Config.Allow; without it the own account may, and others may not
//
// It is asked for each request, and again for each notification. The error is a
// refusal.
func (e *Endpoint) authorize(peer Peer, c *Call) error {
	if !e.contacts.admit(peer.JID) {
		return errDenied
	}
	if forbidden(c, e.Name().Device()) {
		return errForbidden
	}
	if e.cfg.Allow != nil {
		return e.cfg.Allow(peer, c)
	}
	if !peer.Own {
		return errDenied
	}
	return nil
}

var (
	errDenied    = wordError{"acl", oic.Errorf(oic.Forbidden, "not allowed")}
	errForbidden = wordError{"acl", oic.Errorf(oic.Forbidden, "not by remote access, whoever asks")}
)

// forbidden reports whether c asks for what is not done from afar, here or on a
// device behind: what a device's security and owner rest on, maintenance, by
// which it is wiped, and the password of its account (threats rule 4). self is
// our own di.
func forbidden(c *Call, self string) bool {
	path, query := oic.SplitHref(c.Href)
	if Guarded(path) {
		return true
	}
	batch := false
	for _, view := range oic.QueryValues(query, "if") {
		batch = batch || strings.EqualFold(view, oic.IfBatch)
	}
	if batch && behind(c, self) && strings.EqualFold(path, "/oic/res") {
		return true // it would show all of the above
	}
	return c.Op != oic.Retrieve && guardedItems(c)
}

// Forbidden reports whether req is refused to everybody from afar, whatever device
// it is for: in a resource that is Guarded, or in a batch with one, or in all that
// a device has at once. It is for those who ask on behalf of others.
func Forbidden(req *oic.Request) bool {
	return forbidden(&Call{Request: *req, Device: "another"}, "")
}

func behind(c *Call, self string) bool { return c.Device != "" && c.Device != self }

// guardedItems reports whether the body is a batch (OCF core, oic.if.b) of which
// an item is for a guarded resource, or something like one that cannot be read.
func guardedItems(c *Call) bool {
	if len(c.Body) == 0 || c.Body[0]>>5 != 4 { // no array
		return false
	}
	var items []struct {
		Href string `json:"href"`
	}
	if err := oic.Decode(c.Format, c.Body, &items); err != nil {
		return true
	}
	for _, it := range items {
		if Guarded(it.Href) {
			return true
		}
	}
	return false
}

// Guarded reports whether a path, or the URL of one, is refused to everybody from
// afar: /oic/sec/*, /oic/mnt and /XMPPUserResURI, in any spelling that somebody on
// the way might understand so: of letters in another case, percent-encoded once or
// more often, with backslashes, empty segments, dots, blanks or parameters.
func Guarded(path string) bool {
	if isPlain(path) {
		first, rest, _ := strings.Cut(path[1:], "/")
		second, _, _ := strings.Cut(rest, "/")
		return guarded(first, second)
	}
	return guardedAnyhow(path)
}

// guardedAnyhow is Guarded for whatever there is.
func guardedAnyhow(path string) bool {
	path, ok := decoded(path)
	if !ok {
		return true
	}
	if _, rest, ok := strings.Cut(path, "://"); ok {
		_, path, _ = strings.Cut(rest, "/")
	}
	if i := strings.IndexAny(path, "?#"); i >= 0 {
		path = path[:i]
	}
	var first, second string
	for s := range strings.SplitSeq(strings.ReplaceAll(path, `\`, "/"), "/") {
		s, _, _ = strings.Cut(s, ";")
		switch s = strings.TrimFunc(s, blank); s {
		case "", ".":
		case "..":
			return true
		default:
			if first == "" {
				first = s
			} else if second == "" {
				second = s
			}
		}
	}
	return guarded(first, second)
}

// guarded is Guarded by the first two segments of a path.
func guarded(first, second string) bool {
	return strings.EqualFold(first, "oic") && (strings.EqualFold(second, "sec") || strings.EqualFold(second, "mnt")) ||
		strings.EqualFold(first, "XMPPUserResURI")
}

// blank reports whether somebody may not see r.
func blank(r rune) bool {
	return r <= ' ' || r >= 0x7f && r <= 0xa0 || r == 0xad || r >= 0x2000 && r <= 0x200f || r == 0xfeff
}

// maxEncoded is how many times a path may be percent-encoded.
const maxEncoded = 4

// decoded is path without percent-encoding; what is none stands for itself. ok is
// false if that has no end.
func decoded(path string) (plain string, ok bool) {
	for range maxEncoded {
		p := unescaped(path)
		if p == path {
			return path, true
		}
		path = p
	}
	return "", false
}

func unescaped(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
			v, _ := hex.DecodeString(s[i+1 : i+3])
			b = append(b, v...)
			i += 2
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}
