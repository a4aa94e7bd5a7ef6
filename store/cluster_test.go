package store_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/farreach/farreach/store"
	"github.com/farreach/farreach/store/storetest"
)

// TestGoOnAtOnce: who writes alone is never refused, however fast one write goes
// on from the acknowledgement of the other.
func TestGoOnAtOnce(t *testing.T) {
	s := at(t, storetest.NewCluster(t).URL(), 3)
	table, log := openTable(t, s), openLog(t, s, 1)
	rev, err := table.Create(t.Context(), "k", thing{})
	var seq uint64
	for i := range 1000 {
		if err != nil {
			t.Fatalf("write %d of the table: %v", i, err)
		}
		rev, err = table.Update(t.Context(), "k", thing{Count: i}, rev)
		var refused error
		if seq, refused = log.AppendAfter(t.Context(), []string{"k"}, fmt.Append(nil, i), seq); refused != nil {
			t.Fatalf("record %d: %v", i, refused)
		}
	}
}

// TestAcknowledgedIsRead: what one process was acknowledged another finds at once,
// whichever server it asks; and a key that was deleted is free.
func TestAcknowledgedIsRead(t *testing.T) {
	c := storetest.NewCluster(t)
	here, there := at(t, c.Address(0), 3), at(t, c.Address(1), 3)
	table, log := openTable(t, here), openLog(t, here, 1)
	tableThere, logThere := openTable(t, there), openLog(t, there, 1)
	for i := range 300 {
		if _, err := table.Create(t.Context(), "k", thing{Count: i}); err != nil {
			t.Fatalf("created after it was deleted, %d: %v", i, err)
		}
		if v, _, err := tableThere.Get(t.Context(), "k"); err != nil || v.Count != i {
			t.Fatalf("Get = %+v, %v; want %d", v, err, i)
		}
		seq, err := log.Append(t.Context(), []string{"k"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := logThere.Last(t.Context(), []string{"k"}); err != nil || r.Seq != seq {
			t.Fatalf("Last = %d, %v; want %d", r.Seq, err, seq)
		}
		if r, err := logThere.Next(t.Context(), seq); err != nil || r.Seq != seq {
			t.Fatalf("Next = %d, %v; want %d", r.Seq, err, seq)
		}
		if err := tableThere.Delete(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		if _, _, err := table.Get(t.Context(), "k"); !errors.Is(err, store.ErrNotFound) {
			t.Fatalf("Get of what was deleted: %v, want ErrNotFound", err)
		}
	}
}

// TestClusterLosesAServer: one of three servers is stopped, and started again,
// while records are appended. Every one that was acknowledged is there once,
// in the order of its writer, and a follower has seen the same.
func TestClusterLosesAServer(t *testing.T) {
	c := storetest.NewCluster(t)
	writer, reader := at(t, c.URL(), 3), at(t, c.URL(), 3)
	l, followed := openLog(t, writer, 1), openLog(t, reader, 1)
	var acked, failed, end atomic.Int64
	var seen []uint64
	done := make(chan error, 1)
	last := errors.New("that was the last")
	go func() {
		done <- followed.Follow(t.Context(), 1, nil, nil, func(r store.Record) error {
			if seen = append(seen, r.Seq); string(r.Data) == "end" {
				return last
			}
			return nil
		})
	}()
	var want []uint64
	var wrote = make(chan struct{})
	go func() {
		defer close(wrote)
		for i := 0; end.Load() == 0; i++ {
			seq, err := l.Append(t.Context(), []string{"k"}, fmt.Append(nil, i))
			if err == nil {
				want = append(want, seq)
				acked.Add(1)
			} else if failed.Add(1); !errors.Is(err, store.ErrUnavailable) {
				t.Error(err)
			}
		}
	}()
	await := func(n int64) { // n more records
		goal := acked.Load() + n
		eventually(t, "more records", func() bool { return acked.Load() >= goal })
	}
	await(50)
	c.Stop(0)
	await(50)
	c.Start(0)
	await(50)
	end.Store(1)
	<-wrote
	for _, err := l.Append(t.Context(), []string{"k"}, []byte("end")); err != nil; _, err = l.Append(t.Context(), []string{"k"}, []byte("end")) {
	}
	if err := <-done; err != last {
		t.Fatal(err)
	}
	here := map[uint64]bool{}
	for i, seq := range seen {
		if i > 0 && seq <= seen[i-1] {
			t.Errorf("followed %d after %d", seq, seen[i-1])
		}
		here[seq] = true
	}
	for _, seq := range want {
		if !here[seq] {
			t.Errorf("record %d was acknowledged and not followed", seq)
		}
	}
	t.Logf("%d records acknowledged, %d refused; %d followed", len(want), failed.Load(), len(seen))
}

// TestCredentials: who we are to a server is in a file, never in its address.
func TestCredentials(t *testing.T) {
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
		Users: []*server.User{{Username: "farreach", Password: "pass:word"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer func() { s.Shutdown(); s.WaitForShutdown() }()
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "nats")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, c := range []struct {
		name, url, file, want string // want "": opens
	}{
		{"right", s.ClientURL(), file("farreach:pass:word\n"), ""},
		{"wrong", s.ClientURL(), file("farreach:word"), "Authorization Violation"},
		{"a token", s.ClientURL(), file("word"), "Authorization Violation"},
		{"none", s.ClientURL(), "", "Authorization Violation"},
		{"empty", s.ClientURL(), file("\n"), "empty"},
		{"no file", s.ClientURL(), "/nonexistent", "no such file"},
		{"in the address", strings.Replace(s.ClientURL(), "//", "//farreach:secret@", 1), "", "use a file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := store.Open(t.Context(), store.Config{URL: c.url, Credentials: c.file, Log: quiet(t)})
			if err == nil {
				s.Close()
			}
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("Open: %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}
