package oic_test

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/farreach/farreach/oic"
)

type lamp struct {
	Value   bool     `json:"value"`
	Dimming *int     `json:"dimming,omitempty"`
	Level   float64  `json:"level,omitempty"`
	Tags    []string `json:"tags,omitempty"`
}

func TestDecode(t *testing.T) {
	fifty := 50
	for _, c := range []struct {
		name, hex string
		want      lamp
	}{
		{"definite", "a1 65 76616c7565 f5", lamp{Value: true}},
		{"indefinite, as iotivity-lite writes (rule 9)", "bf 65 76616c7565 f5 67 64696d6d696e67 1832 ff", lamp{Value: true, Dimming: &fifty}},
		{"chunked text", "bf 7f 63 76616c 62 7565 ff f5 ff", lamp{Value: true}},
		{"indefinite array", "a1 64 74616773 9f 61 61 61 62 ff", lamp{Tags: []string{"a", "b"}}},
		{"integer for a float", "a1 65 6c6576656c 15", lamp{Level: 21}},
		{"tags dropped", "c1 a1 d81b 65 76616c7565 c0 f5", lamp{Value: true}},
		{"unknown member", "a2 61 78 a1 61 79 01 65 76616c7565 f5", lamp{Value: true}},
		{"null", "a1 65 76616c7565 f6", lamp{}},
		{"case matters", "a1 65 56616c7565 f5", lamp{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got lamp
			if err := oic.Decode(oic.OCF, unhex(t, c.hex), &got); err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("Decode = %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

// Threats row 42 and the limits for one body.
func TestDecodeRefuses(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("81", n) + "01" }
	for _, c := range []struct{ name, hex, diag string }{
		{"nothing", "", "ends too early"},
		{"cut", "a1 65 7661", "ends too early"},
		{"2^32 elements declared", "9a ffffffff 01", "ends too early"},
		{"2^63 bytes declared", "5b 7fffffffffffffff 01", "string over"},
		{"2^64-1 members declared", "bb ffffffffffffffff", "ends too early"},
		{"depth 100,000", deep(100_000), "nested deeper"},
		{"depth 33", deep(33), "nested deeper"},
		{"indefinite in indefinite", strings.Repeat("9f", 100_000), "nested deeper"},
		{"chunk in chunk", "7f 7f 61 61 ff ff", "chunk"},
		{"chunk of another type", "7f 41 61 ff", "chunk"},
		{"invalid UTF-8", "61 ff", "UTF-8"},
		{"rune cut by a chunk", "7f 61 c3 61 a9 ff", "UTF-8"},
		{"text of 65,537 bytes", "7a 00010001" + strings.Repeat("61", 65_537), "string over"},
		{"chunks of 65,537 bytes", "7f 7a 00010000" + strings.Repeat("61", 65_536) + "61 61 ff", "string over"},
		{"16,385 items", "99 4001" + strings.Repeat("01", 16_385), "more than 16384 items"},
		{"double key", "a2 61 61 01 61 61 02", "twice"},
		{"double key, one in chunks", "a2 61 61 01 7f 61 61 ff 02", "twice"},
		{"double key in what nobody reads", "a1 61 78 a2 61 61 01 61 61 02", "twice"},
		{"key that is no text", "a1 01 02", "not text"},
		{"bytes behind the end", "01 02", "behind the end"},
		{"break alone", "ff", "reserved"},
		{"reserved length", "1c", "reserved"},
		{"simple value 16", "f0", "no meaning"},
		{"simple value 255", "f8 ff", "no meaning"},
		{"map with a break after a key", "bf 61 61 ff", "reserved"},
		{"300 tags", strings.Repeat("c1", 300) + "01", "tags"},
		{"wrong type", "a1 65 76616c7565 01", "value cannot be an integer"},
		{"not a map", "01", "cannot be an integer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var v lamp
			err := oic.Decode(oic.OCF, unhex(t, c.hex), &v)
			e, ok := errors.AsType[*oic.StatusError](err)
			if !ok || e.Status != oic.BadRequest || !strings.Contains(e.Diag, c.diag) {
				t.Errorf("err = %v, want 4.00 with %q", err, c.diag)
			}
		})
	}
	for _, f := range []oic.ContentFormat{oic.NoFormat, oic.Text, 40} {
		if err := oic.Decode(f, []byte{0xa0}, &lamp{}); status(err) != oic.BadFormat {
			t.Errorf("Decode of %v: %v", f, err)
		}
		if _, err := oic.Encode(f, lamp{}); status(err) != oic.BadFormat {
			t.Errorf("Encode of %v: %v", f, err)
		}
	}
}

func status(err error) oic.Status {
	if e, ok := errors.AsType[*oic.StatusError](err); ok {
		return e.Status
	}
	return 0
}

// The limits themselves are allowed.
func TestDecodeAtTheLimits(t *testing.T) {
	for name, hex := range map[string]string{
		"depth 32":          strings.Repeat("81", 32) + "01",
		"16,384 items":      "99 4000" + strings.Repeat("01", 16_384),
		"text of 65,536":    "7a 00010000" + strings.Repeat("61", 65_536),
		"integer of 64 bit": "3b 7fffffffffffffff",
	} {
		var v any
		if err := oic.Decode(oic.OCF, unhex(t, hex), &v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEncode(t *testing.T) {
	fifty := 50
	b, err := oic.Encode(oic.OCF, lamp{Value: true, Dimming: &fifty, Level: 0.5})
	if want := unhex(t, "a3 65 76616c7565 f5 67 64696d6d696e67 1832 65 6c6576656c fb3fe0000000000000"); err != nil || !bytes.Equal(b, want) {
		t.Errorf("Encode = %x, %v; want %x", b, err, want)
	}
	b, err = oic.Encode(oic.JSON, lamp{Value: true, Level: 42, Tags: []string{}})
	if want := `{"value":true,"level":42.0}`; err != nil || string(b) != want {
		t.Errorf("Encode = %s, %v; want %s", b, err, want)
	}
	if _, err := oic.Encode(oic.OCF, make(chan int)); err == nil {
		t.Error("a channel was encoded")
	}
}

// allocated is how many bytes f takes from the heap.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// FuzzDecode: no panic, memory in proportion to the input, and what is taken
// is encoded to something that means the same.
func FuzzDecode(f *testing.F) {
	for _, hex := range []string{"a1 65 76616c7565 f5", "bf 65 76616c7565 f5 67 64696d6d696e67 1832 ff", "a2 61 61 01 61 61 02", "c1 a1 d81b 65 76616c7565 c0 f5",
		"9a ffffffff 01", "7f 61 c3 61 a9 ff", "a1 65 6c6576656c f9 3c00", "a1 64 74616773 9f 61 61 61 62 ff"} {
		f.Add(unhex(f, hex))
	}
	for _, wire := range vectors(f, "links.txt") {
		f.Add(wire)
	}
	_ = oic.Decode(oic.OCF, []byte{0xa0}, new(lamp)) // what package cbor learns of a type is kept
	f.Fuzz(func(t *testing.T, b []byte) {
		var v lamp
		var err error
		if used, limit := allocated(func() { err = oic.Decode(oic.OCF, b, &v) }), uint64(16*len(b)+64<<10); used > limit {
			t.Fatalf("%d bytes cost %d, over %d", len(b), used, limit)
		}
		if err != nil || math.IsNaN(v.Level) {
			return
		}
		again, err := oic.Encode(oic.OCF, v)
		if err != nil {
			t.Fatal(err)
		}
		var w lamp
		if err := oic.Decode(oic.OCF, again, &w); err != nil || len(v.Tags) != len(w.Tags) || v.Value != w.Value || v.Level != w.Level {
			t.Fatalf("%+v came back as %+v (%v)", v, w, err)
		}
	})
}
