package rae_test

import (
	"strings"
	"testing"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
)

// typical is the answer of a thermostat: what a document of every day is like.
func typical(t testing.TB) []byte {
	for _, e := range examples(t) {
		if e.name == "typical answer" {
			return []byte(e.wire)
		}
	}
	t.Fatal("no typical answer in testdata")
	return nil
}

// A typical document is decoded without an allocation.
func TestDecodeAllocates(t *testing.T) {
	wire := typical(t)
	var dec rae.Decoder
	var doc rae.Document
	if n := testing.AllocsPerRun(100, func() {
		dec.Feed(wire)
		if err := dec.Next(&doc); err != nil {
			t.Fatal(err)
		}
		if err := dec.Next(&doc); err != rae.ErrShort {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkDecode(b *testing.B) {
	long := typical(b)
	for _, c := range []struct{ name, wire string }{
		{"request", examples(b)[0].wire},
		{"typical", string(long)},
		{"long", strings.Replace(string(long), `"x.note":"`, `"x.note":"`+strings.Repeat("a room, ", 8000), 1)},
	} {
		b.Run(c.name, func(b *testing.B) {
			wire := []byte(c.wire)
			var dec rae.Decoder
			var doc rae.Document
			b.SetBytes(int64(len(wire)))
			b.ReportAllocs()
			for b.Loop() {
				dec.Feed(wire)
				if err := dec.Next(&doc); err != nil {
					b.Fatal(err)
				}
				dec.Next(&doc)
			}
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	doc := decode(b, string(typical(b)))
	var wire []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if wire, err = doc.Append(wire[:0], 0); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(wire)))
}

func BenchmarkCall(b *testing.B) {
	doc := decode(b, examples(b)[0].wire)
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := rae.ParseCall(doc); err != nil {
				b.Fatal(err)
			}
		}
	})
	call, err := rae.ParseCall(doc)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("document", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := call.Document(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkAnswer(b *testing.B) {
	doc := decode(b, string(typical(b)))
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := rae.ParseAnswer(doc, oic.Retrieve, oic.OCF); err != nil {
				b.Fatal(err)
			}
		}
	})
	answer, err := rae.ParseAnswer(doc, oic.Retrieve, oic.OCF)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("document", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := answer.Document(oic.Retrieve); err != nil {
				b.Fatal(err)
			}
		}
	})
}
