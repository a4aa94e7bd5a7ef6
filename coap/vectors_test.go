package coap_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/vector"
)

// limit is what these tests take: options and payload, in bytes.
const limit = 262144

// transports are the transports by the names that vectors give them.
var transports = map[string]coap.Transport{"udp": coap.UDP, "tcp": coap.TCP, "ws": coap.WebSocket}

// fromVector is the message that a vector means.
func fromVector(v vector.Message) *coap.Message {
	m := &coap.Message{
		Type: coap.Type(v.Type), ID: v.ID, Code: coap.Code(v.Code), Token: coap.MakeToken(v.Token), Payload: v.Payload,
	}
	for _, o := range v.Options {
		m.Options = append(m.Options, coap.Option{Number: coap.Number(o.Number), Value: o.Value})
	}
	return m
}

// same reports whether a and b mean the same on every transport: type and
// Message ID are not compared.
func same(a, b *coap.Message) bool {
	if a.Code != b.Code || a.Token != b.Token || len(a.Options) != len(b.Options) || !bytes.Equal(a.Payload, b.Payload) {
		return false
	}
	for i, o := range a.Options {
		if o.Number != b.Options[i].Number || !bytes.Equal(o.Value, b.Options[i].Value) {
			return false
		}
	}
	return true
}

// Each vector is parsed, appended and cut at every byte (CI-006, CI-008,
// CI-024).
func TestVectors(t *testing.T) {
	for _, v := range vector.All() {
		t.Run(v.Name, func(t *testing.T) {
			transport, want := transports[v.Transport], fromVector(v.Message)
			var got coap.Message
			n, err := got.Parse(transport, v.Wire, limit)
			if err != nil || n != len(v.Wire) {
				t.Fatalf("Parse = %d, %v; want %d, nil", n, err, len(v.Wire))
			}
			if !same(&got, want) {
				t.Errorf("parsed %v %x %x\n  want %v %x %x", &got, got.Options, got.Payload, want, want.Options, want.Payload)
			}
			if got.Type != want.Type || got.ID != want.ID { // CI-007: NON on a stream
				t.Errorf("parsed %v %#x, want %v %#x", got.Type, got.ID, want.Type, want.ID)
			}
			wire, err := want.Append(transport, []byte("before"))
			if err != nil || string(wire) != "before"+string(v.Wire) {
				t.Errorf("Append = %x, %v\n  want %x", wire, err, v.Wire)
			}
			if transport != coap.TCP {
				return
			}
			for cut := range v.Wire { // every prefix asks for more
				if n, err := got.Parse(coap.TCP, v.Wire[:cut], limit); n != 0 || err != coap.ErrShort {
					t.Fatalf("%d bytes: %d, %v, want 0, ErrShort", cut, n, err)
				}
			}
		})
	}
}

// A message is the same in front of every header (CI-002).
func TestVectorsOverEachTransport(t *testing.T) {
	for _, v := range vector.All() {
		want := fromVector(v.Message)
		m := want
		for _, transport := range []coap.Transport{coap.UDP, coap.TCP, coap.WebSocket, coap.TCP, coap.UDP} {
			wire, err := m.Append(transport, nil)
			if err != nil {
				t.Fatalf("%s: Append to %v: %v", v.Name, transport, err)
			}
			m = new(coap.Message)
			if n, err := m.Parse(transport, wire, limit); err != nil || n != len(wire) {
				t.Fatalf("%s: Parse from %v: %d, %v", v.Name, transport, n, err)
			}
			if !same(m, want) {
				t.Fatalf("%s over %v came back as %v", v.Name, transport, m)
			}
		}
	}
}

// Bytes that are no message are refused at the offending byte, and nothing of
// them is kept. TestBad33 to TestBad36 of these are the accidents of others:
// 33 headers and extensions that are cut, 34 numbers that overflow, 35 a bad
// option behind good ones, 36 lengths that no one would send.
func TestBad33to36Refusals(t *testing.T) {
	for _, r := range vector.Refusals() {
		t.Run(r.Name, func(t *testing.T) {
			m := coap.Message{Payload: []byte("old")}
			n, err := m.Parse(transports[r.Transport], r.Wire, limit)
			if len(m.Options) != 0 || m.Payload != nil {
				t.Errorf("kept %v", &m)
			}
			if r.Short {
				if n != 0 || err != coap.ErrShort {
					t.Fatalf("Parse = %d, %v; want 0, ErrShort", n, err)
				}
				return
			}
			e, ok := errors.AsType[*coap.FormatError](err)
			if !ok {
				t.Fatalf("Parse = %d, %v; want a FormatError", n, err)
			}
			if e.Off != r.Off || e.Answer != coap.Code(r.Answer) || !strings.Contains(e.Why, r.Why) || e.Spec == "" {
				t.Errorf("refused with %+v\n        want %+v", e, r)
			}
			if e.Answer != 0 && (n != len(r.Wire) || m.Code == 0 || m.Token.Len() == 0) {
				t.Errorf("n = %d, %v: not enough to answer", n, &m)
			}
		})
	}
}

// The class of bodies whose length form an early draft got wrong must not be
// understood as something else: 13 with nibble 13 and no extension, 257 to 268
// in the two-byte form.
func TestStreamLengthForms(t *testing.T) {
	for body := 2; body < 70000; body++ {
		if body > 300 && body < 65700 {
			continue
		}
		m := coap.Message{Code: coap.Content, Payload: make([]byte, body-1)}
		wire, err := m.Append(coap.TCP, nil)
		if err != nil {
			t.Fatal(err)
		}
		header := 1
		for _, least := range []int{13, 269, 65805} {
			if body >= least {
				header = map[int]int{1: 2, 2: 3, 3: 5}[header]
			}
		}
		if len(wire) != header+1+body {
			t.Fatalf("a body of %d bytes gives %d bytes, want a header of %d", body, len(wire), header)
		}
		var got coap.Message
		if n, err := got.Parse(coap.TCP, wire, limit); n != len(wire) || err != nil {
			t.Fatalf("a body of %d bytes: %d, %v", body, n, err)
		}
	}
}
