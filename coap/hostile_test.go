package coap_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/vector"
)

// TestBad33Refusals: what cannot be a message gets its reaction. If its extent
// is known it alone is refused, and the connection goes on; else the peer gets
// an Abort with a diagnostic and an eight-byte token, and then the end.
func TestBad33Refusals(t *testing.T) {
	for _, v := range vector.Refusals() {
		if v.Transport != "tcp" || v.Short {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			p := servePeer(t, "tcp", coap.Config{Handler: echo})
			p.expect(coap.CSM)
			p.sendCSM()
			p.write(v.Wire)
			if v.Answer != 0 {
				if m := p.expect(coap.Code(v.Answer)); m.Token.Len() != int(v.Wire[0]&15) {
					t.Errorf("refused with token %v", m.Token)
				}
				p.tell(request(1, "/alive"))
				p.expect(coap.Content)
				return
			}
			if m := p.expect(coap.Abort); m.Token.Len() != 8 || !strings.Contains(string(m.Payload), v.Why) {
				t.Errorf("Abort %v: %q, want %q in it", m, m.Payload, v.Why)
			}
			p.closed()
			if _, ok := errors.AsType[*coap.FormatError](p.reason()); !ok {
				t.Error("reason is no *FormatError")
			}
		})
	}
}

// An Abort arrives although the peer goes on sending: the socket is not closed
// on unread bytes.
func TestAbortArrives(t *testing.T) {
	for range 20 {
		p := servePeer(t, "tcp", coap.Config{})
		p.expect(coap.CSM)
		p.write(append(unhex("f0ffffffff45"), make([]byte, 100<<10)...))
		p.expect(coap.Abort)
		p.closed()
	}
}

// A response that cannot be read whole fails the call that waits for it.
func TestBadResponseFailsItsCall(t *testing.T) {
	p := newPeer(t, "tcp", coap.Config{}, coap.Client)
	p.expect(coap.CSM)
	go func() {
		m := p.expect(coap.GET)
		p.write(append(append(unhex("d83445"), m.Token.Append(nil)...), make([]byte, 65)...)) // 65 options
		m = p.expect(coap.GET)
		p.tell(&coap.Message{Code: coap.Content, Token: m.Token})
	}()
	_, err := p.conn.Do(t.Context(), get("/"))
	if _, ok := errors.AsType[*coap.FormatError](err); !ok {
		t.Errorf("Do: %v, want *FormatError", err)
	}
	if _, err := p.conn.Do(t.Context(), get("/")); err != nil {
		t.Errorf("Do: %v", err)
	}
}

// A stream cut anywhere says the same: at every byte boundary of each message
// that a device was seen to write.
func TestEveryCut(t *testing.T) {
	for _, v := range vector.All() {
		if v.Transport != "tcp" || len(v.Wire) > 400 || !coap.Code(v.Message.Code).IsRequest() {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			far, near := net.Pipe()
			got := make(chan *coap.Message, 1)
			run(t, coap.Server(near, coap.Config{Handler: coap.HandlerFunc(func(x *coap.Exchange) {
				got <- x.Request().Clone()
			})}))
			p := &peer{t: t, nc: far}
			p.expect(coap.CSM)
			want := fromVector(v.Message)
			for cut := range len(v.Wire) {
				p.write(v.Wire[:cut])
				p.write(v.Wire[cut:])
				if m := <-got; !same(m, want) {
					t.Fatalf("cut at %d: %v", cut, m)
				}
			}
			for i := range v.Wire {
				p.write(v.Wire[i : i+1])
			}
			if m := <-got; !same(m, want) {
				t.Fatalf("byte by byte: %v", m)
			}
			far.Close()
		})
	}
}

// TestBad36DrippingByte: a message must be complete within 20 s, one byte a
// second or not; the bytes are a sign of life, but no excuse.
func TestBad36DrippingByte(t *testing.T) {
	for _, keepAlive := range []time.Duration{0, -1} {
		synctest.Test(t, func(t *testing.T) {
			p := servePeer(t, "pipe", coap.Config{Handler: echo, KeepAlive: keepAlive})
			p.expect(coap.CSM)
			time.Sleep(7 * time.Second)
			b, _ := (&coap.Message{Code: coap.POST, Payload: make([]byte, 1000)}).Append(coap.TCP, nil)
			start := time.Now()
			var dripping sync.WaitGroup
			defer dripping.Wait()
			dripping.Go(func() {
				for i := range b {
					if _, err := p.nc.Write(b[i : i+1]); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			})
			p.expect(coap.Abort)
			p.closed()
			if err := p.reason(); err != coap.ErrUnfinished {
				t.Errorf("Run = %v, want ErrUnfinished", err)
			}
			if took := time.Since(start); took != 20*time.Second {
				t.Errorf("ended after %v, want 20s", took)
			}
		})
	}
}

// Each message has its own 20 s, also when none ends with a read.
func TestUnfinishedIsPerMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := servePeer(t, "pipe", coap.Config{Handler: echo})
		p.expect(coap.CSM)
		b, _ := request(1, "/a/light").Append(coap.TCP, nil)
		p.write(b[:5])
		for range 5 {
			time.Sleep(15 * time.Second)
			p.write(append(b[5:len(b):len(b)], b[:5]...))
			p.expect(coap.Content)
		}
		p.write(b[5:])
		p.expect(coap.Content)
		time.Sleep(19 * time.Second)
		p.tell(request(2, "/"))
		p.expect(coap.Content)
	})
}

// TestBad36Huge: the announced length allocates nothing, within the limit or
// beyond.
func TestBad36Huge(t *testing.T) {
	const peers = 100
	var ps []*peer
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range peers {
		p := servePeer(t, "tcp", coap.Config{Handler: echo, MaxMessage: 64 << 20})
		p.expect(coap.CSM)
		p.send("f0 03ff0000 02 b1") // 64 MiB are to come, one byte does
		p.send("b1")
		ps = append(ps, p)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > peers*200<<10 {
		t.Errorf("%d bytes for each unfinished message of 2", grown/peers)
	}
	for _, p := range ps {
		p.nc.Close()
	}
}

// TestBad40Tokens: responses are matched by token on their own connection.
// Those of another connection, late, second or unasked ones are dropped.
func TestBad40Tokens(t *testing.T) {
	overEachWire(t, coap.Config{}, func(t *testing.T, p *peer) {
		other := servePeer(t, "tcp", coap.Config{})
		other.expect(coap.CSM)
		p.expect(coap.CSM)
		ctx, cancel := context.WithCancel(t.Context())
		late := make(chan error, 1)
		go func() {
			_, err := p.conn.Do(ctx, get("/late"))
			late <- err
		}()
		first := p.expect(coap.GET)
		cancel()
		if err := <-late; err != context.Canceled {
			t.Errorf("Do: %v, want context.Canceled", err)
		}
		done := make(chan *coap.Message, 2)
		for range 2 {
			go func() {
				m, err := p.conn.Do(t.Context(), get("/ours"))
				if err != nil {
					t.Error(err)
				}
				done <- m
			}()
		}
		a, b := p.expect(coap.GET), p.expect(coap.GET)
		if a.Token == b.Token || a.Token == first.Token || a.Token.Len() != 8 {
			t.Errorf("tokens %v, %v, %v", first.Token, a.Token, b.Token)
		}
		content := func(m *coap.Message, s string) *coap.Message {
			return &coap.Message{Code: coap.Content, Token: m.Token, Payload: []byte(s)}
		}
		other.tell(content(a, "stolen"))
		p.tell(content(first, "late"))
		p.tell(&coap.Message{Code: coap.Content, Token: coap.TokenFrom(4711), Payload: []byte("unasked")})
		p.tell(&coap.Message{Code: coap.Content, Payload: []byte("no token")})
		p.tell(content(b, "b")) // the other way round
		p.tell(content(b, "again"))
		p.tell(content(a, "a"))
		got := string((<-done).Payload) + string((<-done).Payload)
		if got != "ab" && got != "ba" {
			t.Errorf("responses %q", got)
		}
	})
}

// TestBad12ClearText: clear text on a TLS port gets no answer in clear text.
func TestBad12ClearText(t *testing.T) {
	a, b := pair(t)
	c := coap.Server(b, coap.Config{Handler: echo, TLS: serverTLS()})
	ended := make(chan error, 1)
	go func() { ended <- c.Run(t.Context()) }()
	wire, _ := request(1, "/oic/res").Append(coap.TCP, nil)
	a.Write(append(wire, make([]byte, 100)...))
	got, _ := io.ReadAll(a)
	if len(got) > 7 { // an alert
		t.Errorf("answer % x", got)
	}
	if err := <-ended; err == nil || errors.Is(err, coap.ErrClosed) {
		t.Errorf("Run = %v", err)
	}
}

// TestBad05Dropped: connections dropped in every state, thousands of times,
// leave nothing behind.
func TestBad05Dropped(t *testing.T) {
	if testing.Short() {
		t.Skip("2,000 connections")
	}
	ln := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	cfg := coap.Config{Handler: slowHandler(time.Hour), Log: slog.New(slog.DiscardHandler)}
	secure := cfg
	secure.TLS = serverTLS()
	var n atomic.Int64
	go func() {
		served <- coap.Serve(ctx, ln, func(nc net.Conn) *coap.Conn {
			if n.Add(1)%5 == 0 {
				return coap.Server(nc, secure)
			}
			return coap.Server(nc, cfg)
		})
	}()
	drop := func(i int) {
		nc, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer nc.Close()
		states := []string{"", "08e1", "08e1 0000000000000001", "01 0", "d8", "4101 07 b161 0", "18e2 0000000000000001 20 0801 0000000000000002",
			"0801 0000000000000003", "e0ffff 02", "16030100"}
		s := strings.ReplaceAll(states[i%len(states)], " ", "")
		nc.Write(unhex(s[:len(s)&^1]))
		if i%3 == 0 {
			nc.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			nc.Read(make([]byte, 100))
		}
		if tcp := nc.(*net.TCPConn); i%2 == 0 {
			tcp.SetLinger(0)
		}
	}
	round := func(conns int) {
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				for i := w; i < conns; i += 8 {
					drop(i)
				}
			})
		}
		wg.Wait()
	}
	round(200)
	goroutines, memory := settle(t, 0)
	round(2000)
	after, grown := settle(t, goroutines+5)
	if after > goroutines+5 {
		t.Errorf("%d goroutines, %d before", after, goroutines)
	}
	if grown > memory+2<<20 {
		t.Errorf("%d bytes of heap, %d before", grown, memory)
	}
	cancel()
	if err := <-served; err != context.Canceled {
		t.Errorf("Serve = %v", err)
	}
}

// settle waits until there are no more than want goroutines, for a minute, and
// returns how many there are, and the size of the heap. want 0: it waits until
// none end any more.
func settle(t *testing.T, want int) (goroutines int, heap uint64) {
	t.Helper()
	goroutines = runtime.NumGoroutine()
	for start, quiet := time.Now(), 0; goroutines > want && time.Since(start) < time.Minute && (want > 0 || quiet < 20); quiet++ {
		time.Sleep(50 * time.Millisecond)
		if n := runtime.NumGoroutine(); n != goroutines {
			goroutines, quiet = n, 0
		}
	}
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return goroutines, m.HeapAlloc
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// A panic in a handler ends its connection, and no other, and is logged once
// with its stack (threats rule 23).
func TestPanic(t *testing.T) {
	for _, how := range []string{"/inline", "/go", "/background", "observer"} {
		t.Run(how, func(t *testing.T) {
			log := new(lines)
			h := coap.HandlerFunc(func(x *coap.Exchange) {
				switch x.Request().Options.Path() {
				case "/inline":
					panic("inline")
				case "/go":
					x.Go(func(context.Context) { panic("go") })
				case "/background":
					x.Background(func(context.Context) { panic("background") })
				default:
					echo(x)
				}
			})
			cfg := coap.Config{Handler: h, Log: slog.New(slog.NewTextHandler(log, nil))}
			p, other := servePeer(t, "tcp", cfg), servePeer(t, "tcp", cfg)
			p.expect(coap.CSM)
			if how == "observer" {
				p.conn.Observe(get("/"), func(m *coap.Message, err error) {
					if err == nil {
						panic("observer")
					}
				})
				p.tell(&coap.Message{Code: coap.Content, Token: p.expect(coap.GET).Token})
			} else {
				p.tell(request(1, how))
			}
			p.closed()
			if err := p.reason(); err != coap.ErrPanic {
				t.Errorf("Run = %v, want ErrPanic", err)
			}
			other.expect(coap.CSM)
			other.tell(request(1, "/alive"))
			other.expect(coap.Content)
			if n := strings.Count(log.String(), "panicked"); n != 1 || !strings.Contains(log.String(), "hostile_test.go") {
				t.Errorf("%d panics logged: %s", n, log)
			}
		})
	}
}

// lines is a log in memory.
type lines struct {
	mu sync.Mutex
	strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Builder.Write(b)
}

// A peer may have 64 requests under way in Go. Beyond, it is not read, and can
// still be closed.
func TestInFlight(t *testing.T) {
	const requests = 200
	var running, most atomic.Int64
	next := make(chan struct{})
	h := coap.HandlerFunc(func(x *coap.Exchange) {
		x.Go(func(ctx context.Context) {
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer running.Add(-1)
			select {
			case <-next:
				echo(x)
			case <-ctx.Done():
			}
		})
	})
	overEachWire(t, coap.Config{Handler: h}, func(t *testing.T, p *peer) {
		running.Store(0)
		most.Store(0)
		p.expect(coap.CSM)
		p.sendCSM()
		var batch []byte
		for i := range requests {
			batch, _ = request(uint64(i), "/a").Append(coap.TCP, batch)
		}
		p.write(batch)
		for start := time.Now(); running.Load() < 64 && time.Since(start) < time.Minute; {
			time.Sleep(time.Millisecond)
		}
		for range requests / 2 {
			next <- struct{}{}
			p.expect(coap.Content)
		}
		if n := most.Load(); n != 64 {
			t.Errorf("%d requests at once, want 64", n)
		}
		p.conn.Close() // with 64 of them under way
		if err := p.reason(); err != coap.ErrClosed {
			t.Errorf("Run = %v", err)
		}
		if n := running.Load(); n != 0 {
			t.Errorf("%d handlers still run after Run has returned", n)
		}
	})
}

// What Go's function gets out of the request is what was asked, although many
// requests were read since.
func TestGoKeepsRequest(t *testing.T) {
	p := servePeer(t, "tcp", coap.Config{Handler: slowHandler(20 * time.Millisecond)})
	p.expect(coap.CSM)
	p.sendCSM()
	want := make(map[coap.Token]string)
	for i := range 50 {
		m := request(uint64(i), "/path/"+strings.Repeat(string(rune('a'+i%26)), i))
		want[m.Token] = m.Options.Path()
		p.tell(m)
	}
	for range want {
		if m := p.expect(coap.Content); string(m.Payload) != want[m.Token] {
			t.Errorf("%v answered %q, want %q", m.Token, m.Payload, want[m.Token])
		}
	}
}

// A peer that resets is nothing special (rule 15).
func TestReset(t *testing.T) {
	p := servePeer(t, "tcp", coap.Config{})
	p.expect(coap.CSM)
	p.nc.(*net.TCPConn).SetLinger(0)
	p.nc.Close()
	if err := p.reason(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Run = %v", err)
	}
}
