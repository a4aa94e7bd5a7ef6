package event

import (
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/oic"
)

// said is an event of a test: a sequence, times of receipt and its own in
// seconds, a body in JSON.
type said struct {
	seq       uint64
	time, own int64
	body      string
}

func written(first uint64, events ...said) *blockWriter {
	w := blockWriter{first: first}
	for _, s := range events {
		ev := Event{Seq: s.seq, Time: time.Unix(s.time, 0), Format: oic.JSON, Body: []byte(s.body)}
		if s.own != 0 {
			ev.DeviceTime = time.Unix(s.own, 0)
		}
		w.add(&ev, time.Unix(s.time, 1))
	}
	return &w
}

// TestBlock: what a block is, byte for byte, and that each cut of it is none.
func TestBlock(t *testing.T) {
	w := written(7,
		said{9, 1000, 0, `{"t": 20.5, "units": "C"}`},
		said{10, 1001, 990, `{"on": true, "t": 20.7}`},
		said{12, 1002, 900, `{"units": "C"}`},
		said{13, 1003, 0, `{"t": "warm", "on": false}`},
		said{20, 1004, 1004, `{"t": 1e-300}`},
		said{21, 1005, 0, `no`},
	)
	wire := w.append(nil)
	want := strings.ReplaceAll(strings.Join([]string{
		"01 07 0e 000000e9feab0201 02 04",                   // version, first, last, taken, own times, entries
		"02 01 03 07",                                       // sequences 9, 10, 13, 20
		"80c0a8ca9a3a ff97d290933a 80a8d6b907 ffa7d6b907",   // times: 1000 s, 1 s after it, a second more than that, a second less
		"80c0a8ca9a3a ffcf878be53a 8098c1aeab01 ffdf8bb459", // own times, likewise
		"02", // columns
		"01 74 03 0b 17 ff c0e88004 8080cc99b3e6cc9933 c1a2f6e692feb2e06a", // t: of 3, numbers 0, 1 and 3, floats
		"02 6f6e 02 06 03 00 02 01",                                        // on: of 2, numbers 1 and 2, integers 1 and 0
	}, ""), " ", "")
	if got, err := parseBlock(wire, "t", nil); err != nil || got.first != 7 || got.last != 21 || !got.whole || !got.taken.Equal(time.Unix(1005, 1)) {
		t.Errorf("%x: %+v, %v", wire, got, err)
	}
	for property, want := range map[string][]point{
		"t":     {{9, 1000e9, 1000e9, 20.5}, {10, 1001e9, 990e9, 20.7}, {20, 1004e9, 1004e9, 1e-300}},
		"on":    {{10, 1001e9, 990e9, 1}, {13, 1003e9, 1003e9, 0}},
		"units": {}, "": {},
	} {
		if got, err := parseBlock(wire, property, nil); err != nil || !slices.Equal(got.points, want) {
			t.Errorf("%q: %v, %v, want %v", property, got.points, err, want)
		}
	}
	for cut := range len(wire) {
		if _, err := parseBlock(wire[:cut], "t", nil); err == nil {
			t.Errorf("%d bytes are a block", cut)
		}
	}
	if _, err := parseBlock(append(wire, 0), "t", nil); err == nil {
		t.Error("a block with a byte behind it")
	}
	if got := hex.EncodeToString(wire); got != want {
		t.Errorf("the block is\n%s, want\n%s", got, want)
	}
}

// TestBlockLimits: what is too much for a block is not hidden by it.
func TestBlockLimits(t *testing.T) {
	many := func(from, to int) string {
		var b strings.Builder
		for i := from; i < to; i++ {
			fmt.Fprintf(&b, `,"p%d":1`, i)
		}
		return `{"t":1` + b.String() + `}`
	}
	long := strings.Repeat("x", maxNameLen+1)
	for name, c := range map[string]struct {
		w     *blockWriter
		whole map[string]bool
	}{
		"as many as fit": {written(1, said{1, 1, 0, many(0, maxColumns-1)}), map[string]bool{"t": true, "p0": true, "else": true}},
		"one too many":   {written(1, said{1, 1, 0, many(0, maxColumns)}), map[string]bool{"t": true, "p0": true, "p15": false, "else": false}},
		"mixed":          {written(1, said{1, 1, 0, many(0, 3)}, said{2, 1, 0, many(0, maxBlockKeys)}), map[string]bool{"t": false, "p0": false, "else": false}},
		"a long name":    {written(1, said{1, 1, 0, `{"t":1,"` + long + `":2}`}), map[string]bool{"t": true, long: false, "else": false}},
		"nothing at all": {written(1, said{1, 1, 0, `[]`}), map[string]bool{"t": true}},
		"a name twice":   {written(1, said{1, 1, 0, `{"t":1}`}), map[string]bool{"t": true}},
	} {
		wire := c.w.append(nil)
		for property, whole := range c.whole {
			if b, err := parseBlock(wire, property, nil); err != nil || b.whole != whole {
				t.Errorf("%s: %.10q is whole: %v, %v; want %v", name, property, b.whole, err, whole)
			}
		}
	}
}

// TestBlockNumbers: each number comes back as it was, to the last bit.
func TestBlockNumbers(t *testing.T) {
	for _, list := range [][]float64{
		{0}, {1, 0, 1}, {20.1, 20.2, -3}, {1e15, -1e15}, {1 << 52, 1<<53 + 2}, {math.Copysign(0, -1), 1},
		{math.NaN(), math.Inf(1), math.Inf(-1)}, {math.MaxFloat64, math.SmallestNonzeroFloat64}, {1e-9, 5}, {1e-10}, {0.1 + 0.2},
		{float64(float32(21.3)), float64(float32(21.4))}, {math.Float64frombits(0x7ff8dead00000001)},
	} {
		wire := appendNumbers(nil, list)
		got := make([]point, len(list))
		c := cursor{b: wire}
		if !c.numbers(got) {
			t.Errorf("%v: %x is refused", list, wire)
		}
		for i, p := range got {
			if math.Float64bits(p.number) != math.Float64bits(list[i]) {
				t.Errorf("%v came back as %v", list[i], p.number)
			}
		}
	}
}

// FuzzParseBlock: foreign bytes are refused, or are a block within its limits
// that comes back when it is written again.
func FuzzParseBlock(f *testing.F) {
	f.Add(written(7, said{9, 1000, 0, `{"t": 20.5}`}, said{10, 1001, 900, `{"on": true, "t": 20.7}`}).append(nil), "t")
	f.Add(written(7, said{9, 1000, 0, `{"t": 1e-300}`}, said{10, 1001, 0, `{}`}).append(nil), "t")
	f.Add(written(1).append(nil), "")
	f.Fuzz(func(t *testing.T, b []byte, property string) {
		k, err := parseBlock(b, property, nil)
		if err != nil {
			return
		}
		if len(k.points) > blockEvents || cap(k.points) > 2*blockEvents || k.last < k.first {
			t.Fatalf("%d points, room for %d, from %d to %d", len(k.points), cap(k.points), k.first, k.last)
		}
		w := blockWriter{first: k.first, last: k.last, taken: k.taken}
		before := k.first
		for i, p := range k.points {
			if p.seq < before || i > 0 && p.seq == before || p.seq > k.last {
				t.Fatalf("sequence %d after %d of %d to %d", p.seq, before, k.first, k.last)
			}
			before = p.seq
			w.points = append(w.points, p)
			w.put(i, []byte(property[:min(len(property), maxNameLen)]), p.number)
		}
		again, err := parseBlock(w.append(nil), property[:min(len(property), maxNameLen)], nil)
		if err != nil || again.first != k.first || again.last != k.last || !again.taken.Equal(k.taken) || !slices.EqualFunc(again.points, k.points, alike) {
			t.Fatalf("%+v\ncame back as %+v, %v", k, again, err)
		}
	})
}

// alike is == for points that may have no number.
func alike(a, b point) bool {
	x, y := math.Float64bits(a.number), math.Float64bits(b.number)
	a.number, b.number = 0, 0
	return a == b && x == y
}
