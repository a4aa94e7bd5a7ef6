package coap_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
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

// memory is a listener in memory.
type memory struct {
	conns chan net.Conn
	ended chan struct{}
}

func (m memory) Addr() net.Addr { return &net.TCPAddr{} }
func (m memory) Close() error   { close(m.ended); return nil }

func (m memory) Accept() (net.Conn, error) {
	select {
	case nc := <-m.conns:
		return nc, nil
	case <-m.ended:
		return nil, net.ErrClosed
	}
}

// located is a net.Conn from a certain address.
type located struct {
	net.Conn
	ip net.IP
}

func (l located) RemoteAddr() net.Addr { return &net.TCPAddr{IP: l.ip} }

// strangers runs f within a bubble in which connect connects from an address.
func strangers(t *testing.T, f func(t *testing.T, connect func(ip net.IP) *peer, conns <-chan *coap.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		ln := memory{conns: make(chan net.Conn), ended: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		conns, served := make(chan *coap.Conn, 10000), make(chan error, 1)
		go func() {
			served <- coap.Serve(ctx, once{ln, new(sync.Once)}, func(nc net.Conn) *coap.Conn {
				c := coap.Server(nc, coap.Config{Handler: echo, KeepAlive: -1})
				conns <- c
				return c
			})
		}()
		var ps []*peer
		f(t, func(ip net.IP) *peer {
			far, near := net.Pipe()
			ln.conns <- located{near, ip}
			p := &peer{t: t, nc: far, wait: time.Hour}
			ps = append(ps, p)
			return p
		}, conns)
		for _, p := range ps {
			p.nc.Close()
		}
		cancel()
		if err := <-served; err != context.Canceled {
			t.Errorf("Serve = %v", err)
		}
	})
}

// once is a listener that may be closed several times.
type once struct {
	memory
	once *sync.Once
}

func (o once) Close() error {
	o.once.Do(func() { o.memory.Close() })
	return nil
}

// Of strangers there are at most 512 from one address. The one that was silent
// longest has to go for a newcomer, unless it came less than 2 s ago; who is
// known stays.
func TestStrangersOfOneAddress(t *testing.T) {
	strangers(t, func(t *testing.T, connect func(net.IP) *peer, conns <-chan *coap.Conn) {
		here, elsewhere := net.ParseIP("2001:db8:1:2::1"), net.ParseIP("2001:db8:1:3::1")
		known := connect(here)
		known.expect(coap.CSM)
		(<-conns).Vouch()
		var all []*peer
		for i := range 512 {
			here[15] = byte(i) // all of one /64
			p := connect(here)
			p.expect(coap.CSM)
			all = append(all, p)
		}
		connect(here).closed() // the others came just now
		connect(elsewhere).expect(coap.CSM)
		time.Sleep(2 * time.Second)
		for _, p := range all[1:] { // all but one give a sign of life
			p.send("0000")
		}
		synctest.Wait()
		newcomer := connect(here)
		newcomer.expect(coap.CSM)
		all[0].closed()
		connect(here).closed()
		for _, p := range []*peer{known, all[1], newcomer} {
			p.tell(request(1, "/alive"))
			p.expect(coap.Content)
		}
		all[1].nc.Close() // makes room
		synctest.Wait()
		connect(here).expect(coap.CSM)
	})
}

// And there are at most 4,096 in all.
func TestStrangersInAll(t *testing.T) {
	strangers(t, func(t *testing.T, connect func(net.IP) *peer, conns <-chan *coap.Conn) {
		for i := range 4096 {
			connect(net.IPv4(10, 0, byte(i>>8), byte(i))).expect(coap.CSM)
		}
		connect(net.IPv4(10, 1, 0, 0)).closed()
		for range 100 {
			(<-conns).Vouch()
		}
		for i := range 100 {
			connect(net.IPv4(10, 1, 0, byte(i))).expect(coap.CSM)
		}
		connect(net.IPv4(10, 1, 0, 0)).closed()
		time.Sleep(2 * time.Second)
		connect(net.IPv4(10, 1, 0, 0)).expect(coap.CSM)
	})
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

type passingError struct{}

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
	for range 10 {
		p := dial(t, addr)
		p.expect(coap.CSM)
		p.nc.SetWriteDeadline(time.Now().Add(time.Minute))
		p.nc.Write(append(unhex("f0 007e0000 02 ff"), make([]byte, 8<<20-70000)...)) // nearly 8 MiB
		ps = append(ps, p)
	}
	aborted := 0
	for start := time.Now(); aborted == 0 && time.Since(start) < 15*time.Second; { // shorter than a message may take
		for _, p := range ps {
			p.nc.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			b := make([]byte, 100)
			if n, err := p.nc.Read(b); err == nil && n > 2 && b[1] == byte(coap.Abort) || n > 2 && b[2] == byte(coap.Abort) {
				aborted++
			}
		}
	}
	for _, p := range ps {
		p.nc.Close()
	}
	if aborted == 0 || aborted > 4 {
		t.Errorf("%d of 10 connections were aborted, want about 2", aborted)
	}
	for range 20 { // what they held is given back
		p := dial(t, addr)
		p.expect(coap.CSM)
		p.write(unhex("f0 007e0000 02 ff"))
		p.write(make([]byte, 1<<20))
		p.nc.Close()
	}
}
