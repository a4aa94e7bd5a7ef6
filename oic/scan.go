package oic

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"sync"
	"unicode/utf8"
)

// What one representation may hold. A length that a body declares is compared
// with these and with the bytes that are there, and never allocates by itself.
const (
	maxDepth = 32     // containers in containers
	maxItems = 16_384 // elements of arrays and members of maps, in all
	maxText  = 65_536 // bytes of one text or byte string
	maxTags  = 256    // no OIC device sends one
)

// The major types of RFC 8949, section 3.1.
const (
	majorUint = iota
	majorNegative
	majorBytes
	majorText
	majorArray
	majorMap
	majorTag
	majorSimple
)

// The simple values of RFC 8949, section 3.3, and the additional information
// of the floats and of indefinite lengths.
const (
	simpleFalse     = 20
	simpleTrue      = 21
	simpleNull      = 22
	simpleUndefined = 23
	info16          = 25
	info32          = 26
	info64          = 27
	infoIndefinite  = 31
	breakByte       = 0xff
)

// scanner walks CBOR without making anything of it. It refuses what no OIC
// device has reason to send; what check has let pass, the other walkers take
// without a further look.
type scanner struct {
	b     []byte
	at    int
	items int
	keys  []span // of the maps that are open, to find double ones
	side  []byte // keys that came in chunks
	tags  []span // found; they mean nothing here. nil: none is kept
}

// span is a part of scanner.b, or of scanner.side, which counts as behind it.
type span struct{ from, to uint32 }

// head is the start of a data item.
type head struct {
	major, info byte
	value       uint64 // argument; 0 if the length is indefinite
}

func (h head) indefinite() bool { return h.info == infoIndefinite }

// check reports whether b is one well-formed item within the limits: text is
// UTF-8, the keys of maps are text and differ from each other.
func check(b []byte) error {
	_, err := scan(b)
	return err
}

func scan(b []byte) (tags []span, err error) {
	if len(b) > math.MaxInt32 {
		return nil, Errorf(TooLarge, "CBOR of %d bytes", len(b))
	}
	s := scanners.Get().(*scanner)
	defer scanners.Put(s)
	*s = scanner{b: b, keys: s.keys[:0], tags: []span{}}
	err = s.item(0)
	if err == nil && s.at < len(b) {
		err = s.fail("%d bytes behind the end", len(b)-s.at)
	}
	tags, *s = s.tags, scanner{keys: s.keys}
	if cap(s.keys) > keptKeys {
		s.keys = nil
	}
	return tags, err
}

// scanners spare the heap: each has room for the keys of most representations.
var scanners = sync.Pool{New: func() any { return &scanner{keys: make([]span, 0, 24)} }}

const keptKeys = 256

func (s *scanner) fail(format string, args ...any) error {
	return Errorf(BadRequest, "CBOR, byte %d: "+format, append([]any{s.at}, args...)...)
}

func (s *scanner) short() error { return s.fail("ends too early") }

// head reads the start of an item, whatever stands before it as tags.
func (s *scanner) head() (head, error) {
	for {
		start := s.at
		h, err := s.rawHead()
		if err != nil || h.major != majorTag {
			return h, err
		}
		if h.indefinite() {
			return h, s.fail("tag without a number")
		}
		if s.tags == nil {
			continue
		}
		if len(s.tags) == maxTags {
			return h, s.fail("more than %d tags", maxTags)
		}
		s.tags = append(s.tags, span{uint32(start), uint32(s.at)})
	}
}

func (s *scanner) rawHead() (h head, err error) {
	if s.at >= len(s.b) {
		return h, s.short()
	}
	first := s.b[s.at]
	h.major, h.info = first>>5, first&31
	size := 0
	switch {
	case h.info < 24:
		h.value = uint64(h.info)
	case h.info <= info64:
		size = 1 << (h.info - 24)
	case h.info == infoIndefinite && h.major >= majorBytes && h.major <= majorMap:
	default:
		return h, s.fail("initial byte %#02x is reserved", first)
	}
	if len(s.b)-s.at < 1+size {
		return h, s.short()
	}
	arg := s.b[s.at+1 : s.at+1+size]
	switch size {
	case 1:
		h.value = uint64(arg[0])
	case 2:
		h.value = uint64(binary.BigEndian.Uint16(arg))
	case 4:
		h.value = uint64(binary.BigEndian.Uint32(arg))
	case 8:
		h.value = binary.BigEndian.Uint64(arg)
	}
	s.at += 1 + size
	return h, nil
}

// ended takes the break byte that ends an item of indefinite length.
func (s *scanner) ended() bool {
	if s.at < len(s.b) && s.b[s.at] == breakByte {
		s.at++
		return true
	}
	return false
}

// count takes note of one more element or member.
func (s *scanner) count() error {
	if s.items++; s.items > maxItems {
		return s.fail("more than %d items", maxItems)
	}
	return nil
}

func (s *scanner) item(depth int) error {
	h, err := s.head()
	if err != nil {
		return err
	}
	switch h.major {
	case majorBytes, majorText:
		return s.text(h, nil)
	case majorArray, majorMap:
		if depth == maxDepth {
			return s.fail("nested deeper than %d", maxDepth)
		}
		if h.major == majorArray {
			return s.array(h, depth+1)
		}
		return s.object(h, depth+1)
	case majorSimple:
		if h.info < simpleFalse || h.info == 24 {
			return s.fail("simple value %d has no meaning", h.value)
		}
	}
	return nil
}

func (s *scanner) array(h head, depth int) error {
	for n := uint64(0); h.indefinite() || n < h.value; n++ {
		if h.indefinite() && s.ended() {
			return nil
		}
		if err := s.count(); err != nil {
			return err
		}
		if err := s.item(depth); err != nil {
			return err
		}
	}
	return nil
}

func (s *scanner) object(h head, depth int) error {
	base, side := len(s.keys), len(s.side)
	for n := uint64(0); h.indefinite() || n < h.value; n++ {
		if h.indefinite() && s.ended() {
			break
		}
		if err := s.count(); err != nil {
			return err
		}
		if err := s.key(); err != nil {
			return err
		}
		if err := s.item(depth); err != nil {
			return err
		}
	}
	if err := s.distinct(s.keys[base:]); err != nil {
		return err
	}
	s.keys, s.side = s.keys[:base], s.side[:side]
	return nil
}

// key reads the key of a member and keeps it.
func (s *scanner) key() error {
	h, err := s.head()
	if err != nil {
		return err
	}
	if h.major != majorText {
		return s.fail("key of a map is not text")
	}
	if !h.indefinite() {
		if err := s.text(h, nil); err != nil {
			return err
		}
		s.keep(s.at-int(h.value), s.at)
		return nil
	}
	from := len(s.b) + len(s.side)
	if err := s.text(h, &s.side); err != nil {
		return err
	}
	s.keep(from, len(s.b)+len(s.side))
	return nil
}

func (s *scanner) keep(from, to int) {
	if len(s.keys) == cap(s.keys) {
		left := (len(s.b) - s.at + 1) / 2 // a further member takes two bytes at least
		s.keys = slices.Grow(s.keys, 1+min(len(s.keys), left))
	}
	s.keys = append(s.keys, span{uint32(from), uint32(to)})
}

func (s *scanner) slice(p span) []byte {
	if n := uint32(len(s.b)); p.from >= n {
		return s.side[p.from-n : p.to-n]
	}
	return s.b[p.from:p.to]
}

// few keys are compared each with each, more are sorted first.
const few = 8

// distinct refuses keys of which two are equal. It may sort them.
func (s *scanner) distinct(keys []span) error {
	if len(keys) <= few {
		for i, k := range keys {
			for _, other := range keys[:i] {
				if k.to-k.from == other.to-other.from && bytes.Equal(s.slice(k), s.slice(other)) {
					return s.twice(k)
				}
			}
		}
		return nil
	}
	slices.SortFunc(keys, func(a, b span) int { return bytes.Compare(s.slice(a), s.slice(b)) })
	for i := 1; i < len(keys); i++ {
		if bytes.Equal(s.slice(keys[i]), s.slice(keys[i-1])) {
			return s.twice(keys[i])
		}
	}
	return nil
}

func (s *scanner) twice(key span) error {
	return s.fail("key %.64q comes twice", string(s.slice(key))) // a copy, lest what s refers to goes to the heap
}

// text reads a string whose head is h: its bytes, or its chunks (RFC 8949,
// section 3.2.3). It appends what it read to keep, if that is given.
func (s *scanner) text(h head, keep *[]byte) error {
	if !h.indefinite() {
		return s.chunk(h, maxText, keep)
	}
	for left := uint64(maxText); ; {
		if s.ended() {
			return nil
		}
		c, err := s.rawHead()
		if err != nil {
			return err
		}
		if c.major != h.major || c.indefinite() {
			return s.fail("chunk of a string is not one")
		}
		if err := s.chunk(c, left, keep); err != nil {
			return err
		}
		left -= c.value
	}
}

func (s *scanner) chunk(h head, limit uint64, keep *[]byte) error {
	if h.value > limit {
		return s.fail("string over %d bytes", maxText)
	}
	if h.value > uint64(len(s.b)-s.at) {
		return s.short()
	}
	b := s.b[s.at : s.at+int(h.value)]
	if h.major == majorText && !utf8.Valid(b) {
		return s.fail("text is not UTF-8")
	}
	s.at += len(b)
	if keep != nil {
		*keep = append(*keep, b...)
	}
	return nil
}
