package rae

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/farreach/farreach/xmppd"
	"github.com/farreach/farreach/xmppd/xmppdtest"
)

// BenchmarkAsk is round trips through a server on loopback over TLS, all in this
// process: from one asker that waits for each answer, and from as many as may
// ask at once, of one peer and of 64. cpu-µs/op is what all of it takes of the
// processors, whatever else runs on the machine.
func BenchmarkAsk(b *testing.B) {
	for _, bench := range []struct {
		name          string
		lamps, askers int
	}{{"one", 1, 1}, {"32 of one peer", 1, 32}, {"64 peers", 64, 256}} {
		b.Run(bench.name, func(b *testing.B) {
			srv := xmppdtest.Run(b, xmppdtest.Config{Config: xmppd.Config{Limits: xmppd.Limits{StanzaRate: -1, ByteRate: -1}}})
			phone := join(b, srv, phoneName, exchangeConfig{serve: echo})
			var lamps []*end
			for i := range bench.lamps {
				lamps = append(lamps, join(b, srv, fmt.Sprint(lampName, i), exchangeConfig{serve: echo}))
			}
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ReportAllocs()
			before := cpuTime(b)
			b.ResetTimer()
			var askers sync.WaitGroup
			for i := range bench.askers {
				askers.Go(func() {
					to := lamps[i%len(lamps)].s.JID()
					for left.Add(-1) >= 0 {
						if a, err := phone.ask(b.Context(), phone.s, to, get("/a/light")); err != nil || a.Response == nil {
							b.Error(outcome(a, err))
							return
						}
					}
				})
			}
			askers.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rt/s")
			b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// cpuTime is what this process has used of the processors.
func cpuTime(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
