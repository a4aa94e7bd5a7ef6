package event

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"time"

	"github.com/farreach/farreach/oic"
)

// A block is what a run of events of one resource says, in the form in which a
// plot needs it: a column for each of its numbers and truths. An event takes
// about 8 bytes there.
//
//	version (1 byte) · first, last − first · taken (8 bytes) · flags (1 byte: 1 partial, 2 own)
//	· n · sequences · times · own times, if flagged · columns · each: name · present · size · scale (1 byte) · values
//
// Numbers are varints if no size is given. The block stands for all events of
// its resource from sequence first up to and with last, which the store took at
// taken (ns since 1970, big endian). n of them have a value, and sequences are
// the distances between those. A time (ns since 1970) is given by how much more
// it differs from the one before than that did from its own: nothing, in a
// steady rhythm. Own times are those of Event.When, if they are not those of
// receipt. Present is how many of the n have a value of that name; if not all
// have, a bit for each follows. A value is
//
//	scale up to 9   a decimal: the integer v·10^scale, as difference from the one before
//	scale 255       a float64: the bits in which it differs from the one before, those of the exponent last
//
// Of a block that is partial nothing is known about names that it does not have.
const (
	blockVersion = 1

	flagPartial = 1
	flagOwn     = 2

	maxScale   = 9
	floatScale = 255
)

// The limits of a block. They bound what a reader allocates, and what is stored:
// 200 KB, which store.MaxValue exceeds.
const (
	blockEvents  = 1024
	maxColumns   = 16  // properties of a resource that blocks have
	maxNameLen   = 256 // bytes of the name of one
	maxBlockKeys = 64  // properties of one event, else the block has none
)

// point is what one event says of a property.
type point struct {
	seq        uint64
	time, when int64 // of receipt, and Event.When; ns since 1970
	number     float64
}

// block is a block as the reader of one property sees it.
type block struct {
	first, last uint64
	taken       time.Time // when the store took the last one
	whole       bool      // points has all that there is of the property
	points      []point   // oldest first
}

// parseBlock parses b for one property. The points go into room, which is to
// have some for blockEvents.
func parseBlock(b []byte, property string, room []point) (k block, err error) {
	c := cursor{b: b}
	if v := c.byte(); v != blockVersion {
		return k, fmt.Errorf("event: block of version %d", v)
	}
	k.first = c.uvarint()
	k.last = k.first + c.uvarint()
	k.taken = time.Unix(0, int64(c.uint64())).UTC()
	flags, n := c.byte(), c.uvarint()
	if c.bad || k.last < k.first || n > blockEvents || n > k.last-k.first+1 {
		return k, errBlock
	}
	all := slices.Grow(room[:0], int(n))[:n]
	c.entries(all, k.first, flags)
	if n > 0 && all[n-1].seq > k.last {
		return k, errBlock
	}
	k.points = all[:0]
	found, err := c.columns(property, all)
	if err != nil {
		return k, err
	}
	if found != nil {
		k.points = *found
	}
	k.whole = found != nil || flags&flagPartial == 0
	return k, nil
}

var errBlock = errors.New("event: broken block")

// entries reads the sequences and times.
func (c *cursor) entries(all []point, first uint64, flags byte) {
	at := first
	for i := range all {
		step := c.uvarint()
		if c.bad = c.bad || step == 0 && i > 0 || at+step < at; c.bad {
			return
		}
		at += step
		all[i].seq = at
	}
	times := steady{}
	for i := range all {
		all[i].time = times.next(c.varint())
		all[i].when = all[i].time
	}
	if flags&flagOwn == 0 {
		return
	}
	times = steady{}
	for i := range all {
		all[i].when = times.next(c.varint())
	}
}

// columns reads the values of a property and returns the points that have one;
// nil: it is not there. c must end behind the columns.
func (c *cursor) columns(property string, all []point) (found *[]point, err error) {
	columns := c.uvarint()
	if c.bad || columns > maxColumns {
		return nil, errBlock
	}
	for range columns {
		name := c.bytes(c.uvarint(), maxNameLen)
		present := c.uvarint()
		var mask []byte
		if present > uint64(len(all)) {
			return nil, errBlock
		} else if present < uint64(len(all)) {
			mask = c.bytes(uint64(len(all)+7)/8, blockEvents/8)
		}
		values := cursor{b: c.bytes(c.uvarint(), len(c.b))}
		if c.bad {
			return nil, errBlock
		}
		if found == nil && string(name) == property {
			points := choose(all, mask)
			if uint64(len(points)) != present || !values.numbers(points) {
				return nil, errBlock
			}
			found = &points
		}
	}
	if c.bad || len(c.b) > 0 {
		return nil, errBlock
	}
	return found, nil
}

// choose moves those that mask has together; nil has all.
func choose(all []point, mask []byte) []point {
	if mask == nil {
		return all
	}
	some := all[:0]
	for i, p := range all {
		if mask[i/8]>>(i%8)&1 != 0 {
			some = append(some, p)
		}
	}
	return some
}

// numbers reads the values of points, which is all that c has.
func (c *cursor) numbers(points []point) bool {
	scale := c.byte()
	if scale > maxScale && scale != floatScale {
		return false
	}
	if scale == floatScale {
		before := uint64(0)
		for i := range points {
			before ^= bits.ReverseBytes64(c.uvarint())
			points[i].number = math.Float64frombits(before)
		}
	} else {
		n, unit := int64(0), math.Pow10(int(scale))
		for i := range points {
			n += c.varint()
			points[i].number = float64(n) / unit
		}
	}
	return !c.bad && len(c.b) == 0
}

// steady turns times into how their distance changes, and back.
type steady struct{ at, step int64 }

func (s *steady) next(change int64) int64 {
	s.step += change
	s.at += s.step
	return s.at
}

func (s *steady) change(t int64) int64 {
	step := t - s.at
	change := step - s.step
	s.at, s.step = t, step
	return change
}

// cursor reads foreign bytes. What is not there is 0, and bad.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) byte() byte {
	b := c.bytes(1, 1)
	if b == nil {
		return 0
	}
	return b[0]
}

func (c *cursor) uint64() uint64 {
	b := c.bytes(8, 8)
	if b == nil {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.b)
	c.skip(n)
	return v
}

func (c *cursor) varint() int64 {
	v, n := binary.Varint(c.b)
	c.skip(n)
	return v
}

func (c *cursor) skip(n int) {
	if n <= 0 {
		c.bad, c.b = true, nil
		return
	}
	c.b = c.b[n:]
}

// bytes returns the next n, which may be most.
func (c *cursor) bytes(n uint64, most int) []byte {
	if c.bad || n > uint64(most) || n > uint64(len(c.b)) {
		c.bad, c.b = true, nil
		return nil
	}
	b := c.b[:n:n]
	c.b = c.b[n:]
	return b
}

// blockWriter makes a block of events, which come in their order. Nothing of
// them is kept but the numbers.
type blockWriter struct {
	first, last uint64
	taken       time.Time
	events      int
	partial     bool
	mixed       bool // an event has too many properties: none is kept of any

	points  []point // without their numbers
	columns []column
	names   [][]byte // of the event that is added
}

// column is the values of one property.
type column struct {
	name   string
	at     []int // their places among the points
	values []float64
}

// add adds an event that the store took at a time.
func (w *blockWriter) add(ev *Event, taken time.Time) {
	w.pass(ev.Seq, taken)
	if w.mixed {
		return
	}
	at, some := len(w.points), false
	w.names = w.names[:0]
	oic.Properties(ev.Format, ev.Body, func(name []byte, v oic.Scalar) bool {
		if len(w.names) == maxBlockKeys {
			w.mixed = true
			return false
		}
		if slices.ContainsFunc(w.names, func(n []byte) bool { return string(n) == string(name) }) {
			return true
		}
		w.names = append(w.names, name)
		if v.Kind == oic.Number || v.Kind == oic.Bool {
			some = w.put(at, name, v.Number) || some
		}
		return true
	})
	if some {
		w.points = append(w.points, point{seq: ev.Seq, time: ev.Time.UnixNano(), when: ev.When().UnixNano()})
	}
}

// pass notes an event that has no values.
func (w *blockWriter) pass(seq uint64, taken time.Time) {
	w.last, w.taken = seq, taken
	w.events++
}

func (w *blockWriter) put(at int, name []byte, number float64) bool {
	i := slices.IndexFunc(w.columns, func(c column) bool { return c.name == string(name) })
	if i < 0 && (len(w.columns) == maxColumns || len(name) > maxNameLen) {
		w.partial = true
		return false
	}
	if i < 0 {
		i = len(w.columns)
		w.columns = append(w.columns, column{name: string(name)})
	}
	c := &w.columns[i]
	c.at, c.values = append(c.at, at), append(c.values, number)
	return true
}

// append appends the block of the events that were added.
func (w *blockWriter) append(dst []byte) []byte {
	points, columns, flags := w.points, w.columns, byte(0)
	if w.mixed {
		points, columns = nil, nil
	}
	if w.partial || w.mixed {
		flags |= flagPartial
	}
	own := slices.ContainsFunc(points, func(p point) bool { return p.when != p.time })
	if own {
		flags |= flagOwn
	}
	dst = binary.AppendUvarint(append(dst, blockVersion), w.first)
	dst = binary.AppendUvarint(dst, w.last-w.first)
	dst = append(binary.BigEndian.AppendUint64(dst, uint64(w.taken.UnixNano())), flags)
	dst = binary.AppendUvarint(dst, uint64(len(points)))
	before := w.first
	for _, p := range points {
		dst = binary.AppendUvarint(dst, p.seq-before)
		before = p.seq
	}
	var times, whens steady
	for _, p := range points {
		dst = binary.AppendVarint(dst, times.change(p.time))
	}
	for _, p := range points {
		if own {
			dst = binary.AppendVarint(dst, whens.change(p.when))
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(columns)))
	for i := range columns {
		dst = columns[i].append(dst, len(points))
	}
	return dst
}

// append appends the column of a block with n points.
func (c *column) append(dst []byte, n int) []byte {
	dst = append(binary.AppendUvarint(dst, uint64(len(c.name))), c.name...)
	dst = binary.AppendUvarint(dst, uint64(len(c.at)))
	if len(c.at) < n {
		mask := make([]byte, (n+7)/8)
		for _, i := range c.at {
			mask[i/8] |= 1 << (i % 8)
		}
		dst = append(dst, mask...)
	}
	values := appendNumbers(nil, c.values)
	return append(binary.AppendUvarint(dst, uint64(len(values))), values...)
}

// appendNumbers appends the scale and the values.
func appendNumbers(dst []byte, values []float64) []byte {
	scale, unit := 0, 1.0
	for scale <= maxScale && slices.ContainsFunc(values, func(v float64) bool { return !decimal(v, unit) }) {
		scale++
		unit *= 10
	}
	if scale > maxScale {
		dst = append(dst, floatScale)
		before := uint64(0)
		for _, v := range values {
			b := math.Float64bits(v)
			dst = binary.AppendUvarint(dst, bits.ReverseBytes64(b^before))
			before = b
		}
		return dst
	}
	dst = append(dst, byte(scale))
	before := int64(0)
	for _, v := range values {
		n := int64(math.Round(v * unit))
		dst = binary.AppendVarint(dst, n-before)
		before = n
	}
	return dst
}

// decimal reports whether v is an integer of at most 52 bits divided by unit,
// to the last bit.
func decimal(v, unit float64) bool {
	n := math.Round(v * unit)
	return math.Abs(n) < 1<<52 && math.Float64bits(float64(int64(n))/unit) == math.Float64bits(v)
}
