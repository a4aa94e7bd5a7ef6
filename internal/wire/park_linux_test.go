package wire

import (
	"net"
	"testing"
	"time"
)

// sleeper is a parked link, and counts how often it was woken.
type sleeper struct {
	link Link
	woke chan struct{}
}

func newSleeper(l Link) *sleeper { return &sleeper{l, make(chan struct{}, 9)} }

func (s *sleeper) Wake() { s.woke <- struct{}{} }

// awake waits for the call of Wake.
func (s *sleeper) awake(t *testing.T) {
	t.Helper()
	select {
	case <-s.woke:
	case <-time.After(time.Minute):
		t.Fatal("nobody was woken")
	}
}

// What is parked is woken by bytes, also by such as were there before, and by
// the end of the connection; once each time.
func TestPark(t *testing.T) {
	var lot Lot[*sleeper]
	defer lot.Close()
	near, far := sockets(t)
	s := newSleeper(New(near))
	for range 3 {
		if !lot.Park(s.link, s) {
			t.Fatal("a socket cannot be parked")
		}
		far.Write([]byte("ab"))
		s.awake(t)
		if b, err := s.link.Next(); err != nil || string(b.B) != "ab" {
			t.Fatalf("Next = %v, %v", b, err)
		}
	}
	far.Write([]byte("c")) // before
	if lot.Park(s.link, s); true {
		s.awake(t)
	}
	far.Close() // with the "c" still there
	if lot.Park(s.link, s); true {
		s.awake(t)
	}
	if len(s.woke) != 0 {
		t.Errorf("woken %d times too often", len(s.woke))
	}
}

// A link that was closed cannot be parked, and what was closed while it was
// parked leaves its descriptor, and its slot, to the next.
func TestParkClosed(t *testing.T) {
	var lot Lot[*sleeper]
	defer lot.Close()
	near, _ := sockets(t)
	old := newSleeper(New(near))
	if !lot.Park(old.link, old) {
		t.Fatal("a socket cannot be parked")
	}
	near.Close()
	if lot.Park(old.link, old) {
		t.Error("a closed socket is parked")
	}
	for range 50 { // some have the descriptor of the old one
		near, far := sockets(t)
		next := newSleeper(New(near))
		if !lot.Park(next.link, next) {
			t.Fatal("a socket cannot be parked")
		}
		lot.Forget(old.link, old) // late: the slot may be another's
		far.Write([]byte("x"))
		next.awake(t)
	}
	if len(old.woke) != 0 {
		t.Errorf("the closed one was woken %d times", len(old.woke))
	}
	for slot, w := range lot.slots {
		if w != nil && w != old {
			t.Errorf("slot %d is still taken", slot)
		}
	}
}

// What is no socket, or holds bytes that were read and not taken, is not
// parked; nor is anything after Close.
func TestParkRefuses(t *testing.T) {
	var lot Lot[*sleeper]
	pipe, _ := net.Pipe()
	near, _ := sockets(t)
	secure := Server(near, New(near), nil)
	for name, l := range map[string]Link{"a pipe": New(pipe), "TLS that may have more": secure} {
		if s := newSleeper(l); lot.Park(s.link, s) {
			t.Errorf("%s is parked", name)
		}
	}
	secure.dry = true
	if s := newSleeper(secure); !lot.Park(s.link, s) {
		t.Error("TLS that waits for ciphertext is not parked")
	}
	lot.Close()
	if s := newSleeper(secure); lot.Park(s.link, s) {
		t.Error("parked after Close")
	}
}
