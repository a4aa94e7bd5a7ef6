package coap_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/farreach/farreach/coap"
)

// serving runs Serve until the test ends, and returns its address.
func serving(t testing.TB, accept func(nc net.Conn) *coap.Conn) (addr string, stop func() error) {
	t.Helper()
	ln := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- coap.Serve(ctx, ln, accept) }()
	var err error
	stopped := false
	stop = func() error {
		if !stopped {
			cancel()
			stopped, err = true, <-served
		}
		return err
	}
	t.Cleanup(func() { stop() })
	return ln.Addr().String(), stop
}

func dial(t testing.TB, addr string) *peer {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &peer{t: t, nc: nc}
}

// The end of Serve is orderly: a Release, the answers to what is open, the end.
func TestServeEnds(t *testing.T) {
	addr, stop := serving(t, func(nc net.Conn) *coap.Conn {
		return coap.Server(nc, coap.Config{Handler: slowHandler(50 * time.Millisecond)})
	})
	p := dial(t, addr)
	p.expect(coap.CSM)
	p.tell(request(1, "/slow"))
	p.send("08e2 0000000000000001") // so that the request has arrived
	p.expect(coap.Pong)
	go func() {
		p.expect(coap.Release)
		p.expect(coap.Content)
		p.nc.Close()
	}()
	if err := stop(); err != context.Canceled {
		t.Errorf("Serve = %v, want context.Canceled", err)
	}
	if nc, err := net.Dial("tcp", addr); err == nil {
		nc.Close()
		t.Error("the listener is open still")
	}
}

// accept may refuse.
func TestServeRefuses(t *testing.T) {
	addr, _ := serving(t, func(net.Conn) *coap.Conn { return nil })
	p := dial(t, addr)
	p.closed()
}

// Of strangers there are at most 512 from one address. The one that was silent
// longest has to go for a newcomer, unless it came less than 2 s ago; who is
// known stays.
func TestStrangers(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	conns := make(chan *coap.Conn, 2000)
	addr, _ := serving(t, func(nc net.Conn) *coap.Conn {
		c := coap.Server(nc, coap.Config{Handler: echo})
		conns <- c
		return c
	})
	known := dial(t, addr)
	known.expect(coap.CSM)
	(<-conns).Vouch()
	var all []*peer
	for range 512 {
		p := dial(t, addr)
		p.expect(coap.CSM)
		all = append(all, p)
	}
	dial(t, addr).closed() // all the others came just now
	time.Sleep(2100 * time.Millisecond)
	for _, p := range all[1:] { // all but one give a sign of life
		p.send("0000")
	}
	time.Sleep(100 * time.Millisecond)
	newcomer := dial(t, addr)
	newcomer.expect(coap.CSM)
	all[0].closed()
	dial(t, addr).closed()
	for _, p := range []*peer{known, all[1], newcomer} {
		p.tell(request(1, "/alive"))
		p.expect(coap.Content)
	}
	all[1].nc.Close() // makes room
	for range 50 {
		time.Sleep(10 * time.Millisecond)
		p := dial(t, addr)
		if m, err := p.read(); err == nil && m.Code == coap.CSM {
			return
		}
	}
	t.Error("no room although one has gone")
}

// flaky is a listener whose Accept fails a few times, and then for good.
type flaky struct {
	net.Listener
	calls atomic.Int64
	fail  chan struct{}
}

func (f *flaky) Accept() (net.Conn, error) {
	switch n := f.calls.Add(1); {
	case n < 4:
		return nil, passingError{}
	case n == 4:
		return f.Listener.Accept()
	}
	<-f.fail
	return nil, io.ErrUnexpectedEOF
}

type passingError struct{ error }

func (passingError) Error() string   { return "too many open files" }
func (passingError) Timeout() bool   { return false }
func (passingError) Temporary() bool { return true }

// A passing error of Accept is not the end, another one is; it comes after the
// connections have ended.
func TestServeErrors(t *testing.T) {
	ln := &flaky{Listener: listen(t), fail: make(chan struct{})}
	served := make(chan error, 1)
	go func() {
		served <- coap.Serve(t.Context(), ln, func(nc net.Conn) *coap.Conn { return coap.Server(nc, coap.Config{}) })
	}()
	p := dial(t, ln.Addr().String())
	p.expect(coap.CSM)
	close(ln.fail)
	p.expect(coap.Release)
	p.nc.Close()
	if err := <-served; !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Serve = %v", err)
	}
}

// The unfinished messages of all connections together are bounded.
func TestUnfinishedTogether(t *testing.T) {
	if testing.Short() {
		t.Skip("moves 80 MiB")
	}
	addr, _ := serving(t, func(nc net.Conn) *coap.Conn {
		return coap.Server(nc, coap.Config{Handler: echo, MaxMessage: 8 << 20})
	})
	var ps []*peer
	aborted := 0
	for range 10 {
		p := dial(t, addr)
		p.expect(coap.CSM)
		p.nc.SetWriteDeadline(time.Now().Add(5 * time.Second))
		p.nc.Write(append(unhex("f0 007e0000 02 ff"), make([]byte, 8<<20-70000)...)) // nearly 8 MiB
		ps = append(ps, p)
	}
	for _, p := range ps {
		p.nc.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		b := make([]byte, 100)
		if n, err := p.nc.Read(b); err == nil && n > 2 && b[1] == byte(coap.Abort) || n > 2 && b[2] == byte(coap.Abort) {
			aborted++
		}
		p.nc.Close()
	}
	if aborted == 0 || aborted > 4 {
		t.Errorf("%d of 10 connections were aborted, want about 2", aborted)
	}
	for range 100 { // what they held is given back
		p := dial(t, addr)
		p.expect(coap.CSM)
		p.write(unhex("f0 007e0000 02 ff"))
		p.write(make([]byte, 1<<20))
		p.nc.Close()
	}
}
