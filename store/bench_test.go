package store_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/farreach/farreach/store"
)

func BenchmarkAppend(b *testing.B) {
	for name, sync := range map[string]time.Duration{"sync=10ms": 0, "sync=always": -1} {
		b.Run(name, func(b *testing.B) {
			s, err := store.Open(b.Context(), store.Config{Dir: newDir(b), Sync: sync, Log: quiet(b)})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			l := openLog(b, s, 1)
			data := []byte(strings.Repeat("x", 100))
			b.SetParallelism(32)
			var n atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				key := []string{fmt.Sprint("device", n.Add(1))}
				for pb.Next() {
					if _, err := l.Append(b.Context(), key, data); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func BenchmarkPut(b *testing.B) {
	table := openTable(b, open(b, newDir(b)))
	for b.Loop() {
		if _, err := table.Put(b.Context(), "key", thing{Name: "lamp"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	table := openTable(b, open(b, newDir(b)))
	if _, err := table.Put(b.Context(), "key", thing{Name: "lamp"}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, _, err := table.Get(b.Context(), "key"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRead reads a log of 20,000 records.
func BenchmarkRead(b *testing.B) {
	const records = 20_000
	l := openLog(b, open(b, newDir(b)), 1)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for range records / 20 {
				mustAppend(b, l, strings.Repeat("x", 100), fmt.Sprint("device", i))
			}
		})
	}
	wg.Wait()
	for name, read := range map[string]func(each func(store.Record) bool) error{
		"all":        func(each func(store.Record) bool) error { return l.Read(b.Context(), store.Start{}, nil, each) },
		"newest 100": func(each func(store.Record) bool) error { return l.Newest(b.Context(), 100, nil, each) },
		"newest 100 of one": func(each func(store.Record) bool) error {
			return l.Newest(b.Context(), 100, []string{"device7"}, each)
		},
	} {
		b.Run(name, func(b *testing.B) {
			n := 0
			for b.Loop() {
				if err := read(func(store.Record) bool { n++; return true }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// BenchmarkFollowers tells what one of 500 waiting followers costs.
func BenchmarkFollowers(b *testing.B) {
	const followers = 500
	for b.Loop() {
		l := openLog(b, open(b, newDir(b)), 1)
		mustAppend(b, l, "first", "k")
		heap := heapNow()
		goroutines := runtime.NumGoroutine()
		begin := time.Now()
		done := fmt.Errorf("done")
		var all, started sync.WaitGroup
		started.Add(followers)
		for range followers {
			all.Go(func() {
				_ = l.Follow(b.Context(), 1, []string{"k"}, nil, func(r store.Record) error {
					if r.Seq == 1 {
						started.Done()
						return nil
					}
					return done
				})
			})
		}
		started.Wait()
		b.ReportMetric(float64(time.Since(begin).Microseconds())/followers, "µs/start")
		b.ReportMetric(float64(heapNow()-heap)/followers, "B/follower")
		b.ReportMetric(float64(runtime.NumGoroutine()-goroutines)/followers, "goroutines/follower")
		mustAppend(b, l, "second", "k")
		all.Wait()
	}
}

func heapNow() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
