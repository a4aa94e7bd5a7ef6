package coap

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Number says which option an Option is (RFC 7252, section 5.10). Odd numbers
// are critical: who does not know one must refuse the message.
type Number uint16

// The options of RFC 7252, RFC 7641, RFC 7959, RFC 9175 and OCF core.
const (
	IfMatch       Number = 1
	URIHost       Number = 3
	ETag          Number = 4
	IfNoneMatch   Number = 5
	Observe       Number = 6
	URIPort       Number = 7
	LocationPath  Number = 8
	URIPath       Number = 11
	ContentFormat Number = 12
	MaxAge        Number = 14
	URIQuery      Number = 15
	Accept        Number = 17
	LocationQuery Number = 20
	Block2        Number = 23
	Block1        Number = 27
	Size2         Number = 28
	ProxyURI      Number = 35
	ProxyScheme   Number = 39
	Size1         Number = 60
	Echo          Number = 252
	RequestTag    Number = 292

	OCFAcceptVersion        Number = 2049 // the version of Accept
	OCFContentFormatVersion Number = 2053 // the version of Content-Format
)

// The options of signals (RFC 8323, section 5). A number means something only
// together with the code that it stands in.
const (
	CSMMaxMessageSize         Number = 2
	CSMBlockWiseTransfer      Number = 4
	PingCustody               Number = 2 // in Pong too
	ReleaseAlternativeAddress Number = 2
	ReleaseHoldOff            Number = 4 // seconds
	AbortBadCSMOption         Number = 2
)

// Critical reports whether n must be understood (RFC 7252, section 5.4.1).
func (n Number) Critical() bool { return n&1 != 0 }

// Option is one option of a message.
type Option struct {
	Number Number
	Value  []byte
}

// Uint is the value as an unsigned integer (RFC 7252, section 3.2). It reports
// false if the value is longer than max bytes, at most 4.
func (o Option) Uint(max int) (uint32, bool) {
	if len(o.Value) > min(max, 4) {
		return 0, false
	}
	var n uint32
	for _, b := range o.Value {
		n = n<<8 | uint32(b)
	}
	return n, true
}

// Options are the options of one message, in ascending order of their numbers.
type Options []Option

// Get returns the first option with number n.
func (os Options) Get(n Number) (Option, bool) {
	for _, o := range os {
		if o.Number >= n {
			return o, o.Number == n
		}
	}
	return Option{}, false
}

// Has reports whether there is an option with number n.
func (os Options) Has(n Number) bool {
	_, ok := os.Get(n)
	return ok
}

// Uint returns the first option with number n as an unsigned integer. It
// reports false if there is none, or one longer than 4 bytes.
func (os Options) Uint(n Number) (uint32, bool) {
	o, ok := os.Get(n)
	if !ok {
		return 0, false
	}
	return o.Uint(4)
}

// Path is the Uri-Path options joined and led by slashes: "/oic/res"; "/" if
// there are none.
func (os Options) Path() string { return os.path(URIPath) }

// Location is the path of the Location-Path options, or "" without any.
func (os Options) Location() string {
	if !os.Has(LocationPath) {
		return ""
	}
	return os.path(LocationPath)
}

func (os Options) path(n Number) string {
	var b strings.Builder
	for _, o := range os {
		if o.Number == n {
			b.WriteByte('/')
			b.Write(o.Value)
		}
	}
	if b.Len() == 0 {
		return "/"
	}
	return b.String()
}

// Query is the Uri-Query options joined by "&", or "".
func (os Options) Query() string {
	var b strings.Builder
	for _, o := range os {
		if o.Number == URIQuery {
			if b.Len() > 0 {
				b.WriteByte('&')
			}
			b.Write(o.Value)
		}
	}
	return b.String()
}

// Add adds an option behind those with the same or a smaller number. It keeps
// value, and does not copy it.
func (m *Message) Add(n Number, value []byte) {
	i := len(m.Options)
	for i > 0 && m.Options[i-1].Number > n {
		i--
	}
	m.Options = slices.Insert(m.Options, i, Option{Number: n, Value: value})
}

// AddString is Add for text.
func (m *Message) AddString(n Number, value string) {
	at := len(m.scratch)
	m.scratch = append(m.scratch, value...)
	m.Add(n, m.scratch[at:len(m.scratch):len(m.scratch)])
}

// AddUint is Add for an unsigned integer, in as few bytes as it needs: none
// for 0 (RFC 7252, section 3.2).
func (m *Message) AddUint(n Number, value uint32) {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], value)
	skip := 0
	for skip < 4 && b[skip] == 0 {
		skip++
	}
	at := len(m.scratch)
	m.scratch = append(m.scratch, b[skip:]...)
	m.Add(n, m.scratch[at:len(m.scratch):len(m.scratch)])
}

// SetPath adds path, "/oic/res" or "oic/res", as Uri-Path options.
func (m *Message) SetPath(path string) {
	for path = strings.TrimPrefix(path, "/"); path != ""; {
		segment, rest, _ := strings.Cut(path, "/")
		m.AddString(URIPath, segment)
		path = rest
	}
}

// SetQuery adds query, "rt=a&if=b", as one Uri-Query option for each pair.
func (m *Message) SetQuery(query string) {
	for query != "" {
		pair, rest, _ := strings.Cut(query, "&")
		if pair != "" {
			m.AddString(URIQuery, pair)
		}
		query = rest
	}
}

// Bounds of a message's options. They are ours: RFC 7252 has none but the
// lengths of section 5.10.
const (
	MaxOptions     = 64
	MaxOptionValue = 1034 // Proxy-Uri, the longest of RFC 7252, section 5.10
)

const (
	specOption = "RFC 7252, section 3.1"
	specMarker = "RFC 7252, section 3"
)

// parseOptions reads options, marker and payload, the whole of b, into m. base
// is the offset of b in the message, for errors.
func (m *Message) parseOptions(b []byte, base int) error {
	number, refused := 0, error(nil)
	for i := 0; i < len(b); {
		if b[i] == 0xff {
			if i+1 == len(b) {
				return &FormatError{Off: base + i, Why: "payload marker without a payload", Spec: specMarker}
			}
			m.Payload = b[i+1:]
			return refused
		}
		start := i
		delta, next, err := extended(b, i+1, b[i]>>4, "delta")
		if err != nil {
			err.Off += base
			return err
		}
		length, next, err := extended(b, next, b[i]&15, "length")
		if err != nil {
			err.Off += base
			return err
		}
		if length > len(b)-next {
			return &FormatError{Off: base + start, Spec: specOption,
				Why: fmt.Sprintf("option value of %d bytes runs past the end", length)}
		}
		number += delta
		i = next + length
		switch {
		case refused != nil: // only the extent of the message is still of interest
		case number > 0xffff:
			refused = &FormatError{Off: base + start, Why: "option number over 65535", Spec: specOption, Answer: BadOption}
		case length > MaxOptionValue:
			refused = &FormatError{Off: base + start, Spec: "RFC 7252, section 5.10", Answer: BadOption,
				Why: fmt.Sprintf("option value of %d bytes, at most %d are taken", length, MaxOptionValue)}
		case len(m.Options) == MaxOptions:
			refused = &FormatError{Off: base + start, Spec: "RFC 7252, section 5.4", Answer: BadOption,
				Why: fmt.Sprintf("more than %d options", MaxOptions)}
		default:
			m.Options = append(m.Options, Option{Number: Number(number), Value: b[next:i:i]})
		}
	}
	return refused
}

// extended reads the extended form of an option's delta or length whose nibble
// is given; the extension, if any, is at b[at]. It returns where it ends.
func extended(b []byte, at int, nibble byte, what string) (value, next int, err *FormatError) {
	switch {
	case nibble < 13:
		return int(nibble), at, nil
	case nibble == 13 && at < len(b):
		return int(b[at]) + 13, at + 1, nil
	case nibble == 14 && at+1 < len(b):
		return int(binary.BigEndian.Uint16(b[at:])) + 269, at + 2, nil
	case nibble == 15:
		return 0, 0, &FormatError{Off: at - 1, Why: "option " + what + " 15 is reserved", Spec: specOption}
	}
	return 0, 0, &FormatError{Off: at, Why: "option " + what + " runs past the end", Spec: specOption}
}

// appendOptions appends the options of m, and marker and payload if it has one.
func (m *Message) appendOptions(dst []byte) ([]byte, error) {
	last := Number(0)
	for _, o := range m.Options {
		if o.Number < last {
			return dst, fmt.Errorf("coap: option %d behind option %d", o.Number, last)
		}
		if len(o.Value) > 0xffff+269 {
			return dst, fmt.Errorf("coap: option %d has %d bytes, more than its length field holds", o.Number, len(o.Value))
		}
		delta, length := int(o.Number-last), len(o.Value)
		dst = append(dst, nibble(delta)<<4|nibble(length))
		dst = appendExtension(dst, delta)
		dst = appendExtension(dst, length)
		dst = append(dst, o.Value...)
		last = o.Number
	}
	if len(m.Payload) > 0 {
		dst = append(dst, 0xff)
		dst = append(dst, m.Payload...)
	}
	return dst, nil
}

func nibble(n int) byte {
	switch {
	case n < 13:
		return byte(n)
	case n < 269:
		return 13
	}
	return 14
}

func appendExtension(dst []byte, n int) []byte {
	switch {
	case n < 13:
		return dst
	case n < 269:
		return append(dst, byte(n-13))
	}
	return binary.BigEndian.AppendUint16(dst, uint16(n-269))
}

// optionsLen is how many bytes appendOptions will append.
func (m *Message) optionsLen() int {
	n, last := 0, Number(0)
	for _, o := range m.Options {
		n += 1 + extensionLen(int(o.Number-last)) + extensionLen(len(o.Value)) + len(o.Value)
		last = o.Number
	}
	if len(m.Payload) > 0 {
		n += 1 + len(m.Payload)
	}
	return n
}

func extensionLen(n int) int {
	switch {
	case n < 13:
		return 0
	case n < 269:
		return 1
	}
	return 2
}
