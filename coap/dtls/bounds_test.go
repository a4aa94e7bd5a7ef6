package dtls_test

import (
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/coap/dtls"
	"github.com/farreach/farreach/internal/simnet"
)

// conn is a Conn whose peers share a key with it. It ends with the test.
func conn(t *testing.T, pc *simnet.Socket, listen bool) *dtls.Conn {
	t.Helper()
	c := dtls.New(pc, dtls.Config{PSK: keys, PSKIdentity: []byte("lamp"), Listen: listen, Log: quiet})
	t.Cleanup(func() { c.Close() })
	return c
}

// reading has c read; what it read is counted when everything has arrived.
func reading(t *testing.T, c *dtls.Conn) (count func() int) {
	t.Helper()
	n := 0
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for b := make([]byte, 2048); ; n++ {
			if _, _, err := c.ReadFromUDPAddrPort(b); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		c.Close()
		<-ended
	})
	return func() int {
		synctest.Wait()
		return n
	}
}

func send(t *testing.T, c *dtls.Conn, to netip.AddrPort) {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort([]byte("hello"), to); err != nil {
		t.Fatal(err)
	}
}

// TestBad32Waiting: of what is written before the handshake is done, 16
// datagrams at most are sent after it. What arrives in the moment in which the
// handshake ends may be lost, as any datagram may.
func TestBad32Waiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(simnet.Config{})
		a, b := n.Listen("10.0.0.1:0"), n.Listen("10.0.0.2:5684")
		client, server := conn(t, a, false), conn(t, b, true)
		for range 40 { // nobody answers: the server does not read yet
			send(t, client, b.Addr())
		}
		if got := reading(t, server)(); got == 0 || got > 16 {
			t.Errorf("%d datagrams waited for the handshake, want 1 to 16", got)
		}
	})
}

// TestBad32Unread: a peer whose datagrams nobody reads has 256 of them kept,
// and 64 records that are not opened yet; what comes then is lost.
func TestBad32Unread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(simnet.Config{})
		a, b := n.Listen("10.0.0.1:0"), n.Listen("10.0.0.2:5684")
		client, server := conn(t, a, true), conn(t, b, false)
		reading(t, client)
		send(t, server, a.Addr()) // which has the server take what comes, without a reader
		synctest.Wait()
		if server.Security(a.Addr()) == nil {
			t.Fatal("no session")
		}
		for range 1000 {
			send(t, client, b.Addr())
			synctest.Wait()
		}
		const inHand = 8 // on the way from the one queue to the other
		if got := reading(t, server)(); got < 256+64 || got > 256+64+inHand {
			t.Errorf("%d datagrams were kept for a reader, want 320 and a few", got)
		}
	})
}

// TestBad32Sessions: there are 8,192 sessions at most, whoever began them.
func TestBad32Sessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(simnet.Config{})
		hub := n.Listen("10.0.0.1:5684")
		c := conn(t, hub, true)
		reading(t, c)
		nobody := func(i int) netip.AddrPort {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 5684)
		}
		for i := range 8191 {
			send(t, c, nobody(i))
		}
		last, late := n.Listen("10.0.0.2:0"), n.Listen("10.0.0.3:0")
		for _, peer := range []*simnet.Socket{last, late} {
			p := conn(t, peer, false)
			send(t, p, hub.Addr())
			synctest.Wait()
		}
		if c.Security(last.Addr()) == nil || c.Security(late.Addr()) != nil {
			t.Errorf("the 8,192nd session: %v; one more: %v", c.Security(last.Addr()), c.Security(late.Addr()))
		}
		if _, err := c.WriteToUDPAddrPort([]byte("hello"), nobody(8191)); !errors.Is(err, dtls.ErrRefused) {
			t.Errorf("one more session of ours: %v, want ErrRefused", err)
		}
	})
}

// TestBad32Idle: a session ends an hour after the last record of its peer.
func TestBad32Idle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(simnet.Config{})
		a, b := n.Listen("10.0.0.1:0"), n.Listen("10.0.0.2:5684")
		client, server := conn(t, a, false), conn(t, b, true)
		reading(t, server)
		reading(t, client)
		for i, silence := range []time.Duration{59 * time.Minute, 59 * time.Minute, 61 * time.Minute} {
			send(t, client, b.Addr())
			synctest.Wait()
			send(t, server, a.Addr()) // else the client would end it
			time.Sleep(silence)
			synctest.Wait()
			if there := server.Security(a.Addr()) != nil; there != (silence < time.Hour) {
				t.Errorf("%d: after %v without a record: there is a session: %t", i, silence, there)
			}
		}
	})
}
