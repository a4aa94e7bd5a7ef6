package oic

import "math"

// Scalar is a value of a representation that holds no others.
type Scalar struct {
	Kind   Kind
	Number float64 // of a Number; 1 for true, 0 for false
	Text   []byte  // of a String; aliases the body of CBOR
}

// Kind says what a Scalar is.
type Kind int

// The kinds.
const (
	Null   Kind = iota // null, or there is no such property
	Number             // an integer or a float
	Bool
	String
)

// Property returns the value of one property of a representation: of the member
// called name of the object that b is. It is of kind Null if there is none, if
// it is an object or an array, or if b cannot be read up to there. What comes
// behind is not looked at.
func Property(f ContentFormat, b []byte, name string) Scalar {
	s, h, ok := object(f, b)
	for n := uint64(0); ok && s.member(h, n); n++ {
		if string(s.slice(s.keys[0])) == name {
			return s.scalar()
		}
		if s.item(1) != nil {
			break
		}
	}
	return Scalar{}
}

// Properties calls each for the properties of a representation, in their order,
// with what Property returns for them, until it returns false. It ends where b
// cannot be read. A name may come again: Property means the first. name and
// Scalar.Text are not to be kept.
func Properties(f ContentFormat, b []byte, each func(name []byte, v Scalar) bool) {
	s, h, ok := object(f, b)
	for n := uint64(0); ok && s.member(h, n); n++ {
		value := s
		if !each(s.slice(s.keys[0]), value.scalar()) || s.item(1) != nil {
			return
		}
	}
}

// object opens the object that b is.
func object(f ContentFormat, b []byte) (s scanner, h head, ok bool) {
	if f == JSON {
		var err error
		if b, err = FromJSON(CBOR, b); err != nil {
			return s, h, false
		}
	} else if !f.IsCBOR() {
		return s, h, false
	}
	s = scanner{b: b}
	h, err := s.head()
	return s, h, err == nil && h.major == majorMap
}

// member reads the key of the member with this number, and reports whether
// there is one. Its value is next.
func (s *scanner) member(h head, number uint64) bool {
	if h.indefinite() && s.ended() || !h.indefinite() && number >= h.value {
		return false
	}
	s.keys = s.keys[:0]
	return s.count() == nil && s.key() == nil
}

// scalar reads an item. Text in chunks is put together.
func (s *scanner) scalar() Scalar {
	h, err := s.head()
	if err != nil {
		return Scalar{}
	}
	switch h.major {
	case majorUint:
		return Scalar{Kind: Number, Number: float64(h.value)}
	case majorNegative:
		return Scalar{Kind: Number, Number: negative(h.value)}
	case majorText:
		return s.textScalar(h)
	case majorSimple:
		return simpleScalar(h)
	}
	return Scalar{}
}

// negative is -1 - n, rounded once.
func negative(n uint64) float64 {
	if n == math.MaxUint64 {
		return -0x1p64
	}
	return -float64(n + 1)
}

func (s *scanner) textScalar(h head) Scalar {
	if !h.indefinite() {
		if s.text(h, nil) != nil {
			return Scalar{}
		}
		return Scalar{Kind: String, Text: s.b[s.at-int(h.value) : s.at]}
	}
	var text []byte
	if s.text(h, &text) != nil {
		return Scalar{}
	}
	return Scalar{Kind: String, Text: text}
}

// simpleScalar is a simple value or a float (RFC 8949, section 3.3).
func simpleScalar(h head) Scalar {
	switch h.info {
	case simpleFalse:
		return Scalar{Kind: Bool}
	case simpleTrue:
		return Scalar{Kind: Bool, Number: 1}
	case info16, info32, info64:
		return Scalar{Kind: Number, Number: h.float()}
	}
	return Scalar{}
}
