package coap_test

import (
	"testing"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/vector"
)

// benchVectors are what a cloud sees most: an answer without payload, a
// notification, a command, a routed read, a sign-in.
var benchVectors = []string{"O17", "O15", "O16", "O18", "O3"}

func overBench(b *testing.B, f func(b *testing.B, transport coap.Transport, m *coap.Message, wire []byte)) {
	for _, name := range benchVectors {
		m := fromVector(vector.Get(name).Message)
		for _, transport := range []coap.Transport{coap.UDP, coap.TCP, coap.WebSocket} {
			wire, err := m.Append(transport, nil)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(name+"/"+transport.String(), func(b *testing.B) {
				b.SetBytes(int64(len(wire)))
				b.ReportAllocs()
				f(b, transport, m, wire)
			})
		}
	}
}

func BenchmarkParse(b *testing.B) {
	overBench(b, func(b *testing.B, transport coap.Transport, _ *coap.Message, wire []byte) {
		var m coap.Message
		for b.Loop() {
			if _, err := m.Parse(transport, wire, limit); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	overBench(b, func(b *testing.B, transport coap.Transport, m *coap.Message, wire []byte) {
		buf := make([]byte, 0, len(wire)+64)
		for b.Loop() {
			if _, err := m.Append(transport, buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkPath(b *testing.B) {
	os := fromVector(vector.Get("O18").Message).Options
	var buf [256]byte
	b.ReportAllocs()
	for b.Loop() {
		os.AppendPath(buf[:0])
	}
}

func BenchmarkSetPath(b *testing.B) {
	var m coap.Message
	b.ReportAllocs()
	for b.Loop() {
		m.Reset()
		m.SetPath("/api/v1/devices/00000000-cafe-4bad-8000-000000000001/light/1")
	}
}
