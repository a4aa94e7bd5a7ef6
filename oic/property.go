package oic

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
	if f == JSON {
		var err error
		if b, err = FromJSON(CBOR, b); err != nil {
			return Scalar{}
		}
	} else if !f.IsCBOR() {
		return Scalar{}
	}
	s := scanner{b: b}
	h, err := s.head()
	if err != nil || h.major != majorMap {
		return Scalar{}
	}
	for n := uint64(0); h.indefinite() || n < h.value; n++ {
		if h.indefinite() && s.ended() {
			break
		}
		s.keys = s.keys[:0]
		if s.count() != nil || s.key() != nil {
			break
		}
		if string(s.slice(s.keys[0])) == name {
			return s.scalar()
		}
		if s.item(1) != nil {
			break
		}
	}
	return Scalar{}
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
		return Scalar{Kind: Number, Number: -1 - float64(h.value)}
	case majorText:
		return s.textScalar(h)
	case majorSimple:
		return simpleScalar(h)
	}
	return Scalar{}
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
