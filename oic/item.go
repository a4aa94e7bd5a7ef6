package oic

import "math"

// Item is a value of a representation that has been checked and stays where it
// is: it is decoded as far as it is asked for. The zero Item is null.
//
//	body ── ParseItem, once ──▶ Item ── Member("power") ──▶ Item ── Value ──▶ int64
type Item struct{ b []byte } // one item of CBOR, which check has let pass; nil: null

// ParseItem checks a body in f, which must be OCF, CBOR or JSON, as Decode does,
// with the same errors. The Item aliases b if b is CBOR.
func ParseItem(f ContentFormat, b []byte) (Item, error) {
	switch {
	case f == JSON:
		b, err := FromJSON(CBOR, b)
		return Item{b}, err
	case !f.IsCBOR():
		return Item{}, unsupported(f)
	}
	if err := check(b); err != nil {
		return Item{}, err
	}
	return Item{b}, nil
}

// IsObject reports whether i is an object: whether it may have members.
func (i Item) IsObject() bool {
	s := scanner{b: i.b}
	return s.known().major == majorMap
}

// Member returns the member called name of an object.
func (i Item) Member(name string) (Item, bool) {
	s := scanner{b: i.b}
	h := s.known()
	if h.major != majorMap {
		return Item{}, false
	}
	for n := uint64(0); s.more(h, n); n++ {
		found := s.named(name)
		from := s.at
		if s.pass(); found {
			return Item{i.b[from:s.at]}, true
		}
	}
	return Item{}, false
}

// Value decodes i, with what it holds: to nil, which undefined is as well, bool,
// int64, float64, which an integer beyond 64 bits is as well, string, []byte,
// []any or map[string]any. It aliases nothing.
//
// A tree of maps can cost a hundred times the memory that the body has.
func (i Item) Value() any {
	if len(i.b) == 0 {
		return nil
	}
	s := scanner{b: i.b}
	return s.value()
}

// known is the head of an item that has been checked.
func (s *scanner) known() head {
	h, _ := s.head()
	return h
}

// more reports whether an array or map with this head goes on after n items.
func (s *scanner) more(h head, n uint64) bool {
	if h.indefinite() {
		return !s.ended()
	}
	return n < h.value
}

// named goes over a key and reports whether it is name.
func (s *scanner) named(name string) bool {
	h := s.known()
	if h.indefinite() {
		return string(s.joined(h)) == name
	}
	from := s.at
	s.at += int(h.value)
	return string(s.b[from:s.at]) == name
}

// joined returns the bytes of a string with this head, which alias the body if
// they are in one piece.
func (s *scanner) joined(h head) []byte {
	if !h.indefinite() {
		s.at += int(h.value)
		return s.b[s.at-int(h.value) : s.at]
	}
	var all []byte
	for !s.ended() {
		all = append(all, s.joined(s.known())...)
	}
	return all
}

// pass goes over an item that has been checked.
func (s *scanner) pass() {
	h := s.known()
	switch h.major {
	case majorBytes, majorText:
		if !h.indefinite() {
			s.at += int(h.value)
			return
		}
		for !s.ended() {
			s.pass()
		}
	case majorArray, majorMap:
		for n := uint64(0); s.more(h, n); n++ {
			if h.major == majorMap {
				s.pass()
			}
			s.pass()
		}
	}
}

// value decodes an item that has been checked.
func (s *scanner) value() any {
	switch h := s.known(); h.major {
	case majorUint, majorNegative:
		return h.integer()
	case majorBytes:
		return append([]byte{}, s.joined(h)...)
	case majorText:
		return string(s.joined(h))
	case majorArray:
		list := []any{}
		for n := uint64(0); s.more(h, n); n++ {
			list = append(list, s.value())
		}
		return list
	case majorMap:
		m := map[string]any{}
		for n := uint64(0); s.more(h, n); n++ {
			key := string(s.joined(s.known()))
			m[key] = s.value()
		}
		return m
	default:
		return h.simple()
	}
}

func (h head) integer() any {
	switch {
	case h.major == majorNegative && h.value > math.MaxInt64:
		return negative(h.value)
	case h.major == majorNegative:
		return -1 - int64(h.value)
	case h.value > math.MaxInt64:
		return float64(h.value)
	}
	return int64(h.value)
}

func (h head) simple() any {
	switch h.info {
	case simpleFalse, simpleTrue:
		return h.info == simpleTrue
	case info16, info32, info64:
		return h.float()
	}
	return nil
}
