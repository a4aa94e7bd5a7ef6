package jid

import (
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/secure/precis"
)

// maxRaw is how long a part may be before it is prepared, bytes. Preparing
// makes a character shorter by a factor of three at most: a full-width letter
// becomes an ASCII one.
const maxRaw = 3 * maxPart

// prepareLocal returns the local part in the form in which it is compared: the
// UsernameCaseMapped profile (RFC 8265, section 3.3) without eight characters
// (RFC 7622, section 3.3.1).
func prepareLocal(s string) (string, error) {
	if lower, ok := asciiLocal(s); ok {
		return checkLen("local", lower)
	}
	s, err := enforce("local", s, precis.UsernameCaseMapped)
	if err != nil {
		return "", err
	}
	if i := strings.IndexAny(s, excluded); i >= 0 {
		return "", &Error{"local", "has a character that may not be there: " + s[i:i+1]}
	}
	return s, nil
}

// excluded must not appear in a local part (RFC 7622, section 3.3.1).
const excluded = "\"&'/:<>@"

// asciiLocal prepares a local part that is all ASCII. It reports false if the
// profile must decide.
func asciiLocal(s string) (string, bool) {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(excluded, c) >= 0 {
			return "", false
		}
	}
	return strings.ToLower(s), true
}

// prepareResource returns the resource in the form in which it is compared:
// the OpaqueString profile (RFC 8265, section 4.2; RFC 7622, section 3.4).
func prepareResource(s string) (string, error) {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return enforce("resource", s, precis.OpaqueString)
		}
	}
	return checkLen("resource", s)
}

// enforce applies a profile until nothing changes any more, three more times at
// most (RFC 8264, section 7).
func enforce(part, s string, profile *precis.Profile) (string, error) {
	if len(s) > maxRaw {
		return "", tooLong(part)
	}
	if !utf8.ValidString(s) {
		return "", &Error{part, "is not UTF-8"}
	}
	for range 4 {
		next, err := profile.String(s)
		if err != nil {
			return "", &Error{part, strings.TrimPrefix(err.Error(), "precis: ")}
		}
		if next == s {
			return checkLen(part, s)
		}
		s = next
	}
	return "", &Error{part, "changes each time it is prepared"}
}

// prepareDomain returns the domain in the form in which it is compared (RFC
// 7622, section 3.2): lower case, internationalized labels in Unicode, without
// a dot at its end; or an IP address, version 6 in brackets.
func prepareDomain(s string) (string, error) {
	if strings.HasPrefix(s, "[") {
		return literal(s)
	}
	s = strings.TrimSuffix(s, ".")
	if s == "" {
		return "", &Error{"domain", "is empty"}
	}
	if len(s) > maxRaw {
		return "", tooLong("domain")
	}
	if asciiDomain(s) {
		return checkLen("domain", strings.ToLower(s))
	}
	domain, err := names.ToUnicode(s)
	if err == nil {
		err = fits(domain)
	}
	if err != nil {
		return "", &Error{"domain", strings.TrimPrefix(err.Error(), "idna: ")}
	}
	return checkLen("domain", domain)
}

// names checks and maps internationalized domain names (RFC 5891, with the
// mapping of UTS 46).
var names = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false))

// asciiDomain reports whether s is made of letter-digit-hyphen labels alone
// that are not reserved (RFC 5890, section 2.3.1), and is thus prepared by
// lower-casing it.
func asciiDomain(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if len(label) > 3 && label[2:4] == "--" {
			return false
		}
		for i := range len(label) {
			if c := label[i] | 0x20; (c < 'a' || c > 'z') && (label[i] < '0' || label[i] > '9') && label[i] != '-' {
				return false
			}
		}
	}
	return true
}

// fits checks that each label of domain has a place in the DNS, and that
// preparing it once more changes nothing.
func fits(domain string) error {
	again, err := names.ToUnicode(domain)
	if err != nil {
		return err
	}
	if again != domain {
		return &Error{"domain", "changes each time it is prepared"}
	}
	for label := range strings.SplitSeq(domain, ".") {
		ascii, err := idna.Punycode.ToASCII(label)
		switch {
		case err != nil:
			return err
		case ascii == "":
			return &Error{"domain", "has an empty label"}
		case len(ascii) > 63:
			return &Error{"domain", "has a label of more than 63 bytes"}
		}
	}
	return nil
}

// literal prepares an IPv6 address in brackets (RFC 3986, section 3.2.2) as RFC
// 5952 writes it.
func literal(s string) (string, error) {
	inside, ok := strings.CutSuffix(s[1:], "]")
	addr, err := netip.ParseAddr(inside)
	if !ok || err != nil || !addr.Is6() || addr.Zone() != "" {
		return "", &Error{"domain", "is no IPv6 address in brackets"}
	}
	return "[" + addr.String() + "]", nil
}

func checkLen(part, s string) (string, error) {
	if len(s) > maxPart {
		return "", tooLong(part)
	}
	return s, nil
}

func tooLong(part string) error { return &Error{part, "is longer than 1,023 bytes"} }
