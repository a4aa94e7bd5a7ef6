package account

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"

	"github.com/farreach/farreach/oic"
)

// maxName is the longest name of an account, in bytes.
const maxName = 64

// Name returns the one form of an account's name: lower case, normalised as
// the username profile of RFC 8265, section 3.3 says.
//
// It consists of letters, digits, "-" and "_", and begins with a letter or a
// digit, so that it means the same wherever it is put: in an address, a path,
// a topic or a file. Any other name is refused with 4.00.
func Name(name string) (string, error) {
	if len(name) > maxName {
		return "", badName
	}
	n, err := precis.UsernameCaseMapped.String(name)
	if err != nil || n == "" || len(n) > maxName || strings.ContainsFunc(n, func(r rune) bool { return !nameRune(r) }) {
		return "", badName
	}
	if first, _ := utf8.DecodeRuneInString(n); first == '-' || first == '_' || unicode.IsMark(first) {
		return "", badName
	}
	return n, nil
}

var badName = oic.Errorf(oic.BadRequest,
	"the name of an account is 1 to %d letters, digits, - and _, beginning with a letter or a digit", maxName)

func nameRune(r rune) bool {
	return r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)
}
