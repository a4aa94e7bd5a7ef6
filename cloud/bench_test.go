package cloud

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/time/rate"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/oic"
)

// BenchmarkHandle is what the cloud adds to a request: authorization, the way
// to the session and back; for a command, until it is stored twice.
func BenchmarkHandle(b *testing.B) {
	w := newWorld(b)
	_, who := w.token("home", 0)
	way := w.way(who)
	w.attach(w.lamp).answer = &oic.Response{Status: oic.Content}
	for _, op := range []oic.Op{oic.Retrieve, oic.Update} {
		req := &oic.Request{Op: op, Href: "/a/light?if=oic.if.rw", Body: []byte{0xf5}}
		b.Run(op.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := way.Handle(b.Context(), req); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(op.String()+"-16", func(b *testing.B) { // from many at once, fewer than a device takes
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := way.Handle(b.Context(), req); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkReport is what the cloud does with an event of one of 1,000 devices,
// until it is stored.
func BenchmarkReport(b *testing.B) {
	w := newWorld(b)
	devices := make([]oic.Identity, 1000)
	for i := range devices {
		name := []string{"home", "barn"}[i%2]
		devices[i] = w.join(name, fmt.Sprintf("a1b2c3d4-0000-4000-8000-%012d", 1000+i))
		_, err := w.Publish(b.Context(), devices[i], cloudlink.Publication{Links: []oic.Link{{Href: "/a/meter", Types: []string{"x.meter"}}}})
		w.must(err)
		w.flow(devices[i].Device).events.SetLimit(rate.Inf)
	}
	body := []byte(strings.Repeat("x", 40))
	var next atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(250)
	b.RunParallel(func(pb *testing.PB) {
		for i := int(next.Add(1)); pb.Next(); i++ {
			rep := &oic.Response{Status: oic.Content, Format: oic.OCF, Body: body}
			if err := w.tell(devices[i%len(devices)], "/a/meter", rep); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
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
