package coap_test

import (
	"fmt"
	"testing"

	"github.com/farreach/farreach/coap"
)

func TestAddKeepsOrder(t *testing.T) {
	var m coap.Message
	m.AddUint(coap.Accept, 60)
	m.AddString(coap.URIPath, "a")
	m.AddUint(coap.Observe, 0)
	m.AddString(coap.URIPath, "b")
	m.Add(coap.URIHost, []byte("h"))
	if got := fmt.Sprintf("%x", m.Options); got != "[{3 68} {6 } {b 61} {b 62} {11 3c}]" {
		t.Errorf("options = %s", got)
	}
}

func TestUint(t *testing.T) {
	for _, c := range []struct {
		n    uint32
		wire string
	}{{0, ""}, {1, "\x01"}, {255, "\xff"}, {256, "\x01\x00"}, {1 << 16, "\x01\x00\x00"}, {1 << 24, "\x01\x00\x00\x00"}, {1<<32 - 1, "\xff\xff\xff\xff"}} {
		var m coap.Message
		m.AddUint(coap.Size1, c.n)
		o, ok := m.Options.Get(coap.Size1)
		if !ok || string(o.Value) != c.wire {
			t.Errorf("%d is written as %x, want %x", c.n, o.Value, c.wire)
		}
		if n, ok := o.Uint(4); !ok || n != c.n {
			t.Errorf("%d came back as %d, %v", c.n, n, ok)
		}
		if _, ok := o.Uint(len(c.wire) - 1); ok {
			t.Errorf("%d is taken from too many bytes", c.n)
		}
	}
	if n, ok := (coap.Option{Value: []byte{0, 0, 7}}).Uint(3); !ok || n != 7 { // leading zeros are to be taken
		t.Errorf("00 00 07 is %d, %v", n, ok)
	}
	if _, ok := (coap.Options{{Number: 60, Value: make([]byte, 5)}}).Uint(coap.Size1); ok {
		t.Error("five bytes are a number")
	}
	if _, ok := (coap.Options{{Number: 12}}).Uint(coap.Observe); ok {
		t.Error("an absent option is a number")
	}
}

// TestBad34: options that repeat though they may not, or have a length that they
// may not have, count as unknown (RFC 7252, section 5.4).
func TestBad34Unacceptable(t *testing.T) {
	ours := func(n coap.Number) bool { return n != coap.ProxyURI && n != 9 }
	long := make([]byte, 256)
	for _, c := range []struct {
		name    string
		options coap.Options
		want    coap.Number
	}{
		{"none", nil, 0},
		{"path, query, format", coap.Options{{11, nil}, {11, nil}, {12, nil}, {15, long[:255]}, {17, long[:2]}, {2049, long[:2]}}, 0},
		{"unknown elective", coap.Options{{10, nil}, {65002, long}}, 0},
		{"unknown critical", coap.Options{{9, nil}}, 9},
		{"not understood", coap.Options{{11, nil}, {35, long[:9]}}, 35},
		{"Accept twice", coap.Options{{17, nil}, {17, nil}}, 17},
		{"elective twice", coap.Options{{6, nil}, {6, nil}}, 0},
		{"segment too long", coap.Options{{11, long}}, 11},
		{"host empty", coap.Options{{3, nil}}, 3},
		{"Accept too long", coap.Options{{17, long[:3]}}, 17},
		{"If-None-Match with a value", coap.Options{{5, long[:1]}}, 5},
		{"Block2 too long", coap.Options{{23, long[:4]}}, 23},
	} {
		if n, bad := c.options.Unacceptable(ours); n != c.want || bad != (c.want != 0) {
			t.Errorf("%s: %d, %v; want %d", c.name, n, bad, c.want)
		}
	}
}
