package store_test

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/store"
	"github.com/farreach/farreach/store/storetest"
	"github.com/nats-io/nats-server/v2/server"
)

// TestServerAway stops a remote server and starts it again: writes are refused
// meanwhile, then all goes on, and a follower misses nothing.
func TestServerAway(t *testing.T) {
	opts := &server.Options{Host: "127.0.0.1", Port: storetest.Ports(t, 1)[0], JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true}
	start := func() *server.Server {
		o := *opts
		srv, err := server.NewServer(&o)
		if err != nil {
			t.Fatal(err)
		}
		srv.Start()
		if !srv.ReadyForConnections(time.Minute) {
			t.Fatal("nats-server does not start")
		}
		return srv
	}
	stop := func(srv *server.Server) {
		srv.Shutdown()
		srv.WaitForShutdown()
	}
	srv := start()
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
			if seen > 0 && string(r.Data) == fmt.Sprint(seen-1) {
				return nil // that it was refused did not say that it was not written
			}
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

// frozen is a way to a server that can be made to pass nothing on.
type frozen struct {
	net.Listener
	to string
	mu sync.RWMutex // locked: frozen
}

func (f *frozen) serve() {
	for {
		in, err := f.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", f.to)
		if err != nil {
			in.Close()
			return
		}
		go f.pass(in, out)
		go f.pass(out, in)
	}
}

func (f *frozen) pass(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	for b := make([]byte, 32<<10); ; {
		n, err := from.Read(b)
		f.wait()
		if _, failed := to.Write(b[:n]); failed != nil || err != nil {
			return
		}
	}
}

// TestServerSilent: the first who ask a server that has fallen silent wait for
// its answer, all others are refused at once, and when it speaks again they are
// served at once.
func TestServerSilent(t *testing.T) {
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	defer func() { srv.Shutdown(); srv.WaitForShutdown() }()
	if !srv.ReadyForConnections(time.Minute) {
		t.Fatal("nats-server does not start")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	way := &frozen{Listener: ln, to: srv.Addr().String()}
	go way.serve()
	s, err := store.Open(t.Context(), store.Config{URL: "nats://" + ln.Addr().String(), Log: quiet(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l, table := openLog(t, s, 1), openTable(t, s)
	ask := map[string]func() error{
		"append": func() error { _, err := l.Append(t.Context(), []string{"k"}, nil); return err },
		"put":    func() error { _, err := table.Put(t.Context(), "k", thing{}); return err },
		"get":    func() error { _, _, err := table.Get(t.Context(), "k"); return err },
		"extent": func() error { _, err := l.Extent(t.Context()); return err },
	}
	for what, do := range ask {
		if err := do(); err != nil && what != "get" {
			t.Error(what, err)
		}
	}
	way.mu.Lock()
	var first sync.WaitGroup
	for _, what := range []string{"append", "get"} {
		first.Go(func() {
			if err := ask[what](); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s at a silent server: %v, want ErrUnavailable", what, err)
			}
		})
	}
	first.Wait()
	start := time.Now()
	for range 10 {
		for what, do := range ask {
			if err := do(); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s at a silent server: %v, want ErrUnavailable", what, err)
			}
		}
	}
	if took := time.Since(start); took > 30*time.Second { // each alone would have waited 5 s
		t.Errorf("40 requests were refused after %v", took)
	}
	way.mu.Unlock()
	for what, do := range ask {
		for err := do(); err != nil; err = do() {
			if time.Since(start) > time.Minute {
				t.Fatalf("%s after the silence: %v", what, err)
			}
		}
	}
}

// wait returns when nothing is frozen.
func (f *frozen) wait() {
	f.mu.RLock()
	defer f.mu.RUnlock()
}
