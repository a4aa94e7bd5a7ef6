package store

import (
	"path/filepath"
	"testing"
)

// TestSlowReader: what waits in memory for a slow reader is one batch, however
// much there is to read (rule 8).
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
		batches, atOnce int
	}{
		{"small records", 1000, 10, 1000 / batch, batch},
		{"large records", 100, 500_000, 100 / 4, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := l.Purge(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			data := make([]byte, c.size)
			for range c.records {
				if _, err := l.Append(t.Context(), []string{"k"}, data); err != nil {
					t.Fatal(err)
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
				if _, err := p.next(t.Context(), true); err != nil {
					t.Fatal(n, err)
				}
				if len(p.in) > c.atOnce {
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
