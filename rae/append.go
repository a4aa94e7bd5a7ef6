package rae

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/farreach/farreach/xmpp/stream"
)

// Append appends d as XML in its one form: no white space, url, headers and
// body in this order, and what needs it escaped. limit is how many bytes d may
// take; 0: 262,144.
//
// The error is a *SizeError if d is longer, or says what in d no document can
// hold: an empty body, a body in JSON that is not UTF-8, a URL or a header
// beyond the limits or with characters that are not printable ASCII (RA-080).
// Then dst is returned as it was.
func (d *Document) Append(dst []byte, limit int) ([]byte, error) {
	if limit <= 0 {
		limit = maxDocument
	}
	if err := d.check(); err != nil {
		return dst, err
	}
	if least := d.least(); least > limit {
		return dst, &SizeError{least, limit}
	}
	start := len(dst)
	dst = append(dst, `<rest xmlns="`+NS+`"><url method="`...)
	dst = stream.AppendEscaped(dst, d.Method)
	dst = append(dst, `">`...)
	dst = stream.AppendText(dst, d.URL)
	dst = append(dst, `</url>`...)
	dst = d.appendHeaders(dst)
	dst = d.appendBody(dst)
	dst = append(dst, `</rest>`...)
	if n := len(dst) - start; n > limit {
		return dst[:start], &SizeError{n, limit}
	}
	return dst, nil
}

// least is less than d takes, without looking at what must be escaped.
func (d *Document) least() int {
	n := len(d.Method) + len(d.URL)
	for _, h := range d.Headers {
		n += len(h.Name) + len(h.Value)
	}
	if d.Media == Binary {
		return n + base64.StdEncoding.EncodedLen(len(d.Body))
	}
	return n + len(d.Body)
}

func (d *Document) appendHeaders(dst []byte) []byte {
	if len(d.Headers) == 0 {
		return dst
	}
	dst = append(dst, `<headers>`...)
	for _, h := range d.Headers {
		dst = append(dst, `<header name="`...)
		dst = stream.AppendEscaped(dst, h.Name)
		dst = append(dst, `">`...)
		dst = stream.AppendText(dst, h.Value)
		dst = append(dst, `</header>`...)
	}
	return append(dst, `</headers>`...)
}

func (d *Document) appendBody(dst []byte) []byte {
	switch d.Media {
	case JSON:
		dst = append(dst, `<body><json xmlns="`+nsJSON+`">`...)
		dst = appendJSON(dst, d.Body)
		return append(dst, `</json></body>`...)
	case Binary:
		dst = append(dst, `<body><data xmlns="`+nsData+`">`...)
		dst = base64.StdEncoding.AppendEncode(dst, d.Body)
		return append(dst, `</data></body>`...)
	}
	return dst
}

// appendJSON appends b as text. The two characters that JSON takes as they are
// and XML cannot hold become escapes of JSON: they stand in its strings alone.
func appendJSON(dst, b []byte) []byte {
	const fffe, ffff = "\xef\xbf\xbe", "\xef\xbf\xbf"
	for {
		i := bytes.Index(b, []byte(fffe[:2]))
		for i >= 0 && i+2 < len(b) && b[i+2] != fffe[2] && b[i+2] != ffff[2] {
			next := bytes.Index(b[i+2:], []byte(fffe[:2]))
			if next < 0 {
				i = -1
				break
			}
			i += 2 + next
		}
		if i < 0 || i+2 >= len(b) {
			return stream.AppendText(dst, b)
		}
		dst = stream.AppendText(dst, b[:i])
		dst = fmt.Appendf(dst, `\uff%02x`, 0xfe+b[i+2]-fffe[2])
		b = b[i+3:]
	}
}

// check says what in d no document can hold.
func (d *Document) check() error {
	switch {
	case d.Method == "" || len(d.Method) > maxName || !printable(d.Method):
		return fmt.Errorf("rae: %.64q is no method (RA-081)", d.Method)
	case len(d.URL) == 0 || len(d.URL) > maxURL || !printable(d.URL):
		return fmt.Errorf("rae: a URL of %d bytes: 1 to %d of printable ASCII can be sent (RA-076)", len(d.URL), maxURL)
	case len(d.Headers) > maxHeaders:
		return fmt.Errorf("rae: %d headers, more than %d (RA-076)", len(d.Headers), maxHeaders)
	case (len(d.Body) == 0) != (d.Media == NoBody):
		return errors.New("rae: a body must not be empty (XEP-0335, section 3)")
	case d.Media == JSON && !utf8.Valid(d.Body):
		return errors.New("rae: a body in JSON that is not UTF-8 (RFC 8259, section 8.1)")
	}
	for _, h := range d.Headers {
		if len(h.Name) == 0 || len(h.Name) > maxName || len(h.Value) > maxValue || !printable(h.Name) || !printable(h.Value) {
			return fmt.Errorf("rae: header %.64q cannot be sent (RA-080)", h.Name)
		}
	}
	return nil
}

// printable reports whether s is printable ASCII without blanks around it.
func printable[T string | []byte](s T) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) == 0 || s[0] != ' ' && s[len(s)-1] != ' '
}
