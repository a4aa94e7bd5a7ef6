package wire

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

type guest struct {
	seen   time.Time
	closed bool
}

func (g *guest) LastSeen() time.Time { return g.seen }
func (g *guest) Close() error        { g.closed = true; return nil }

func addr(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip)} }

// When one too many comes from an address, the one of them that was silent
// longest goes, unless all have spoken just now; another address, and another
// /64 of IPv6, is not its neighbour.
func TestStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Strangers[*guest]
		oldest := &guest{seen: time.Now()}
		s.Add(oldest, addr("2001:db8::1"))
		time.Sleep(time.Second)
		for range maxPerAddress - 1 {
			s.Add(&guest{seen: time.Now()}, addr("2001:db8::2"))
		}
		if s.Room(addr("2001:db8::3")) {
			t.Error("room for one too many, and nobody was silent")
		}
		if !s.Room(addr("2001:db8:0:1::1")) || !s.Room(addr("192.0.2.1")) {
			t.Error("no room for others")
		}
		time.Sleep(time.Second)
		if !s.Room(addr("2001:db8::3")) || !oldest.closed || s.Has(oldest) {
			t.Error("the one that was silent longest did not go")
		}
		s.Remove(oldest) // again: counts once
		if len(s.from) != 1 || s.from[origin(addr("2001:db8::9"))] != maxPerAddress-1 {
			t.Errorf("left: %v", s.from)
		}
	})
}

// A full process makes room too, wherever the newcomer comes from.
func TestStrangersOfAllAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Strangers[*guest]
		for range maxStrangers {
			s.Add(&guest{seen: time.Now()}, nil)
		}
		if s.Room(addr("192.0.2.1")) {
			t.Error("room for one too many")
		}
		time.Sleep(strangerGrace)
		if !s.Room(addr("192.0.2.1")) || len(s.where) != maxStrangers-1 {
			t.Error("nobody had to go")
		}
	})
}

// The link over a socket reads what is there, writes until the socket is full
// and no further, and then with a deadline.
func TestDirect(t *testing.T) {
	near, far := sockets(t)
	l := New(near)
	if _, ok := l.(*direct); !ok {
		t.Fatalf("the link of a socket is a %T", l)
	}
	go far.Write([]byte("hello"))
	b, err := l.Next()
	if err != nil || string(b.B) != "hello" {
		t.Fatalf("Next = %q, %v", b.B, err)
	}
	b.Free()
	big, wrote := make([]byte, 64<<20), 0
	for {
		n, err := l.Try(big)
		if err != nil {
			t.Fatal(err)
		}
		if wrote += n; n < len(big) {
			break
		}
	}
	if l.WriteBefore(big, time.Now().Add(10*time.Millisecond)) == nil {
		t.Error("nobody reads, and all was written")
	}
	go io.Copy(io.Discard, far)
	if err := l.WriteBefore([]byte("end"), time.Now().Add(time.Minute)); err != nil {
		t.Error(err)
	}
	far.Close()
	if _, err := l.Next(); err == nil {
		t.Error("Next after the end")
	}
}

// Accept hands on what comes until its context ends, and closes the listener.
func TestAccept(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	got, done := make(chan net.Conn, 1), make(chan error, 1)
	go func() { done <- Accept(ctx, ln, func(nc net.Conn) { got <- nc }) }()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	(<-got).Close()
	cancel()
	if err := <-done; err != context.Canceled {
		t.Errorf("Accept = %v", err)
	}
}

// sockets returns the two ends of a connection.
func sockets(t *testing.T) (near, far net.Conn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if far, err = net.Dial("tcp", ln.Addr().String()); err == nil {
		near, err = ln.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}
