package coap

import (
	"encoding/binary"
	"slices"
)

// Number says which option an Option is (RFC 7252, section 5.10). Odd numbers
// are critical: who does not know one must refuse the message.
type Number uint16

// The options of RFC 7252, RFC 7641, RFC 7959, RFC 9175 and OCF core. The two
// of OCF are odd, hence critical.
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

	OCFAcceptVersion        Number = 2049 // the version of Accept: 2048 is OCF 1.0, 2112 OIC 1.1
	OCFContentFormatVersion Number = 2053 // the same of Content-Format
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

// Unacceptable returns the first option for which a request must be refused
// with 4.02, or a response dropped (RFC 7252, section 5.4): a critical one that
// is not understood, that comes again though it may not, or whose length is not
// allowed. It is not for signals, which number their options anew.
func (os Options) Unacceptable(understood func(Number) bool) (n Number, bad bool) {
	for i, o := range os {
		if !o.Number.Critical() {
			continue
		}
		least, most, repeatable := form(o.Number)
		again := i > 0 && os[i-1].Number == o.Number
		if again && !repeatable || len(o.Value) < least || len(o.Value) > most || !understood(o.Number) {
			return o.Number, true
		}
	}
	return 0, false
}

// form is what a critical option may look like: the bytes of its value, and
// whether it may come more than once (RFC 7252, section 5.10; RFC 7959,
// section 2.1; OCF core).
func form(n Number) (least, most int, repeatable bool) {
	switch n {
	case IfMatch:
		return 0, 8, true
	case IfNoneMatch:
		return 0, 0, false
	case URIHost, ProxyScheme:
		return 1, 255, false
	case URIPath, URIQuery:
		return 0, 255, true
	case URIPort, Accept, OCFAcceptVersion, OCFContentFormatVersion:
		return 0, 2, false
	case Block1, Block2:
		return 0, 3, false
	case ProxyURI:
		return 1, 1034, false
	}
	return 0, MaxOptionValue, true // who understands it knows its form
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
