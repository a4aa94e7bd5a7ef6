package store

import (
	"path/filepath"
	"slices"
	"testing"
)

// TestSlowReader: what waits in memory for a slow reader is two batches at most,
// however much there is to read (rule 8).
func TestSlowReader(t *testing.T) {
	s, err := Open(t.Context(), Config{Dir: filepath.Join(t.TempDir(), "data")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l, err := OpenLog(t.Context(), s, "lines", LogConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name            string
		records, size   int
		wait            bool
		batches, atOnce int
	}{
		{"small records, waiting", 1000, 10, true, 1000 / firstBatch, firstBatch},
		{"small records", 6000, 10, false, 6, mostBatch + mostBatch/4},
		{"large records, waiting", 100, 500_000, true, 100 / 4, 5},
		{"large records", 100, 500_000, false, 100 / 4, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := l.Purge(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			data := make([]byte, c.size)
			records := slices.Repeat([]Record{{Key: []string{"k"}, Data: data}}, c.records)
			for some := range slices.Chunk(records, 10) { // what is given to the store together is to be answered in 5 s
				if errs := l.AppendAll(t.Context(), some); errs != nil {
					t.Fatal(errs)
				}
			}
			r := reader{s: s, stream: l.id, filter: "farreach.lines.*"}
			p, pending, err := r.open(t.Context())
			if err != nil || pending != uint64(c.records) {
				t.Fatal(pending, err)
			}
			defer p.close(t.Context())
			for n := range c.records {
				if n%10 == 0 { // a round trip: all that the server has sent is here
					if err := s.nc.Flush(); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := p.next(t.Context(), c.wait); err != nil {
					t.Fatal(n, err)
				}
				if len(p.in) > c.atOnce+control {
					t.Fatalf("%d records of %d bytes wait", len(p.in), c.size)
				}
			}
			if p.asked < c.batches {
				t.Errorf("%d requests", p.asked)
			}
			if dropped, err := p.sub.Dropped(); err != nil || dropped > 0 {
				t.Errorf("%d records dropped, %v", dropped, err)
			}
		})
	}
}

// TestNumbers: what a server says of a record is read from the common form, and
// from the others by nats.go.
func TestNumbers(t *testing.T) {
	const common = "$JS.ACK.farreach-event.abc."
	p := puller{ack: common}
	for _, c := range []struct {
		reply string
		want  numbers
		ok    bool
	}{
		{common + "1.7.3.1763813000123456789.12", numbers{7, 3, 1763813000123456789, 12}, true},
		{common + "1.18446744073709.0.0.0", numbers{18446744073709, 0, 0, 0}, true},
		{common + "1.7.3.1763813000123456789", numbers{}, false},
		{common + "1.7.3.1763813000123456789.12.5", numbers{}, false},
		{common + "1.7..1763813000123456789.12", numbers{}, false},
		{common + "1.7.3.-5.12", numbers{}, false},
		{common + "1.7.3.99999999999999999999.12", numbers{}, false},
		{"$JS.ACK._.hash.farreach-event.abc.1.7.3.1763813000123456789.12.x", numbers{}, false},
		{"", numbers{}, false},
	} {
		if got, ok := p.numbers(c.reply); ok != c.ok || ok && got != c.want {
			t.Errorf("%s: %+v, %v", c.reply, got, ok)
		}
	}
}
