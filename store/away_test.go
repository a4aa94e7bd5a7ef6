package store_test

import (
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/farreach/farreach/store"
	"github.com/nats-io/nats-server/v2/server"
)

// TestServerAway stops a remote server and starts it again: writes are refused
// meanwhile, then all goes on, and a follower misses nothing.
func TestServerAway(t *testing.T) {
	opts := &server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true}
	start := func() *server.Server {
		o := *opts
		srv, err := server.NewServer(&o)
		if err != nil {
			t.Fatal(err)
		}
		srv.Start()
		if !srv.ReadyForConnections(10 * time.Second) {
			t.Fatal("nats-server does not start")
		}
		return srv
	}
	stop := func(srv *server.Server) {
		srv.Shutdown()
		srv.WaitForShutdown()
	}
	srv := start()
	opts.Port = srv.Addr().(*net.TCPAddr).Port
	s, err := store.Open(t.Context(), store.Config{URL: srv.ClientURL(), Log: quiet(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l := openLog(t, s, 1)

	const n = 20
	followed := make(chan error, 1)
	go func() {
		seen, done := 0, errors.New("done")
		err := l.Follow(t.Context(), 1, nil, nil, func(r store.Record) error {
			if want := fmt.Sprint(seen); string(r.Data) != want {
				return fmt.Errorf("record %d is %q, want %q", r.Seq, r.Data, want)
			}
			if seen++; seen == n {
				return done
			}
			return nil
		})
		if err == done {
			err = nil
		}
		followed <- err
	}()
	for i := range n / 2 {
		mustAppend(t, l, fmt.Sprint(i), "k")
	}
	stop(srv)
	if _, err := l.Append(t.Context(), []string{"k"}, nil); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Append without a server: %v, want ErrUnavailable", err)
	}
	if err := s.Ready(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Ready without a server: %v, want ErrUnavailable", err)
	}
	srv = start()
	defer stop(srv)
	for i := n / 2; i < n; {
		_, err := l.Append(t.Context(), []string{"k"}, fmt.Append(nil, i))
		switch {
		case err == nil:
			i++
		case !errors.Is(err, store.ErrUnavailable):
			t.Fatal(err)
		}
	}
	if err := <-followed; err != nil {
		t.Error(err)
	}
}
