package coap

import "strings"

// Path and query travel as one option for each segment and pair. As text, here
// and in hrefs, they are as in a URI: what would be mistaken for a delimiter is
// percent-encoded (RFC 7252, sections 6.4 and 6.5).

// Path is the Uri-Path options as the path of a URI: "/oic/res", "/" if there
// are none. It is ASCII; "/", "?" and "%" inside an option are percent-encoded.
func (os Options) Path() string {
	var buf [64]byte
	return string(os.AppendPath(buf[:0]))
}

// AppendPath appends Path to dst.
func (os Options) AppendPath(dst []byte) []byte { return os.appendPath(dst, URIPath) }

// Query is the Uri-Query options as the query of a URI, joined by "&", without
// the "?". A "&" inside an option stays as it is, because there are clients that
// put all their pairs into one option.
func (os Options) Query() string {
	var buf [64]byte
	return string(os.AppendQuery(buf[:0]))
}

// AppendQuery appends Query to dst.
func (os Options) AppendQuery(dst []byte) []byte { return os.appendQuery(dst, URIQuery, len(dst)) }

// Location is the Location-Path and Location-Query options as a relative URI,
// or "" if there are none (RFC 7252, section 5.10.7).
func (os Options) Location() string {
	if !os.Has(LocationPath) && !os.Has(LocationQuery) {
		return ""
	}
	dst := os.appendPath(nil, LocationPath)
	if os.Has(LocationQuery) {
		dst = append(dst, '?')
		dst = os.appendQuery(dst, LocationQuery, len(dst))
	}
	return string(dst)
}

// SetPath adds a path, "/oic/res" or "oic/res", as Uri-Path options. Adjacent
// and trailing slashes stand for empty segments; a "%" that begins no
// percent-encoding stands for itself.
func (m *Message) SetPath(path string) {
	path = strings.TrimPrefix(path, "/")
	for more := path != ""; more; {
		var segment string
		segment, path, more = strings.Cut(path, "/")
		m.addUnescaped(URIPath, segment)
	}
}

// SetQuery adds a query, "rt=a&if=b", as one Uri-Query option for each pair
// that is not empty.
func (m *Message) SetQuery(query string) {
	for query != "" {
		var pair string
		if pair, query, _ = strings.Cut(query, "&"); pair != "" {
			m.addUnescaped(URIQuery, pair)
		}
	}
}

func (os Options) appendPath(dst []byte, n Number) []byte {
	start := len(dst)
	for _, o := range os {
		if o.Number == n {
			dst = appendEscaped(append(dst, '/'), o.Value, inSegment)
		}
	}
	if len(dst) == start {
		dst = append(dst, '/')
	}
	return dst
}

// appendQuery appends a query that begins at dst[start].
func (os Options) appendQuery(dst []byte, n Number, start int) []byte {
	for _, o := range os {
		if o.Number == n && len(o.Value) > 0 {
			if len(dst) > start {
				dst = append(dst, '&')
			}
			dst = appendEscaped(dst, o.Value, inQuery)
		}
	}
	return dst
}

// addUnescaped is AddString for text that may hold percent-encodings.
func (m *Message) addUnescaped(n Number, s string) {
	at := len(m.scratch)
	for {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			break
		}
		m.scratch = append(m.scratch, s[:i]...)
		s = s[i:]
		c, ok := unescape(s)
		m.scratch = append(m.scratch, c)
		if s = s[1:]; ok {
			s = s[2:]
		}
	}
	m.scratch = append(m.scratch, s...)
	m.Add(n, m.scratch[at:len(m.scratch):len(m.scratch)])
}

// unescape is the byte that the percent-encoding at the start of s stands for,
// or the first byte of s if there is none.
func unescape(s string) (c byte, ok bool) {
	if len(s) < 3 || s[0] != '%' {
		return s[0], false
	}
	high, ok1 := hexDigit(s[1])
	low, ok2 := hexDigit(s[2])
	if !ok1 || !ok2 {
		return s[0], false
	}
	return high<<4 | low, true
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// appendEscaped appends s; what is not in plain is percent-encoded.
func appendEscaped(dst, s []byte, plain chars) []byte {
	const digits = "0123456789ABCDEF"
	for {
		i := 0
		for i < len(s) && plain.has(s[i]) {
			i++
		}
		dst = append(dst, s[:i]...)
		if i == len(s) {
			return dst
		}
		dst = append(dst, '%', digits[s[i]>>4], digits[s[i]&15])
		s = s[i+1:]
	}
}

// chars is a set of ASCII characters: bit c%64 of word c/64 stands for c.
type chars [2]uint64

func (set chars) has(c byte) bool { return c < 0x80 && set[c>>6&1]>>(c&63)&1 != 0 }

// The characters that need no percent-encoding.
var (
	unreserved = chars{ // RFC 3986, section 2.3: letters, digits, - . _ ~
		0x3ff<<'0' | 1<<'-' | 1<<'.',
		0x3ffffff<<('A'-64) | 0x3ffffff<<('a'-64) | 1<<('_'-64) | 1<<('~'-64),
	}
	inSegment = chars{ // RFC 3986, section 3.3: these and ! $ & ' ( ) * + , ; = : @
		unreserved[0] | 1<<'!' | 1<<'$' | 0x7f<<'&' | 1<<':' | 1<<';' | 1<<'=',
		unreserved[1] | 1<<('@'-64),
	}
	inQuery = chars{inSegment[0] | 1<<'/' | 1<<'?', inSegment[1]} // RFC 3986, section 3.4
)
