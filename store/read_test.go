package store_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/farreach/farreach/store"
)

// TestReadWays: the same records are read whichever way they are found, and in
// order: few or many of all, from the begin or the middle, after some were
// removed.
func TestReadWays(t *testing.T) {
	overEach(t, func(t *testing.T, s *store.Store) {
		l := openLog(t, s, 3)
		var all []store.Record
		for i := range 6000 {
			account := "many"
			if i%40 == 0 {
				account = "few"
			}
			all = append(all, store.Record{Key: []string{account, fmt.Sprint("device.", i%7), fmt.Sprint("/", i%3)}, Data: fmt.Append(nil, i)})
		}
		for some := range slices.Chunk(all, 500) { // what is given to a cluster together is to be answered in 5 s
			if errs := l.AppendAll(t.Context(), some); errs != nil {
				t.Fatal(errs[0])
			}
		}
		if err := l.Purge(t.Context(), []string{"many", "device.5"}); err != nil {
			t.Fatal(err)
		}
		all = slices.DeleteFunc(all, func(r store.Record) bool { return r.Key[0] == "many" && r.Key[1] == "device.5" })
		for _, prefix := range [][]string{
			nil, {"many"}, {"few"}, {"many", store.Any, "/1"}, {store.Any, "device.3"}, {"many", "device.3"}, {"many", "device.3", "/1"}, {"none"}, {"many", "device.5"},
		} {
			for _, from := range []uint64{0, 2500, 5999, 7000} {
				var got []store.Record
				if err := l.Read(t.Context(), store.Start{Seq: from}, prefix, func(r store.Record) bool { got = append(got, r); return true }); err != nil {
					t.Fatal(err)
				}
				want := slices.DeleteFunc(slices.Clone(all), func(r store.Record) bool { return r.Seq < from || !selects(prefix, r.Key) })
				if !slices.EqualFunc(got, want, func(a, b store.Record) bool {
					return a.Seq == b.Seq && slices.Equal(a.Key, b.Key) && string(a.Data) == string(b.Data)
				}) {
					t.Errorf("%q from %d: %d records, want %d", prefix, from, len(got), len(want))
				}
			}
		}
	})
}

func selects(prefix, key []string) bool {
	for i, token := range prefix {
		if token != store.Any && token != key[i] {
			return false
		}
	}
	return true
}
