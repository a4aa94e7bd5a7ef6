package coap_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/vector"
)

// The numbers that the Cloud Interface proposal gave the transports (CI-022).
func TestTransportNumbers(t *testing.T) {
	if coap.UDP != 0 || coap.TCP != 1 {
		t.Errorf("UDP = %d, TCP = %d; want 0, 1", coap.UDP, coap.TCP)
	}
}

// One read may bring a message and the start of the next.
func TestParseTakesOneMessage(t *testing.T) {
	b := []byte("\x01\xe2\x42\x01\xe2") // a Ping, and the start of a second
	var m coap.Message
	n, err := m.Parse(coap.TCP, b, limit)
	if n != 3 || err != nil || m.Code != coap.Ping {
		t.Fatalf("Parse = %d, %v, %v; want 3, nil, Ping", n, err, m.Code)
	}
	if n, err := m.Parse(coap.TCP, b[n:], limit); n != 0 || err != coap.ErrShort {
		t.Fatalf("Parse = %d, %v; want 0, ErrShort", n, err)
	}
}

// What is appended to a parsed value must not reach the next message.
func TestParseCapsItsSlices(t *testing.T) {
	b := append(bytes.Clone(vector.Get("O16").Wire), 0xee)
	var m coap.Message
	if _, err := m.Parse(coap.TCP, b, limit); err != nil {
		t.Fatal(err)
	}
	_ = append(m.Payload, 0)
	for _, o := range m.Options {
		_ = append(o.Value, 0)
	}
	if !bytes.Equal(b, append(vector.Get("O16").Wire, 0xee)) {
		t.Errorf("appending to parsed slices changed the input: %x", b)
	}
}

func TestParseLimit(t *testing.T) {
	body := len("\xb1a\xff") + 97
	m := coap.Message{Code: coap.POST, Token: coap.TokenFrom(1), Payload: make([]byte, 97)}
	m.SetPath("/a")
	for name, transport := range transports {
		wire, err := m.Append(transport, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, limit := range []int{body, math.MaxInt} {
			if _, err := new(coap.Message).Parse(transport, wire, limit); err != nil {
				t.Errorf("%s: limit %d: %v", name, limit, err)
			}
		}
		for _, limit := range []int{body - 1, 0, -1} {
			var got coap.Message
			_, err := got.Parse(transport, wire, limit)
			e, ok := errors.AsType[*coap.FormatError](err)
			if !ok {
				t.Fatalf("%s: limit %d: %v", name, limit, err)
			}
			// Only where the transport knows the end of the message can it be answered.
			want := coap.RequestEntityTooLarge
			if transport == coap.TCP {
				want = 0
			}
			if e.Answer != want || e.Answer != 0 && got.Token != m.Token {
				t.Errorf("%s: limit %d: %+v, token %v", name, limit, e, got.Token)
			}
		}
	}
}

// A datagram that a Reset may refuse says so; others must be dropped silently
// (RFC 7252, sections 3 and 4.2).
func TestParseDatagramToReset(t *testing.T) {
	for _, c := range []struct {
		name, wire string
		reset      bool
	}{
		{"token length 9", "\x49\x01\x12\x34", true},
		{"marker without payload", "\x40\x01\x12\x34\xff", true},
		{"marker without payload, NON", "\x50\x01\x12\x34\xff", false},
		{"version 2", "\x80\x01\x12\x34", false},
		{"three bytes", "\x40\x01\x12", false},
	} {
		m := coap.Message{Type: coap.Confirmable, ID: 7}
		_, err := m.Parse(coap.UDP, []byte(c.wire), limit)
		if err == nil || (m.Type == coap.Confirmable) != c.reset || c.reset && m.ID != 0x1234 {
			t.Errorf("%s: %v, type %v, ID %#x", c.name, err, m.Type, m.ID)
		}
	}
}

func TestAppendRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		m    coap.Message
		on   coap.Transport
		want string
	}{
		{"options out of order", coap.Message{Code: coap.GET, Options: coap.Options{{Number: 12}, {Number: 11}}}, coap.TCP, "option 11 behind option 12"},
		{"endless option", coap.Message{Code: coap.GET, Options: coap.Options{{Number: 2, Value: make([]byte, 65805)}}}, coap.UDP, "option 2 has 65805 bytes"},
		{"Empty with token", coap.Message{Token: coap.TokenFrom(1)}, coap.UDP, "Empty message with"},
		{"Empty with payload", coap.Message{Payload: []byte("x")}, coap.UDP, "Empty message with"},
	} {
		dst := []byte("before")
		got, err := c.m.Append(c.on, dst)
		if err == nil || !strings.Contains(err.Error(), c.want) || string(got) != "before" {
			t.Errorf("%s: %q, %v; want %s", c.name, got, err, c.want)
		}
	}
}

func TestClone(t *testing.T) {
	wire := vector.Get("O16").Wire
	var m coap.Message
	if _, err := m.Parse(coap.TCP, wire, limit); err != nil {
		t.Fatal(err)
	}
	c := m.Clone()
	if !same(c, &m) {
		t.Errorf("Clone = %v, want %v", c, &m)
	}
	clear(wire)
	if !same(c, fromVector(vector.Get("O16").Message)) {
		t.Errorf("the clone shares memory: %x", c.Options)
	}
	c.AddUint(coap.Size1, 70000) // must not overwrite what is behind the last option
	if string(c.Payload) != string(vector.Get("O16").Message.Payload) {
		t.Errorf("payload = %x", c.Payload)
	}
}

// The hot path does not allocate: decode into a used Message, encode from it
// into a used buffer, build a request in a used Message.
func TestNoAllocations(t *testing.T) {
	var (
		m, built coap.Message
		path     [4096]byte
		buf      = make([]byte, 0, 70000)
	)
	for _, v := range vector.All() {
		transport := transports[v.Transport]
		if n := testing.AllocsPerRun(100, func() {
			if _, err := m.Parse(transport, v.Wire, limit); err != nil {
				t.Fatal(err)
			}
			if _, err := m.Append(transport, buf); err != nil {
				t.Fatal(err)
			}
			m.Options.AppendQuery(m.Options.AppendPath(path[:0]))
		}); n != 0 {
			t.Errorf("%s: %v allocations", v.Name, n)
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		built.Reset()
		built.Code, built.Token = coap.GET, coap.TokenFrom(7)
		built.SetPath("/oic/res")
		built.SetQuery("if=oic.if.ll")
		built.AddUint(coap.Accept, 10000)
		if _, err := built.Append(coap.TCP, buf); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("building a request: %v allocations", n)
	}
}

func TestToken(t *testing.T) {
	a, b := coap.MakeToken([]byte{0, 0, 0, 0, 0, 0, 1, 2}), coap.TokenFrom(0x102)
	if a != b || a.Len() != 8 || a.String() != "0000000000000102" {
		t.Errorf("%v, %v", a, b)
	}
	if short := coap.MakeToken([]byte{0}); short == (coap.Token{}) || short.Len() != 1 {
		t.Errorf("token 00 is the empty one")
	}
	if got := coap.MakeToken([]byte("ab")).Append([]byte("x")); string(got) != "xab" {
		t.Errorf("Append = %q", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("a token of nine bytes is taken")
		}
	}()
	coap.MakeToken(make([]byte, 9))
}

func TestCodes(t *testing.T) {
	for _, c := range []struct {
		code                  coap.Code
		text                  string
		request, resp, signal bool
	}{
		{coap.Empty, "Empty", false, false, false},
		{coap.GET, "GET", true, false, false},
		{9, "0.09", true, false, false},
		{32, "1.00", false, false, false},
		{coap.Content, "2.05 Content", false, true, false},
		{coap.NotFound, "4.04 Not Found", false, true, false},
		{coap.ServiceUnavailable, "5.03 Service Unavailable", false, true, false},
		{6 << 5, "6.00", false, false, false},
		{coap.Ping, "Ping", false, false, true},
		{0xff, "7.31", false, false, true},
	} {
		if got := c.code.String(); got != c.text {
			t.Errorf("%d is %q, want %q", uint8(c.code), got, c.text)
		}
		if c.code.IsRequest() != c.request || c.code.IsResponse() != c.resp || c.code.IsSignal() != c.signal {
			t.Errorf("%v: request %v, response %v, signal %v", c.code, c.code.IsRequest(), c.code.IsResponse(), c.code.IsSignal())
		}
	}
}
