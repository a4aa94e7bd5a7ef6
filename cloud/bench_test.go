package cloud

import (
	"testing"

	"github.com/farreach/farreach/oic"
)

// BenchmarkHandle is what the cloud adds to a request: authorization, the way
// to the session and back.
func BenchmarkHandle(b *testing.B) {
	w := newWorld(b)
	_, who := w.token("home", 0)
	way := w.way(who)
	w.attach(w.lamp).answer = &oic.Response{Status: oic.Content}
	req := &oic.Request{Op: oic.Update, Href: "/a/light?if=oic.if.rw", Body: []byte{0xf5}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := way.Handle(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAuthorize is the one question that every use asks.
func BenchmarkAuthorize(b *testing.B) {
	w := newWorld(b)
	_, who := w.token("home", 0)
	b.ReportAllocs()
	for b.Loop() {
		if err := w.authorize(who, opCommand, target{device: lamp}); err != nil {
			b.Fatal(err)
		}
	}
}
