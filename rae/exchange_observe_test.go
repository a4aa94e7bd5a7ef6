package rae

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/xmpp/ibb"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmppd/xmppdtest"
)

// lampServer is a lamp that can be observed.
type lampServer struct {
	mu       sync.Mutex // guards what follows
	power    int
	watchers map[int]func()
	next     int
	began    int // registrations
}

func (l *lampServer) answer() *Answer {
	body, _ := oic.FromJSON(oic.CBOR, fmt.Appendf(nil, `{"power":%d}`, l.power))
	return &Answer{Response: &oic.Response{Status: oic.Content, Format: oic.CBOR, Body: body}}
}

func (l *lampServer) serve(ctx context.Context, _ jid.JID, c *Call, reply func(*Answer) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.answer()
	if c.Observe == Register {
		l.next++
		l.began++
		id := l.next
		if l.watchers == nil {
			l.watchers = map[int]func(){}
		}
		l.watchers[id] = func() {
			a := l.answer()
			a.Observed = true
			if reply(a) != nil {
				delete(l.watchers, id)
			}
		}
		context.AfterFunc(ctx, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			delete(l.watchers, id)
		})
		a.Observed = true
	}
	reply(a)
}

// set changes the lamp and tells whoever observes it.
func (l *lampServer) set(power int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.power = power
	for _, tell := range l.watchers {
		tell()
	}
}

func (l *lampServer) count() (watchers, began int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.watchers), l.began
}

// observation observes, and notes what it hears.
type observation struct {
	heard  chan string
	again  chan struct{}
	done   chan error
	call   *Call
	cancel context.CancelFunc
}

func (e *end) watch(t *testing.T, to jid.JID, c *Call) *observation {
	ctx, cancel := context.WithCancel(t.Context())
	w := &observation{heard: make(chan string, 100), again: make(chan struct{}), done: make(chan error, 1), call: c, cancel: cancel}
	go func() {
		w.done <- e.observe(ctx, e.s, to, c, w.again, func(a *Answer) {
			w.heard <- fmt.Sprintf("%s %v %s", outcome(a, nil), a.Observed, a.ContentLocation)
		})
	}()
	return w
}

func (w *observation) expect(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	for _, want := range want {
		select {
		case got := <-w.heard:
			if got != want {
				t.Errorf("heard %q, want %q", got, want)
			}
		default:
			t.Errorf("heard nothing, want %q", want)
		}
	}
	select {
	case got := <-w.heard:
		t.Errorf("heard %q besides", got)
	default:
	}
}

// end is what observe returned.
func (w *observation) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-w.done:
		return err
	case <-time.After(time.Hour):
		t.Fatal("the observation goes on")
		return nil
	}
}

// E-08: register, notifications, cancel; nothing is left on either side, and
// what crosses the cancellation is no answer that nobody asked for.
func TestObserve(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		var l lampServer
		lamp := join(t, srv, lampName, exchangeConfig{serve: l.serve})
		phone := join(t, srv, phoneName, exchangeConfig{serve: echo})
		w := phone.watch(t, lamp.s.JID(), get("/a/light?if=oic.if.a"))
		w.expect(t, `2.05 Content{"power":0} true /a/light`)
		for i := range 3 {
			l.set(i + 1)
			w.expect(t, fmt.Sprintf(`2.05 Content{"power":%d} true /a/light`, i+1))
		}
		l.set(9)
		w.cancel()
		if err := w.end(t); err != context.Canceled {
			t.Error(err)
		}
		synctest.Wait()
		if n, _ := l.count(); n != 0 {
			t.Errorf("%d observations are left", n)
		}
		if n := phone.strays.Load(); n != 0 {
			t.Errorf("%d answers that nobody asked for", n)
		}
		for _, p := range phone.peers {
			if len(p.waiting) != 0 || p.asked != 0 {
				t.Errorf("%d wait, %d are asked", len(p.waiting), p.asked)
			}
		}
	})
}

// 4.7 rule 7: a session lives as long as something is observed over it, and 300 s
// longer.
func TestObserveKeepsSession(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		var l lampServer
		lamp := join(t, srv, lampName, exchangeConfig{serve: l.serve})
		phone := join(t, srv, phoneName, exchangeConfig{serve: echo})
		w := phone.watch(t, lamp.s.JID(), get("/a/light"))
		w.expect(t, `2.05 Content{"power":0} true /a/light`)
		time.Sleep(24 * time.Hour)
		l.set(1)
		w.expect(t, `2.05 Content{"power":1} true /a/light`)
		w.cancel()
		w.end(t)
		time.Sleep(299 * time.Second)
		sessions := func() (n int) {
			synctest.Wait()
			for _, e := range []*end{lamp, phone} {
				e.mu.Lock()
				n += len(e.peers)
				e.mu.Unlock()
			}
			return n
		}
		if n := sessions(); n != 2 {
			t.Errorf("after 299 s: %d", n)
		}
		time.Sleep(302 * time.Second) // a session that was kept looks again at most 300 s later
		if n := sessions(); n != 0 {
			t.Errorf("after 601 s: %d", n)
		}
	})
}

// 4.8: registered once more with the same token, on request or after a lost
// session, an observation replaces the one before.
func TestObserveAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		var l lampServer
		lamp := join(t, srv, lampName, exchangeConfig{serve: l.serve})
		phone := join(t, srv, phoneName, exchangeConfig{serve: echo})
		w := phone.watch(t, lamp.s.JID(), get("/a/light"))
		w.expect(t, `2.05 Content{"power":0} true /a/light`)
		for range 3 {
			w.again <- struct{}{}
			w.expect(t, `2.05 Content{"power":0} true /a/light`)
		}
		l.set(1)
		w.expect(t, `2.05 Content{"power":1} true /a/light`)
		if n, began := l.count(); n != 1 || began != 4 {
			t.Errorf("%d observations of %d that began", n, began)
		}
		token := w.call.Token
		for _, c := range phone.conns() {
			c.Close()
		}
		if err := w.end(t); !errors.Is(err, errLost) {
			t.Errorf("after the end of the session: %v", err)
		}
		w = phone.watch(t, lamp.s.JID(), w.call)
		w.expect(t, `2.05 Content{"power":1} true /a/light`)
		l.set(2)
		w.expect(t, `2.05 Content{"power":2} true /a/light`)
		if n, _ := l.count(); n != 1 || w.call.Token != token || token == "" {
			t.Errorf("%d observations, token %s, was %s", n, w.call.Token, token)
		}
		w.cancel()
		w.end(t)
	})
}

// While the listener is busy, changes are merged: it hears the newest next.
func TestObserveMerges(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		var l lampServer
		lamp := join(t, srv, lampName, exchangeConfig{serve: l.serve})
		phone := join(t, srv, phoneName, exchangeConfig{serve: echo})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var heard []string
		go func() {
			synctest.Wait()
			for i := range 100 {
				l.set(i + 1)
			}
		}()
		err := phone.observe(ctx, phone.s, lamp.s.JID(), get("/a/light"), nil, func(a *Answer) {
			heard = append(heard, outcome(a, nil))
			time.Sleep(time.Second)
			if len(heard) == 2 {
				cancel()
			}
		})
		if err != context.Canceled || strings.Join(heard, " ") != `2.05 Content{"power":0} 2.05 Content{"power":100}` {
			t.Errorf("%v: %v", heard, err)
		}
	})
}

// What ends an observation from the other side.
func TestObserveEnds(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status string
		heard  string
		err    error
	}{
		{"refused", "403 Forbidden", "4.03 Forbidden false ", nil},
		{"not observed", "200 OK", "2.05 Content false ", nil},
		{"no answer at all", "what", "", oic.Errorf(oic.BadGateway, "an answer without a status (RA-082)")},
	} {
		for _, first := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, first %v", tt.name, first), func(t *testing.T) {
				inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
					lamp := joinForeign(t, srv, lampName, ibb.Config{})
					phone := join(t, srv, phoneName, exchangeConfig{serve: echo})
					w := phone.watch(t, lamp.s.JID(), get("/a/light"))
					c := <-lamp.conns
					token := tokenOf(lamp.read(c))
					if !first {
						lamp.write(c, "%s", answerXML(token, "200 OK", `<header name="Observe">5</header>`))
						w.expect(t, "2.05 Content true ")
					}
					lamp.write(c, "%s", answerXML(token, tt.status, ""))
					if err := w.end(t); fmt.Sprint(err) != fmt.Sprint(tt.err) {
						t.Errorf("%v, want %v", err, tt.err)
					}
					if tt.heard != "" {
						w.expect(t, tt.heard)
					}
				})
			})
		}
	}
}

// 4.8: with a peer that repeats no tokens, each observation has a session of its
// own, which ends with it; requests go over another.
func TestObservePlainPeer(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		old := joinForeign(t, srv, lampName, ibb.Config{})
		phone := join(t, srv, phoneName, exchangeConfig{serve: echo})
		const observed = `<header name="Observe">1</header>`
		one := phone.watch(t, old.s.JID(), get("/one"))
		first := <-old.conns
		old.read(first)
		old.write(first, "%s", answerXML("", "200", observed))
		one.expect(t, "2.05 Content true ")

		two := phone.watch(t, old.s.JID(), get("/two"))
		second := <-old.conns
		old.read(second)
		old.write(second, "%s", answerXML("", "200", observed))
		two.expect(t, "2.05 Content true ")

		asked := make(chan string)
		go func() { asked <- outcome(phone.ask(t.Context(), phone.s, old.s.JID(), get("/three"))) }()
		third := <-old.conns
		old.read(third)
		old.write(first, "%s", answerXML("", "200", `<header name="Observe">2</header><header name="ETag">"01"</header>`))
		one.expect(t, "2.05 Content true ")
		old.write(third, "%s", answerXML("", "404", ""))
		if got := <-asked; got != "4.04 Not Found" {
			t.Error(got)
		}
		two.expect(t)

		one.cancel()
		one.end(t)
		<-first.Done()
		old.write(second, "%s", answerXML("", "404", ""))
		if err := two.end(t); err != nil {
			t.Error(err)
		}
		two.expect(t, "4.04 Not Found false ")
	})
}

// A registration without a token is replaced on its session, and cancelled by
// Observe: 1 or the end of the session.
func TestObservedByPlainPeer(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		var l lampServer
		lamp := join(t, srv, lampName, exchangeConfig{serve: l.serve})
		old := joinForeign(t, srv, phoneName, ibb.Config{})
		c, err := old.ibb.Open(t.Context(), old.s, lamp.s.JID(), ibb.Message)
		if err != nil {
			t.Fatal(err)
		}
		const ask = `<rest xmlns="rest.oic.org"><url method="GET">/a/light</url><headers><header name="Observe">%d</header></headers></rest>`
		want := func(watchers int, parts ...string) {
			t.Helper()
			got := old.read(c)
			for _, part := range parts {
				if !strings.Contains(got, part) {
					t.Errorf("%s, want %s in it", got, part)
				}
			}
			synctest.Wait()
			if n, _ := l.count(); n != watchers || strings.Contains(got, "OIC-Token") {
				t.Errorf("%d observations; %s", n, got)
			}
		}
		old.write(c, ask, 0)
		want(1, `"Observe">1<`, `{"power":0}`, `"Content-Location">/a/light<`)
		l.set(1)
		want(1, `"Observe">2<`, `{"power":1}`)
		old.write(c, ask, 0)
		want(1, `"Observe">3<`, `{"power":1}`)
		old.write(c, ask, 1)
		want(0, `{"power":1}`)
		old.write(c, ask, 0)
		want(1, `"Observe">1<`)
		c.Close()
		synctest.Wait()
		if n, _ := l.count(); n != 0 {
			t.Errorf("%d observations are left", n)
		}
	})
}

func TestNewer(t *testing.T) {
	for _, tt := range []struct {
		a, b uint32
		want bool
	}{
		{2, 1, true}, {1, 2, false}, {1, 1, false}, {0, 1<<24 - 1, true}, {1<<24 - 1, 0, false}, {1 << 22, 0, true}, {1<<23 + 1, 0, false},
	} {
		if got := newer(tt.a, tt.b); got != tt.want {
			t.Errorf("newer(%d, %d) = %v", tt.a, tt.b, got)
		}
	}
}
