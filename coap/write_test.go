package coap_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/coap"
)

// seen is a net.Conn that notes each write, as the peer's end of the wire sees
// it; over TLS, each record. Being no socket it is read and written plainly.
type seen struct {
	net.Conn
	mu     sync.Mutex
	writes [][]byte
}

func (s *seen) Write(b []byte) (int, error) {
	s.mu.Lock()
	s.writes = append(s.writes, bytes.Clone(b))
	s.mu.Unlock()
	return s.Conn.Write(b)
}

// since returns the writes after the first n.
func (s *seen) since(n int) [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes[n:]
}

// frames counts the messages in b, which must be whole.
func frames(t *testing.T, b []byte) (n int) {
	t.Helper()
	for ; len(b) > 0; n++ {
		var m coap.Message
		took, err := m.Parse(coap.TCP, b, 1<<20)
		if err != nil {
			t.Fatalf("a write that ends within a message: %v", err)
		}
		b = b[took:]
	}
	return n
}

// All that one read brought is answered with one write; but with one write for
// each frame if the peer sent no CSM (rules 3 and 4).
func TestAnswersOfOneRead(t *testing.T) {
	const requests = 16
	var batch []byte
	for i := range requests {
		m := request(uint64(i), "/a/light")
		batch, _ = m.Append(coap.TCP, batch)
	}
	for _, sentCSM := range []bool{true, false} {
		t.Run(fmt.Sprintf("CSM %v", sentCSM), func(t *testing.T) {
			far, near := net.Pipe()
			wire := &seen{Conn: near}
			p := &peer{t: t, nc: far}
			run(t, coap.Server(wire, coap.Config{Handler: echo}))
			p.expect(coap.CSM)
			if sentCSM {
				p.sendCSM()
			}
			p.write(batch)
			for range requests {
				p.expect(coap.Content)
			}
			far.Close()
			want := 1
			if !sentCSM {
				want = requests
			}
			writes := wire.since(1)
			if len(writes) != want {
				t.Errorf("%d writes, want %d", len(writes), want)
			}
			for _, w := range writes {
				if n := frames(t, w); n != requests/want {
					t.Errorf("%d frames in a write, want %d", n, requests/want)
				}
			}
		})
	}
}

// recorded is the peer's end of a TLS connection. It counts the records with
// application data that arrive.
type recorded struct {
	net.Conn
	in      []byte
	records int
}

func (r *recorded) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	r.in = append(r.in, b[:n]...)
	for len(r.in) >= 5 {
		size := 5 + int(r.in[3])<<8 + int(r.in[4])
		if len(r.in) < size {
			break
		}
		if r.in[0] == 23 {
			r.records++
		}
		r.in = r.in[size:]
	}
	return n, err
}

// Over TLS there is one record for each frame towards a peer that sent no CSM,
// and one for all answers to one read else (rule 4).
func TestRecords(t *testing.T) {
	const requests = 10
	for _, sentCSM := range []bool{true, false} {
		t.Run(fmt.Sprintf("CSM %v", sentCSM), func(t *testing.T) {
			a, b := pair(t)
			wire := &recorded{Conn: a}
			cfg := clientTLS()
			cfg.MaxVersion = tls.VersionTLS12 // iotivity-lite's; application data only where it is
			p := &peer{t: t, nc: tls.Client(wire, cfg)}
			run(t, coap.Server(b, coap.Config{Handler: echo, TLS: serverTLS()}))
			var batch []byte
			if sentCSM {
				batch, _ = (&coap.Message{Code: coap.CSM}).Append(coap.TCP, nil)
			}
			for i := range requests {
				batch, _ = request(uint64(i), "/a/light").Append(coap.TCP, batch)
			}
			p.expect(coap.CSM)
			before := wire.records
			p.write(batch)
			for range requests {
				p.expect(coap.Content)
			}
			want := requests
			if sentCSM {
				want = 1
			}
			if got := wire.records - before; got != want {
				t.Errorf("%d records, want %d", got, want)
			}
		})
	}
}

// No frame to a peer that sent no CSM is shorter than six bytes, and what makes
// it longer changes nothing (rule 3).
func TestNoShortFrames(t *testing.T) {
	etag := coap.Options{{Number: coap.ETag}}
	age := coap.Options{{Number: coap.MaxAge}}
	for i, resp := range []*coap.Message{
		{Code: coap.Changed},
		{Code: coap.Changed, Payload: []byte("x")},
		{Code: coap.Changed, Options: etag},
		{Code: coap.Changed, Options: age},
		{Code: coap.Changed, Options: coap.Options{{Number: coap.MaxAge, Value: []byte{9}}}},
		{Code: coap.Changed, Options: append(etag, age...)},
	} {
		p := servePeer(t, "tcp", coap.Config{Handler: coap.HandlerFunc(func(x *coap.Exchange) { x.Reply(resp) })})
		p.expect(coap.CSM)
		for _, token := range []string{"", "aa", "aabbccdd"} {
			p.write(append([]byte{byte(len(token) / 2), byte(coap.GET)}, unhex(token)...))
			m := p.expect(coap.Changed)
			if b, _ := m.Append(coap.TCP, nil); len(b) < 6 {
				t.Errorf("answer %d: % x is too short", i, b)
			}
			if m.Token.String() != token || !bytes.Equal(m.Payload, resp.Payload) || m.Options.Has(coap.ETag) != resp.Options.Has(coap.ETag) {
				t.Errorf("answer %d came as %v", i, m)
			}
			want, ok := resp.Options.Uint(coap.MaxAge)
			if !ok {
				want = 60
			}
			if got, ok := m.Options.Uint(coap.MaxAge); ok && got != want {
				t.Errorf("answer %d: Max-Age %d, want %d", i, got, want)
			}
		}
		if err := p.conn.Send(t.Context(), &coap.Message{}); err == nil {
			t.Error("Empty was sent to a peer without CSM")
		}
		p.sendCSM()
		p.send("01e2 aa")
		p.expect(coap.Pong)
		p.send("0001")
		if m := p.expect(coap.Changed); len(m.Options) != len(resp.Options) {
			t.Errorf("after the CSM the answer is %v", m)
		}
	}
}

// TestBad25ReaderThatNeverReads: a peer that sends requests and takes no answer
// is not read any more, and is gone 10 s after the socket was full.
func TestBad25ReaderThatNeverReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far, near := net.Pipe()
		served := 0
		c := coap.Server(near, coap.Config{Handler: coap.HandlerFunc(func(x *coap.Exchange) {
			served++
			x.Reply(&coap.Message{Code: coap.Content, Payload: make([]byte, 1000)})
		})})
		ended := make(chan error, 1)
		start := time.Now()
		go func() { ended <- c.Run(t.Context()) }()
		for i := 0; ; i++ {
			b, _ := request(uint64(i), "/a/light").Append(coap.TCP, nil)
			if _, err := far.Write(b); err != nil {
				break
			}
		}
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Run = %v, want a time-out", err)
		}
		if served > 300 {
			t.Errorf("%d requests were served", served)
		}
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("ended after %v, want 10s", took)
		}
	})
}

// The same over a real socket: the memory that the peer costs stays bounded,
// and another connection is not harmed.
func TestBad25OverSocket(t *testing.T) {
	body := make([]byte, 10000)
	h := coap.HandlerFunc(func(x *coap.Exchange) { x.Reply(&coap.Message{Code: coap.Content, Payload: body}) })
	p := servePeer(t, "tcp", coap.Config{Handler: h})
	honest := servePeer(t, "tcp", coap.Config{Handler: h})
	p.sendCSM()
	var batch []byte
	for i := range 100 {
		batch, _ = request(uint64(i), "/a/light").Append(coap.TCP, batch)
	}
	sent := 0
	for {
		p.nc.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		n, err := p.nc.Write(batch)
		if sent += n; err != nil {
			break
		}
		if sent > 64<<20 {
			t.Fatal("64 MiB of requests were taken without one answer read")
		}
	}
	honest.expect(coap.CSM)
	honest.sendCSM()
	honest.tell(request(1, "/"))
	honest.expect(coap.Content)
	// The stuck one can still be closed, if that was not done after 10 s.
	p.conn.Close()
	if err := p.reason(); err != coap.ErrClosed && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Run = %v", err)
	}
}

// Send waits while the queue is full, for its context at most.
func TestSendIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far, near := net.Pipe()
		c := run(t, coap.Server(near, coap.Config{}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		n := 0
		for ; n < 10000; n++ {
			if err := c.Send(ctx, &coap.Message{Code: coap.Content, Token: coap.TokenFrom(1), Payload: []byte("on")}); err != nil {
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Send: %v", err)
				}
				break
			}
		}
		if n > 300 {
			t.Errorf("%d messages were queued", n)
		}
		if _, err := c.Observe(get("/"), func(*coap.Message, error) {}); err == nil {
			t.Error("Observe found room in a full queue")
		}
		p := &peer{t: t, nc: far}
		p.expect(coap.CSM)
		for range n {
			p.expect(coap.Content)
		}
		if err := c.Send(t.Context(), &coap.Message{Code: coap.Content, Token: coap.TokenFrom(1)}); err != nil {
			t.Errorf("Send after the queue was taken: %v", err)
		}
		p.expect(coap.Content)
	})
}

// A message that the peer does not take leaves nothing behind, not even while
// the peer reads nothing and another goroutine waits for the socket.
func TestTooLargeLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far, near := net.Pipe()
		c := run(t, coap.Server(near, coap.Config{}))
		<-c.Ready() // the CSM waits for the socket
		large := &coap.Message{Code: coap.Content, Token: coap.TokenFrom(1), Payload: make([]byte, 1<<20)}
		if err := c.Send(t.Context(), large); !errors.Is(err, coap.ErrTooLarge) {
			t.Errorf("Send: %v, want ErrTooLarge", err)
		}
		p := &peer{t: t, nc: far}
		p.expect(coap.CSM)
		synctest.Wait()
		if err := c.Send(t.Context(), &coap.Message{Code: coap.Content, Token: coap.TokenFrom(2)}); err != nil {
			t.Errorf("Send: %v", err)
		}
		p.expect(coap.Content)
	})
}

// Many goroutines send at once, and every message arrives whole.
func TestSendFromMany(t *testing.T) {
	overEachWire(t, coap.Config{}, func(t *testing.T, p *peer) {
		const senders, each = 8, 200
		p.expect(coap.CSM)
		var wg sync.WaitGroup
		for s := range senders {
			wg.Go(func() {
				for i := range each {
					m := &coap.Message{Code: coap.Content, Token: coap.TokenFrom(uint64(s)<<32 | uint64(i)), Payload: make([]byte, i)}
					if err := p.conn.Send(t.Context(), m); err != nil {
						t.Errorf("Send: %v", err)
					}
				}
			})
		}
		got := make(map[coap.Token]bool)
		for range senders * each {
			got[p.expect(coap.Content).Token] = true
		}
		wg.Wait()
		if len(got) != senders*each {
			t.Errorf("%d different messages, want %d", len(got), senders*each)
		}
	})
}

// What the peer sent before it closed is read, although writing to it fails
// already (rule 29).
func TestAnswerBeforeClose(t *testing.T) {
	for range 50 {
		p := newPeer(t, "tcp", coap.Config{}, coap.Client)
		p.expect(coap.CSM)
		answered := make(chan error, 1)
		go func() {
			m, err := p.conn.Do(t.Context(), get("/oic/sec/account"))
			if err == nil && m.Code != coap.Unauthorized {
				err = fmt.Errorf("answer %v", m)
			}
			answered <- err
		}()
		m := p.expect(coap.GET)
		p.tell(&coap.Message{Code: coap.Unauthorized, Token: m.Token})
		p.nc.Close()
		for p.conn.Send(t.Context(), &coap.Message{Code: coap.Content, Token: coap.TokenFrom(1)}) == nil {
		}
		if err := <-answered; err != nil {
			t.Fatal(err)
		}
	}
}

// A peer that asks much and reads late gets every answer, whole and in order,
// and so do those who send beside it.
func TestSlowReader(t *testing.T) {
	const requests = 1000
	body := bytes.Repeat([]byte("0123456789"), 2000)
	h := coap.HandlerFunc(func(x *coap.Exchange) { x.Reply(&coap.Message{Code: coap.Content, Payload: body}) })
	overEachWire(t, coap.Config{Handler: h}, func(t *testing.T, p *peer) {
		p.expect(coap.CSM)
		p.sendCSM()
		p.send("08e2 0000000000000001") // so that the CSM has arrived
		p.expect(coap.Pong)
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			for i := range requests {
				b, _ := request(uint64(i), "/a/light").Append(coap.TCP, nil)
				if _, err := p.nc.Write(b); err != nil {
					t.Errorf("request %d: %v", i, err)
					return
				}
			}
		})
		const notifications = 100
		wg.Go(func() {
			for i := range notifications {
				m := &coap.Message{Code: coap.Valid, Token: coap.TokenFrom(uint64(i)), Payload: body}
				if err := p.conn.Send(t.Context(), m); err != nil {
					t.Errorf("notification %d: %v", i, err)
					return
				}
			}
		})
		var answers, notes uint64
		for range requests + notifications {
			m := p.next()
			next := &answers
			if m.Code == coap.Valid {
				next = &notes
			}
			if m.Token != coap.TokenFrom(*next) || !bytes.Equal(m.Payload, body) {
				t.Fatalf("got %v, want number %d", m, *next)
			}
			*next++
		}
	})
}

// The same when the peer reads nothing for ever over TLS.
func TestBad25OverTLS(t *testing.T) {
	p := servePeer(t, "tls", coap.Config{})
	p.sendCSM()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	body := make([]byte, 6000)
	n := 0
	for p.conn.Send(ctx, &coap.Message{Code: coap.Content, Token: coap.TokenFrom(1), Payload: body}) == nil {
		if n++; n > 10000 {
			t.Fatal("60 MB were queued")
		}
	}
	p.conn.Close()
	if err := p.reason(); err != coap.ErrClosed {
		t.Errorf("Run = %v", err)
	}
}
