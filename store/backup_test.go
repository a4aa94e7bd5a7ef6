package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/store"
)

// backup is one that is kept in memory.
type backup struct {
	parts []store.Part
	read  int
}

func (b *backup) add(p store.Part) error {
	p.Data = slices.Clone(p.Data)
	b.parts = append(b.parts, p)
	return nil
}

func (b *backup) next() (store.Part, error) {
	if b.read == len(b.parts) {
		return store.Part{}, io.EOF
	}
	b.read++
	return b.parts[b.read-1], nil
}

// A store that was restored has the values, revisions, records, sequences and
// times of the one that was backed up while devices went on reporting.
func TestBackup(t *testing.T) {
	overEach(t, func(t *testing.T, s *store.Store) {
		table, log := filled(t, s)
		before := records(t, log)
		ctx, stop := context.WithCancel(t.Context())
		var load sync.WaitGroup
		for range 4 {
			load.Go(func() {
				for ctx.Err() == nil {
					_, _ = log.Append(ctx, []string{"home", "door"}, []byte("meanwhile"))
				}
			})
		}
		var b backup
		err := s.Backup(t.Context(), b.add)
		stop()
		load.Wait()
		if err != nil {
			t.Fatal(err)
		}
		after := records(t, log)

		s2 := open(t, newDir(t))
		if err := s2.Restore(t.Context(), b.next); err != nil {
			t.Fatal(err)
		}
		table2, log2 := tables(t, s2)
		if got, want := fmt.Sprint(entries(t, table2)), fmt.Sprint(entries(t, table)); got != want {
			t.Errorf("table:\n%s\nwant\n%s", got, want)
		}
		got := records(t, log2)
		if len(got) < len(before) || len(got) > len(after) {
			t.Fatalf("%d records; there were %d before and %d after", len(got), len(before), len(after))
		}
		t.Logf("%d parts, %d records before, %d in the backup, %d after", len(b.parts), len(before), len(got), len(after))
		for i, r := range got {
			if w := after[i]; r.Seq != w.Seq || !r.Time.Equal(w.Time) || string(r.Data) != string(w.Data) || !slices.Equal(r.Key, w.Key) {
				t.Fatalf("record %d is %v, want %v", i, r, w)
			}
		}
		seq, err := log2.Append(t.Context(), []string{"home", "door"}, []byte("later"))
		if err != nil || seq <= got[len(got)-1].Seq {
			t.Errorf("the next record has the sequence %d after %d, %v", seq, got[len(got)-1].Seq, err)
		}
		if _, err := table2.Modify(t.Context(), "lamp", func(v *string) error { *v = "new"; return nil }); err != nil {
			t.Error(err)
		}
	})
}

func tables(t *testing.T, s *store.Store) (*store.Table[string], *store.Log) {
	t.Helper()
	table, err := store.OpenTable[string](t.Context(), s, "things", 0)
	if err != nil {
		t.Fatal(err)
	}
	log, err := store.OpenLog(t.Context(), s, "events", store.LogConfig{Tokens: 2, MaxAge: 90 * 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return table, log
}

// filled writes what a backup should have: values that were replaced and
// removed, and more records than one piece of a backup holds.
func filled(t *testing.T, s *store.Store) (*store.Table[string], *store.Log) {
	t.Helper()
	table, log := tables(t, s)
	for i, v := range []string{"one", "two", "three"} {
		for _, key := range []string{"lamp", "door/" + v, "gone"} {
			if _, err := table.Put(t.Context(), key, strings.Repeat(v, 100*i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := table.Delete(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		data := strings.Repeat(fmt.Sprint(i), 20_000)
		if _, err := log.Append(t.Context(), []string{"home", fmt.Sprint("device ", i%3)}, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	return table, log
}

func entries(t *testing.T, table *store.Table[string]) (all []store.Entry[string]) {
	t.Helper()
	for e, err := range table.All(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func records(t *testing.T, log *store.Log) (all []store.Record) {
	t.Helper()
	err := log.Read(t.Context(), store.Start{}, nil, func(r store.Record) bool {
		all = append(all, r)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Nothing is restored over what is there, nor anything that is no backup of
// this store.
func TestRestoreRefuses(t *testing.T) {
	s := open(t, newDir(t))
	filled(t, s)
	var b backup
	if err := s.Backup(t.Context(), b.add); err != nil {
		t.Fatal(err)
	}
	if err := s.Restore(t.Context(), b.next); !errors.Is(err, store.ErrExists) {
		t.Errorf("over itself: %v", err)
	}
	config := b.parts[0]
	for name, parts := range map[string][]store.Part{
		"data first":      {{Name: "KV_farreach-things/data", Data: []byte("x")}},
		"foreign stream":  {{Name: "ORDERS/stream.json", Data: config.Data}},
		"a name too many": {{Name: "KV_farreach-a.b/stream.json", Data: config.Data}},
		"unknown part":    {{Name: "KV_farreach-things/other", Data: config.Data}},
		"no JSON":         {{Name: config.Name, Data: []byte("{")}},
		"cut off":         b.parts[:1],
	} {
		t.Run(name, func(t *testing.T) {
			bad := backup{parts: parts}
			if err := open(t, newDir(t)).Restore(t.Context(), bad.next); err == nil {
				t.Error("restored")
			}
		})
	}
}

// A backup that is not taken ends, and the store goes on.
func TestBackupEnds(t *testing.T) {
	s := open(t, newDir(t))
	table, _ := filled(t, s)
	full := errors.New("disk full")
	if err := s.Backup(t.Context(), func(store.Part) error { return full }); !errors.Is(err, full) {
		t.Errorf("err = %v", err)
	}
	if _, err := table.Put(t.Context(), "lamp", "on"); err != nil {
		t.Error(err)
	}
	var b backup
	err := s.Backup(t.Context(), b.add)
	for i := 0; err != nil && i < 600; i++ { // the server may still be at the one that was given up
		<-time.After(100 * time.Millisecond)
		b = backup{}
		err = s.Backup(t.Context(), b.add)
	}
	if err != nil {
		t.Error(err)
	}
}
