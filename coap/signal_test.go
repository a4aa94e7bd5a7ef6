package coap_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/coap"
)

// Our CSM comes at once, without waiting for the peer's, and is ten bytes or
// more, with an eight-byte token (cloud-interface rules 1, 2, 3, 23).
func TestCSMComesFirst(t *testing.T) {
	for name, end := range map[string]func(net.Conn, coap.Config) *coap.Conn{"client": coap.Client, "server": coap.Server} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, "tcp", coap.Config{MaxMessage: 1152}, end)
			m := p.expect(coap.CSM)
			if m.Token.Len() != 8 {
				t.Errorf("token %v, want eight bytes", m.Token)
			}
			if size, _ := m.Options.Uint(coap.CSMMaxMessageSize); size != 1152 {
				t.Errorf("Max-Message-Size %d, want 1152", size)
			}
			if m.Options.Has(coap.CSMBlockWiseTransfer) {
				t.Error("CSM announces block-wise transfer")
			}
			if b, _ := m.Append(coap.TCP, nil); len(b) < 10 {
				t.Errorf("CSM of %d bytes, want 10 or more", len(b))
			}
		})
	}
}

// Requests are answered before, after and without a CSM (rule 1).
func TestRequestsNeedNoCSM(t *testing.T) {
	overEachWire(t, coap.Config{Handler: echo}, func(t *testing.T, p *peer) {
		p.expect(coap.CSM)
		for i := range uint64(3) {
			p.tell(request(i, "/oic/res"))
			if m := p.expect(coap.Content); m.Token != coap.TokenFrom(i) || string(m.Payload) != "/oic/res" {
				t.Errorf("answer %v %q", m, m.Payload)
			}
			if i == 1 {
				p.sendCSM()
			}
		}
	})
}

// Settings of several CSMs add up (RFC 8323, section 5.3).
func TestCSMsAddUp(t *testing.T) {
	p := servePeer(t, "tcp", coap.Config{})
	p.expect(coap.CSM)
	most := int(min(uint64(math.MaxUint32), math.MaxInt)) // on 32 bits too
	steps := []struct {
		name, send string
		want       coap.PeerSettings
	}{
		{"nothing yet", "", coap.PeerSettings{MaxMessage: 6144}},
		{"empty, as go-coap's", "08e1 0000000000000001", coap.PeerSettings{MaxMessage: 6144, SentCSM: true}},
		{"Max-Message-Size 1152", "30e1 22 0480", coap.PeerSettings{MaxMessage: 1152, SentCSM: true}},
		{"Block-Wise-Transfer", "10e1 40", coap.PeerSettings{MaxMessage: 1152, BlockWise: true, SentCSM: true}},
		{"Max-Message-Size 4294967295", "50e1 24 ffffffff", coap.PeerSettings{MaxMessage: most, BlockWise: true, SentCSM: true}},
		{"unknown elective option", "20e1 61 07", coap.PeerSettings{MaxMessage: most, BlockWise: true, SentCSM: true}},
		{"Max-Message-Size of five bytes is ignored", "60e1 25 0000000001", coap.PeerSettings{MaxMessage: most, BlockWise: true, SentCSM: true}},
	}
	for _, s := range steps {
		p.send(s.send)
		p.tell(&coap.Message{Code: coap.Ping, Token: coap.TokenFrom(1)})
		p.expect(coap.Pong)
		if got := p.conn.Peer(); got != s.want {
			t.Errorf("%s: Peer = %+v, want %+v", s.name, got, s.want)
		}
	}
}

// What is longer than the peer takes goes to the caller, not to the peer.
func TestMaxMessageSizeOfPeer(t *testing.T) {
	long := func(n int) *coap.Message { return &coap.Message{Code: coap.POST, Payload: make([]byte, n)} }
	p := servePeer(t, "tcp", coap.Config{Handler: coap.HandlerFunc(func(x *coap.Exchange) {
		if err := x.Reply(&coap.Message{Code: coap.Content, Payload: make([]byte, 2000)}); errors.Is(err, coap.ErrTooLarge) {
			x.Reply(&coap.Message{Code: coap.InternalServerError})
		}
	})})
	p.expect(coap.CSM)
	if _, err := p.conn.Do(t.Context(), long(6200)); !errors.Is(err, coap.ErrTooLarge) {
		t.Errorf("6,200 bytes to a peer without CSM: %v, want ErrTooLarge (rule 8)", err)
	}
	p.tell(request(1, "/"))
	p.expect(coap.Content)
	p.send("30e1 22 0480") // 1,152 bytes
	p.tell(request(2, "/"))
	if m := p.expect(coap.InternalServerError); m.Token != coap.TokenFrom(2) {
		t.Errorf("answer %v", m)
	}
	// The size is that of the whole message: three bytes of length, code, eight
	// of token, marker.
	if _, err := p.conn.Do(t.Context(), long(1152-12)); !errors.Is(err, coap.ErrTooLarge) {
		t.Errorf("1,153 bytes: %v, want ErrTooLarge", err)
	}
	go func() {
		b := p.next()
		p.tell(&coap.Message{Code: coap.Changed, Token: b.Token})
	}()
	if _, err := p.conn.Do(t.Context(), long(1152-13)); err != nil {
		t.Errorf("1,152 bytes: %v", err)
	}
}

// SetMaxMessage says so in a further CSM and takes more from then on.
func TestSetMaxMessage(t *testing.T) {
	p := servePeer(t, "tcp", coap.Config{Handler: echo, MaxMessage: 1000})
	p.expect(coap.CSM)
	p.conn.SetMaxMessage(5000)
	if size, _ := p.expect(coap.CSM).Options.Uint(coap.CSMMaxMessageSize); size != 5000 {
		t.Errorf("Max-Message-Size %d, want 5000", size)
	}
	m := request(1, "/a")
	m.Payload = make([]byte, 4000)
	p.tell(m)
	p.expect(coap.Content)
}

// A Ping is answered with its token, whatever its length (rule 10), and by at
// least six bytes if the peer sent no CSM.
func TestPingPong(t *testing.T) {
	overEachWire(t, coap.Config{}, func(t *testing.T, p *peer) {
		p.expect(coap.CSM)
		p.send("08e2 1122334455667788")
		if m := p.expect(coap.Pong); m.Token.String() != "1122334455667788" || len(m.Options) != 0 {
			t.Errorf("Pong %v", m)
		}
		p.send("18e2 1122334455667788 20")
		if m := p.expect(coap.Pong); !m.Options.Has(coap.PingCustody) {
			t.Errorf("Pong to a Ping with Custody has none: %v", m)
		}
		p.send("01e2 42")
		m := p.expect(coap.Pong)
		if b, _ := m.Append(coap.TCP, nil); m.Token.String() != "42" || len(b) < 6 {
			t.Errorf("Pong %v, % x", m, b)
		}
		p.sendCSM()
		p.send("01e2 42")
		if m := p.expect(coap.Pong); m.Token.String() != "42" {
			t.Errorf("Pong %v", m)
		}
	})
}

// A Pong with Custody comes behind the answers to all earlier requests, also
// those that take long, and holds up nothing behind it (RFC 8323, section
// 5.4.1).
func TestCustodyWaits(t *testing.T) {
	slow := make(chan struct{})
	p := servePeer(t, "tcp", coap.Config{Handler: coap.HandlerFunc(func(x *coap.Exchange) {
		if x.Request().Options.Path() != "/slow" {
			echo(x)
			return
		}
		x.Go(func(context.Context) {
			<-slow
			echo(x)
		})
	})})
	p.expect(coap.CSM)
	p.sendCSM()
	p.tell(request(1, "/slow"))
	p.send("18e2 0000000000000001 20") // Custody
	p.send("08e2 0000000000000002")    // none
	p.tell(request(3, "/quick"))
	p.tell(request(4, "/slow"))
	p.send("18e2 0000000000000005 20")
	if m := p.expect(coap.Pong); m.Token != coap.TokenFrom(2) {
		t.Fatalf("first Pong has token %v", m.Token)
	}
	if m := p.expect(coap.Content); m.Token != coap.TokenFrom(3) {
		t.Fatalf("first answer has token %v", m.Token)
	}
	slow <- struct{}{}
	slow <- struct{}{}
	var order []string
	for range 4 {
		m := p.next()
		order = append(order, m.Code.String()+" "+m.Token.String()[15:])
	}
	answers := []string{"2.05 Content 1", "2.05 Content 4"}
	for _, pong := range []struct{ after, pong string }{{answers[0], "Pong 1"}, {answers[1], "Pong 5"}} {
		if i := slices.Index(order, pong.pong); i < 0 || i < slices.Index(order, pong.after) {
			t.Errorf("order %q: %s must come after %s", order, pong.pong, pong.after)
		}
	}
}

// Our Ping takes a Pong without token, as libcoap sends it, for the answer.
func TestPingTakesPongWithoutToken(t *testing.T) {
	p := servePeer(t, "tcp", coap.Config{})
	p.expect(coap.CSM)
	go func() {
		if m := p.expect(coap.Ping); m.Token.Len() != 8 || !m.Options.Has(coap.PingCustody) {
			t.Errorf("Ping %v", m)
		}
		p.send("08e3 0000000000000099") // a stranger's
		p.send("10e3 20")
	}()
	if done, err := p.conn.Custody(t.Context()); !done || err != nil {
		t.Errorf("Custody = %v, %v", done, err)
	}
}

// A Pong with Custody waits for what the application has in a queue, and has no
// Custody if that came to nothing (RFC 8323, section 5.4.1).
func TestCustodyOfNotifications(t *testing.T) {
	settle := make(chan func(bool), 3)
	p := servePeer(t, "tcp", coap.Config{Settle: func(_ *coap.Conn, then func(bool)) { settle <- then }})
	p.expect(coap.CSM)
	p.sendCSM()
	p.send("18e2 0000000000000001 20")
	p.send("18e2 0000000000000002 20")
	first, second := <-settle, <-settle
	second(true)
	p.send("08e2 0000000000000003")
	if m := p.expect(coap.Pong); m.Token != coap.TokenFrom(3) {
		t.Errorf("Pong %v before anything is dealt with", m.Token)
	}
	first(false)
	for i, want := range []bool{false, true} {
		if m := p.expect(coap.Pong); m.Token != coap.TokenFrom(uint64(i+1)) || m.Options.Has(coap.PingCustody) != want {
			t.Errorf("Pong %v, Custody %v, want %d and %v", m.Token, m.Options.Has(coap.PingCustody), i+1, want)
		}
	}
}

// A flood of Pings whose Pongs nobody reads costs no memory, with Custody or
// without: the peer is not read either.
func TestBad25FloodOfPings(t *testing.T) {
	for name, ping := range map[string]string{"bare": "08e2 0000000000000001", "custody": "18e2 0000000000000001 20"} {
		for when, settle := range map[string]func(*coap.Conn, func(bool)){
			"without queue": nil,
			"at once":       func(_ *coap.Conn, then func(bool)) { then(true) },
			"never":         func(*coap.Conn, func(bool)) {},
		} {
			t.Run(name+" "+when, func(t *testing.T) {
				cfg := coap.Config{Settle: settle}
				p := servePeer(t, "pipe", cfg)
				flood := bytes.Repeat(unhex(ping), 1000)
				sent := 0
				for ; sent < 64<<20; sent += len(flood) {
					p.nc.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
					if _, err := p.nc.Write(flood); err != nil {
						break
					}
				}
				if sent > 1<<20 {
					t.Errorf("%d bytes of Pings were taken", sent)
				}
			})
		}
	}
}

// A peer's Release lets the open exchanges of both sides end, takes no new
// requests of ours, and then ends the connection (RFC 8323, section 5.5).
func TestReleaseByPeer(t *testing.T) {
	overEachWire(t, coap.Config{Handler: slowHandler(50 * time.Millisecond)}, func(t *testing.T, p *peer) {
		p.expect(coap.CSM)
		p.sendCSM()
		asked := make(chan error, 1)
		go func() {
			_, err := p.conn.Do(t.Context(), get("/ours"))
			asked <- err
		}()
		ours := p.expect(coap.GET)
		p.tell(request(1, "/theirs"))
		rel := &coap.Message{Code: coap.Release, Token: coap.TokenFrom(2), Payload: []byte("bye")}
		rel.AddString(coap.ReleaseAlternativeAddress, "a.example:5684")
		rel.AddString(coap.ReleaseAlternativeAddress, "b.example:5684")
		rel.AddUint(coap.ReleaseHoldOff, 3)
		p.tell(rel)
		if m := p.expect(coap.Content); m.Token != coap.TokenFrom(1) {
			t.Errorf("answer %v", m)
		}
		var released *coap.ReleaseError
		if _, err := p.conn.Do(t.Context(), get("/new")); !errors.As(err, &released) {
			t.Errorf("new request: %v, want *ReleaseError", err)
		}
		p.tell(&coap.Message{Code: coap.Content, Token: ours.Token})
		if err := <-asked; err != nil {
			t.Errorf("open request: %v", err)
		}
		p.closed()
		if err := p.reason(); !errors.As(err, &released) {
			t.Fatalf("Run = %v, want *ReleaseError", err)
		}
		want := []string{"a.example:5684", "b.example:5684"}
		if !slices.Equal(released.Alternatives, want) || released.HoldOff != 3*time.Second || released.Diagnostic != "bye" {
			t.Errorf("released %+v", released)
		}
	})
}

// slowHandler answers after d.
func slowHandler(d time.Duration) coap.Handler {
	return coap.HandlerFunc(func(x *coap.Exchange) {
		x.Go(func(ctx context.Context) {
			select {
			case <-time.After(d):
				echo(x)
			case <-ctx.Done():
			}
		})
	})
}

// Our Release comes without options to a peer that sent no CSM: classic peers
// read others out of them.
func TestReleaseOptionsNeedCSM(t *testing.T) {
	for _, sent := range []bool{false, true} {
		p := servePeer(t, "tcp", coap.Config{})
		p.expect(coap.CSM)
		if sent {
			p.sendCSM()
			p.send("08e2 1122334455667788")
			p.expect(coap.Pong)
		}
		go p.conn.Shutdown(t.Context(), coap.ReleaseInfo{Alternatives: []string{"b:1"}, HoldOff: time.Minute})
		m := p.expect(coap.Release)
		if got := len(m.Options) == 2; got != sent || m.Token.Len() != 8 {
			t.Errorf("peer sent CSM %v: Release %v", sent, m)
		}
		p.nc.Close()
		if err := p.reason(); err != coap.ErrClosed {
			t.Errorf("Run = %v, want ErrClosed", err)
		}
	}
}

// Our Shutdown finishes what is open and waits a moment for the peer to close.
func TestShutdownFinishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := servePeer(t, "pipe", coap.Config{Handler: slowHandler(3 * time.Second)})
		p.expect(coap.CSM)
		p.tell(request(1, "/slow"))
		synctest.Wait()
		start := time.Now()
		done := make(chan error, 1)
		go func() { done <- p.conn.Shutdown(t.Context()) }()
		p.expect(coap.Release)
		p.expect(coap.Content)
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("open request answered after %v, want 3s", took)
		}
		p.closed()
		if err := <-done; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if took := time.Since(start); took != 4*time.Second {
			t.Errorf("closed after %v, want 4s", took)
		}
	})
}

// What the peer asked before our Release reached it is finished too.
func TestShutdownFinishesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := servePeer(t, "pipe", coap.Config{Handler: slowHandler(3 * time.Second)})
		p.expect(coap.CSM)
		done := make(chan error, 1)
		go func() { done <- p.conn.Shutdown(t.Context()) }()
		p.expect(coap.Release)
		synctest.Wait()
		p.tell(request(1, "/late"))
		if m := p.expect(coap.Content); m.Token != coap.TokenFrom(1) {
			t.Errorf("answer %v", m)
		}
		p.closed()
		if err := <-done; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

// Releases that meet on the way: neither side waits for the other to close first.
func TestReleasesCross(t *testing.T) {
	for _, open := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := servePeer(t, "pipe", coap.Config{Handler: slowHandler(3 * time.Second)})
			p.expect(coap.CSM)
			want := time.Duration(0)
			if open {
				p.tell(request(1, "/slow"))
				want = 3 * time.Second
			}
			synctest.Wait()
			start := time.Now()
			done := make(chan error, 1)
			go func() { done <- p.conn.Shutdown(t.Context()) }()
			p.expect(coap.Release)
			p.tell(&coap.Message{Code: coap.Release, Token: coap.TokenFrom(2)})
			if open {
				p.tell(&coap.Message{Code: coap.Release, Token: coap.TokenFrom(3)}) // nothing new
				p.expect(coap.Content)
			}
			p.closed()
			if err := <-done; err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			if took := time.Since(start); took != want {
				t.Errorf("closed after %v, want %v", took, want)
			}
			if err := p.reason(); err != coap.ErrClosed {
				t.Errorf("Run = %v, want ErrClosed", err)
			}
		})
	}
}

// Shutdown gives up with its context.
func TestShutdownGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := servePeer(t, "pipe", coap.Config{Handler: slowHandler(time.Hour)})
		p.expect(coap.CSM)
		p.tell(request(1, "/slow"))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		go p.expect(coap.Release)
		if err := p.conn.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v, want deadline exceeded", err)
		}
		if err := p.reason(); err != coap.ErrClosed {
			t.Errorf("Run = %v", err)
		}
	})
}

// The end of Run's context is an orderly end.
func TestRunContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far, near := net.Pipe()
		p := &peer{t: t, nc: far}
		ctx, cancel := context.WithCancel(t.Context())
		c := coap.Server(near, coap.Config{})
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		p.expect(coap.CSM)
		cancel()
		p.expect(coap.Release)
		far.Close()
		if err := <-ended; err != context.Canceled {
			t.Errorf("Run = %v, want context.Canceled", err)
		}
	})
}

// Signals that we cannot bear are answered with Abort and the end (RFC 8323,
// section 5.2). Bad-CSM-Option is 1 for 10e110.
func TestUnknownCriticalOption(t *testing.T) {
	for _, v := range []struct {
		name, send string
		option     uint32
	}{
		{"CSM option 1", "10e1 10", 1},
		{"CSM option 259", "20e1 d0 f6", 259},
		{"Ping option 3", "18e2 0000000000000001 30", 0},
		{"Pong option 1", "18e3 0000000000000001 10", 0},
		{"Release option 5", "18e4 0000000000000001 50", 0},
	} {
		t.Run(v.name, func(t *testing.T) {
			p := servePeer(t, "tcp", coap.Config{})
			p.expect(coap.CSM)
			p.send(v.send)
			m := p.expect(coap.Abort)
			if got, _ := m.Options.Uint(coap.AbortBadCSMOption); got != v.option || m.Token.Len() != 8 || len(m.Payload) == 0 {
				t.Errorf("Abort %v, Bad-CSM-Option %d, %q", m, got, m.Payload)
			}
			p.closed()
			if _, ok := errors.AsType[*coap.FormatError](p.reason()); !ok {
				t.Error("reason is no *FormatError")
			}
		})
	}
}

// Empty messages, reserved classes and unassigned signals are ignored.
func TestIgnored(t *testing.T) {
	overEachWire(t, coap.Config{Handler: echo}, func(t *testing.T, p *peer) {
		p.expect(coap.CSM)
		for _, s := range []string{"0000", "0020", "0820 1122334455667788", "00c1", "00e0", "00e9", "10ff 20", "01450a"} {
			p.send(s)
		}
		p.tell(request(1, "/alive"))
		p.expect(coap.Content)
	})
}

// A peer's Abort ends the connection, and says why.
func TestAbortByPeer(t *testing.T) {
	p := servePeer(t, "tcp", coap.Config{})
	p.expect(coap.CSM)
	asked := make(chan error, 1)
	go func() {
		_, err := p.conn.Do(t.Context(), get("/"))
		asked <- err
	}()
	p.expect(coap.GET)
	p.send("60e5 21 02 ff 626164")
	p.closed()
	err := <-asked
	abort, ok := errors.AsType[*coap.AbortError](err)
	if !ok || !errors.Is(err, coap.ErrClosed) || abort.BadCSMOption != 2 || abort.Diagnostic != "bad" {
		t.Errorf("Do: %v", err)
	}
}

// Abort tells the peer, and closes the socket without waiting for it (rule 17).
func TestAbort(t *testing.T) {
	overEachWire(t, coap.Config{}, func(t *testing.T, p *peer) {
		p.expect(coap.CSM)
		p.conn.Abort("signed in elsewhere")
		if m := p.expect(coap.Abort); string(m.Payload) != "signed in elsewhere" {
			t.Errorf("diagnostic %q", m.Payload)
		}
		p.closed()
		if err := p.reason(); err != coap.ErrClosed {
			t.Errorf("Run = %v", err)
		}
	})
}
