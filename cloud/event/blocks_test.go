package event

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
	"github.com/farreach/farreach/store/storetest"
)

var meter = key{"home", "meter", "/m"}

// oddBody is a representation as devices send them, or should not.
func oddBody(t testing.TB, i int) (f oic.ContentFormat, body []byte) {
	rep := map[string]any{"temperature": float64(rand.IntN(400)) / 10, "count": i, "units": "C"}
	switch rand.IntN(12) {
	case 0:
		return oic.OCF, []byte("\xa3\x61t\x61x\x61t\x05\x65count\x07") // a name twice, the first is no number
	case 1:
		return oic.OCF, []byte("\xa2\x65count\x07\x61t") // ends too early
	case 2:
		return oic.JSON, []byte(`{"count": 4, "temperature": 1e-300, "on": true}`)
	case 3:
		rep = map[string]any{"on": rand.IntN(2) == 0, "temperature": "warm"}
	case 4:
		rep = map[string]any{"t": rand.NormFloat64()}
	case 5:
		rep["timestamp"] = time.Now().Add(-time.Duration(rand.IntN(20000)) * time.Second).Format(time.RFC3339)
	case 6:
		rep["timestamp"] = time.Now().Unix()
	}
	body, err := oic.Encode(oic.OCF, rep)
	if err != nil {
		t.Fatal(err)
	}
	return oic.OCF, body
}

// hear appends n events of the meter, and some of another device between them.
// wide of them have many properties.
func (e *Events) hear(t testing.TB, n, wide int) {
	t.Helper()
	var some []Event
	for i := range n {
		f, body := oddBody(t, i)
		if i < wide {
			rep := map[string]any{"temperature": i}
			for j := range 12 {
				rep[fmt.Sprint("p", i%7, "-", j)] = i * j
			}
			f, body = oic.OCF, must(oic.Encode(oic.OCF, rep))
		}
		some = append(some, Event{Account: "home", Device: "meter", Href: "/m", Format: f, Body: body})
		if rand.IntN(3) == 0 {
			some = append(some, Event{Account: "home", Device: "other", Href: "/m", Format: f, Body: body})
		}
		if len(some) >= 500 || i == n-1 {
			if err := errors.Join(e.AppendAll(t.Context(), some)...); err != nil {
				t.Fatal(err)
			}
			some = some[:0]
		}
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// keptBlocks returns the blocks of the meter.
func (e *Events) keptBlocks(t testing.TB) (list []block) {
	t.Helper()
	err := e.blocks.Read(t.Context(), store.Start{}, meter.tokens(), func(r store.Record) bool {
		b, err := parseBlock(r.Data, "temperature", nil)
		if err != nil {
			t.Error(err)
		}
		list = append(list, b)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// sameAsEvents compares what blocks and events say of properties with what all
// events say.
func (e *Events) sameAsEvents(t *testing.T, when string, properties ...string) {
	t.Helper()
	oldest, newest := time.Time{}, time.Now()
	err := e.All(t.Context(), Filter{Account: "home", Device: "meter", Href: "/m"}, func(ev Event) bool {
		if oldest.IsZero() {
			oldest = ev.Time
		}
		newest = ev.Time
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	spans := [][2]time.Time{{}}
	if !oldest.IsZero() {
		at := func() time.Time { return oldest.Add(rand.N(newest.Sub(oldest) + 1)) }
		spans = append(spans, [2]time.Time{at(), at()})
	}
	for _, span := range spans {
		f := Filter{Account: "home", Device: "meter", Href: "/m", Since: span[0], Until: span[1]}
		want := map[string][]Value{}
		err := e.All(t.Context(), f, func(ev Event) bool {
			for _, p := range properties {
				if v := oic.Property(ev.Format, ev.Body, p); v.Kind == oic.Number || v.Kind == oic.Bool {
					want[p] = append(want[p], Value{ev.When(), v.Number})
				}
			}
			return true
		})
		for _, p := range properties {
			var got []Value
			err = errors.Join(err, e.values(t.Context(), f, p, func(v Value) { got = append(got, v) }))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want[p]) {
				t.Fatalf("%s: %q of %v: %d values, want %d, or they differ", when, p, span, len(got), len(want[p]))
			}
		}
	}
}

// TestBlocksAreTheEvents: a series is the same from blocks as from the events,
// whatever devices send, whatever has gone, and however many make the blocks.
func TestBlocksAreTheEvents(t *testing.T) {
	e := newKeeping(t, Config{})
	several := []string{"temperature", "t", "p3-3", "nothing"}
	const n = 7*blockEvents + 100
	e.hear(t, n, 2*blockEvents+300)
	e.sameAsEvents(t, "while blocks are made", several...)
	MakeBlocks(t, e, "meter", "/m")
	list := e.keptBlocks(t)
	if len(list) != n/blockEvents {
		t.Fatalf("%d blocks", len(list))
	}
	for i, b := range list {
		if i > 0 && b.first != list[i-1].last+1 || b.last < b.first {
			t.Errorf("block %d is of %d to %d, the one before it ends at %d", i, b.first, b.last, list[max(i-1, 0)].last)
		}
	}
	e.sameAsEvents(t, "with blocks", several...)

	if err := e.records.PurgeUpTo(t.Context(), meter.tokens(), (list[1].first+list[1].last)/2); err != nil { // as age and size do
		t.Fatal(err)
	}
	e.sameAsEvents(t, "without the oldest events", several...)
	e.hear(t, blockEvents, 0)
	MakeBlocks(t, e, "meter", "/m")
	if left := e.keptBlocks(t); left[0].first != list[2].first || len(left) != len(list)-1 {
		t.Errorf("of %d blocks %d are left, from %d on", len(list)+1, len(left), left[0].first)
	}
	e.sameAsEvents(t, "without the oldest blocks", several...)
}

// TestBlocksGoWithTheirEvents: nothing is left of a device that is purged, by
// whoever makes its blocks meanwhile.
func TestBlocksGoWithTheirEvents(t *testing.T) {
	e := newKeeping(t, Config{})
	e.hear(t, 8*blockEvents, 0)
	var made sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	for range 2 {
		made.Go(func() {
			for ctx.Err() == nil {
				m := blockMaker{e: e, key: meter, tokens: meter.tokens()}
				_ = m.run(ctx, func(time.Duration) error { return ctx.Err() })
			}
		})
	}
	for len(e.keptBlocks(t)) < 2 && t.Context().Err() == nil {
	}
	if err := e.Purge(t.Context(), "home", "meter"); err != nil {
		t.Fatal(err)
	}
	e.sameAsEvents(t, "purged", "temperature")
	for deadline := time.Now().Add(time.Minute); len(e.keptBlocks(t)) > 0; {
		if time.Now().After(deadline) {
			t.Fatal("there are blocks a minute after the purge")
		}
	}
	stop()
	made.Wait()
	e.hear(t, 7*blockEvents, 0)
	MakeBlocks(t, e, "meter", "/m")
	e.sameAsEvents(t, "there again", "temperature")
	if list := e.keptBlocks(t); len(list) != 7 {
		t.Errorf("%d blocks of the new events", len(list))
	}
}

// TestBlocksOfWhatWasLost: blocks of events that the store has not are not
// believed, and made again.
func TestBlocksOfWhatWasLost(t *testing.T) {
	e := newKeeping(t, Config{})
	e.hear(t, 7*blockEvents+10, 0)
	MakeBlocks(t, e, "meter", "/m")
	list := e.keptBlocks(t)
	newest, err := e.blocks.Last(t.Context(), meter.tokens())
	if err != nil {
		t.Fatal(err)
	}
	lie := blockWriter{first: list[6].last + 1}
	for i := range uint64(5) { // in the place of others, which were stored later
		ev := Event{Seq: lie.first + 1 + i, Time: time.Now(), Format: oic.JSON, Body: []byte(`{"temperature": 1000}`)}
		lie.add(&ev, list[6].taken.Add(time.Nanosecond))
	}
	for name, b := range map[string][]byte{"a lie": lie.append(nil), "no block": []byte("no block"), "nothing": nil} {
		seq, err := e.blocks.AppendAfter(t.Context(), meter.tokens(), b, newest.Seq)
		if err != nil {
			t.Fatal(err)
		}
		e.sameAsEvents(t, name, "temperature")
		MakeBlocks(t, e, "meter", "/m")
		if newest, err = e.blocks.Last(t.Context(), meter.tokens()); err != nil || newest.Seq <= seq {
			t.Fatalf("%s: the newest block is %d, %v", name, newest.Seq, err)
		}
		e.sameAsEvents(t, "after "+name, "temperature")
	}
}

// TestBlocksOfTwo: two processes on one NATS server make blocks at once, and
// there is one of each.
func TestBlocksOfTwo(t *testing.T) {
	url := storetest.Server(t)
	var both [2]*Events
	for i := range both {
		s, err := store.Open(t.Context(), store.Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		if both[i], err = Open(t.Context(), s, Config{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(both[i].Close)
	}
	both[0].hear(t, 7*blockEvents, 0)
	var made sync.WaitGroup
	for _, e := range both {
		made.Go(func() { MakeBlocks(t, e, "meter", "/m") })
	}
	made.Wait()
	for _, e := range both {
		e.sameAsEvents(t, "of two", "temperature")
	}
	list := both[1].keptBlocks(t)
	for i, b := range list {
		if len(list) != 7 || i > 0 && b.first != list[i-1].last+1 {
			t.Fatalf("%d blocks, number %d from %d to %d", len(list), i, b.first, b.last)
		}
	}
}

// TestBlocksAreMade: they are made behind the events, and what a process has not
// made when it ended is made once it is read.
func TestBlocksAreMade(t *testing.T) {
	e := newKeeping(t, Config{})
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	made := func(n int) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); len(e.keptBlocks(t)) < n; <-tick.C {
			if time.Now().After(deadline) {
				t.Fatalf("%d blocks after a minute, want %d", len(e.keptBlocks(t)), n)
			}
		}
	}
	e.hear(t, blockEvents+1, 0)
	made(1)
	e.hear(t, 7*blockEvents-1, 0)
	made(8)
	if err := e.blocks.Purge(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	f := Filter{Account: "home", Device: "meter", Href: "/m"}
	if _, err := e.Series(t.Context(), f, "temperature", 0); err != nil {
		t.Fatal(err)
	}
	made(8)
}

// TestBlocksWanted: what is counted and wanted is bounded.
func TestBlocksWanted(t *testing.T) {
	b := &blocks{wake: make(chan struct{}, 1), counted: map[key]int{}, wanted: map[key]bool{}}
	for i := range maxCounted + 10 {
		b.count([]Event{{Seq: 1, Device: fmt.Sprint(i)}, {Device: "not stored"}})
	}
	if len(b.counted) != maxCounted {
		t.Errorf("%d are counted", len(b.counted))
	}
	clear(b.counted)
	for i := range maxWanted + 10 {
		b.left(key{"home", fmt.Sprint(i), "/m"}, blockEvents)
	}
	if len(b.wanted) != maxWanted || len(b.counted) > 0 {
		t.Errorf("%d are wanted, %d counted", len(b.wanted), len(b.counted))
	}
	for n := maxWanted; ; n-- {
		if _, ok := b.take(); !ok {
			if n != 0 {
				t.Errorf("%d could not be taken", n)
			}
			break
		}
	}
}
