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
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmppd/xmppdtest"
)

const getXML = `<rest xmlns="rest.oic.org"><url method="GET">%s</url>%s</rest>`

// open opens a session from f.
func (f *foreign) open(to jid.JID) *ibb.Conn {
	f.t.Helper()
	c, err := f.ibb.Open(f.t.Context(), f.s, to, ibb.Message)
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

// isOver reports whether the session is over when nothing more happens.
func isOver(c *ibb.Conn) bool {
	synctest.Wait()
	select {
	case <-c.Done():
		return true
	default:
		return false
	}
}

// What cannot be understood, nor anything behind it, ends the session; what only
// means nothing is answered, and the next request counts (4.2, 4.7 rule 8).
func TestBadDocuments(t *testing.T) {
	long := strings.Repeat("x", 50_000)
	for _, tt := range []struct {
		name   string
		blocks []string
		answer string // "": the session is over
	}{
		{"junk", []string{"hello"}, ""},
		{"junk behind a request", []string{fmt.Sprintf(getXML, "/1", "") + "hello<"}, ""},
		{"no CoAP", []string{"\x40\x01"}, ""},
		{"a document type", []string{`<!DOCTYPE rest []><rest xmlns="rest.oic.org"/>`}, ""},
		{"an entity", []string{`<rest xmlns="rest.oic.org"><url method="GET">/&x;</url></rest>`}, ""},
		{"tags that do not match", []string{`<rest xmlns="rest.oic.org"><url></rest></url>`}, ""},
		{"broken base64 in base64", []string{"PHJlc3Q!!!!!"}, ""},
		{"too long", []string{`<rest xmlns="rest.oic.org"><body><json xmlns="urn:xmpp:json:0">"`, long, long, long, long, long, long}, ""},
		{"another namespace (A-14)", []string{`<rest xmlns="http://rest.oic.org"/>`}, "400"},
		{"no url", []string{`<rest xmlns="rest.oic.org"></rest>`}, "400"},
		{"no method of ours", []string{`<rest xmlns="rest.oic.org"><url method="FETCH">/</url></rest>`}, "405"},
		{"no body", []string{`<rest xmlns="rest.oic.org"><url method="POST">/</url><body><json xmlns="urn:xmpp:json:0">{</json></body></rest>`}, "400"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
				lamp := join(t, srv, lampName, exchangeConfig{serve: echo})
				f := joinForeign(t, srv, phoneName, ibb.Config{})
				c := f.open(lamp.s.JID())
				for _, b := range tt.blocks {
					c.Write([]byte(b))
				}
				if tt.answer != "" {
					if got := f.read(c); !strings.Contains(got, ">"+tt.answer+" ") {
						t.Errorf("answered %s", got)
					}
					f.write(c, getXML, "/next", "")
					if got := f.read(c); !strings.Contains(got, `{"href":"/next"}`) {
						t.Errorf("the next one is answered %s", got)
					}
				}
				if over := isOver(c); over != (tt.answer == "") || over != (lamp.broken.Load() == 1) {
					t.Errorf("over: %v, counted: %d", over, lamp.broken.Load())
				}
			})
		})
	}
}

// What is wrong with bytestreams themselves fails whoever waits, at once
// (4.7, rules 3, 4 and 7).
func TestBadBlocks(t *testing.T) {
	data := func(c *ibb.Conn, seq int, text string) string {
		return fmt.Sprintf(`<message to='%s'><data xmlns='%s' sid='%s' seq='%d'>%s</data></message>`, c.Peer(), ibb.NS, c.SID(), seq, text)
	}
	for name, block := range map[string]func(c *ibb.Conn) string{
		"garbage for base64": func(c *ibb.Conn) string { return data(c, 0, "!!!!") },
		"a gap in seq":       func(c *ibb.Conn) string { return data(c, 1, "PA==") },
		"seq beyond":         func(c *ibb.Conn) string { return data(c, 65_536, "PA==") },
		"an error": func(c *ibb.Conn) string {
			return fmt.Sprintf(`<message type='error' id='%s-0' to='%s'><error type='cancel'><item-not-found xmlns='%s'/></error></message>`, c.SID(), c.Peer(), stanza.NSErrors)
		},
		"close": func(c *ibb.Conn) string {
			return fmt.Sprintf(`<iq type='set' id='c' to='%s'><close xmlns='%s' sid='%s'/></iq>`, c.Peer(), ibb.NS, c.SID())
		},
		"gone": func(c *ibb.Conn) string { return `<presence type='unavailable'/>` },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
				f := joinForeign(t, srv, lampName, ibb.Config{})
				phone := join(t, srv, phoneName, exchangeConfig{serve: echo})
				start := time.Now()
				asked := make(chan error)
				go func() {
					_, err := phone.ask(t.Context(), phone.s, f.s.JID(), get("/"))
					asked <- err
				}()
				c := <-f.conns
				f.read(c)
				f.s.SendRaw(t.Context(), []byte(block(c)))
				if err := <-asked; !errors.Is(err, errLost) || errors.Is(err, oic.ErrNotSent) || time.Since(start) > time.Second {
					t.Errorf("after %v: %v", time.Since(start), err)
				}
				phone.s.SendRaw(t.Context(), []byte(data(c, 0, "PA=="))) // of nobody's session
				synctest.Wait()
			})
		})
	}
}

// A-16, 4.7 rule 4: a block for a session that is not there, and one from
// itself, ends nothing and is nobody's answer.
func TestBlocksOfNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		lamp := join(t, srv, lampName, exchangeConfig{serve: echo})
		f := joinForeign(t, srv, phoneName, ibb.Config{})
		c := f.open(lamp.s.JID())
		for i, s := range []interface {
			SendRaw(context.Context, []byte) error
		}{f.s, lamp.s} {
			s.SendRaw(t.Context(), fmt.Appendf(nil, `<message to='%s'><data xmlns='%s' sid='sid%d' seq='0'>PA==</data></message>`, lamp.s.JID(), ibb.NS, i))
		}
		f.write(c, getXML, "/still", "")
		if got := f.read(c); !strings.Contains(got, "/still") {
			t.Error(got)
		}
	})
}

// 4.8: answers that nobody asked for, and second ones, are dropped and counted.
func TestStrayAnswers(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		f := joinForeign(t, srv, lampName, ibb.Config{})
		phone := join(t, srv, phoneName, exchangeConfig{serve: echo})
		asked := make(chan string)
		ask := func() { asked <- outcome(phone.ask(t.Context(), phone.s, f.s.JID(), get("/"))) }
		go ask()
		c := <-f.conns
		first := tokenOf(f.read(c))
		f.write(c, "%s", answerXML("abcd", "404", "")) // a token that was never sent
		f.write(c, "%s", answerXML(first, "400", ""))
		f.write(c, "%s", answerXML(first, "404", "")) // twice
		f.write(c, "%s", answerXML("", "404", ""))    // with none, from one that has them
		if got := <-asked; got != "4.00 Bad Request" {
			t.Error(got)
		}
		go ask()
		second := tokenOf(f.read(c))
		f.write(c, "%s", answerXML(first, "404", ""))
		f.write(c, "%s", answerXML(second, "403", ""))
		if got := <-asked; got != "4.03 Forbidden" || first == second {
			t.Errorf("%s, tokens %s and %s", got, first, second)
		}
		if n := phone.strays.Load(); n != 4 {
			t.Errorf("%d were counted, want 4", n)
		}
		if isOver(c) {
			t.Error("the session is over")
		}
		go ask()
		f.write(c, "%s", answerXML(tokenOf(f.read(c)), "200", strings.Repeat(`<header name="n">v</header>`, 70)))
		if got := <-asked; !strings.HasPrefix(got, "error 5.02 Bad Gateway") {
			t.Errorf("an answer beyond the limits: %s", got)
		}
	})
}

// 4.8: an answer that comes after its time belongs to nobody, and the session
// goes on.
func TestLateAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		f := joinForeign(t, srv, lampName, ibb.Config{})
		phone := join(t, srv, phoneName, exchangeConfig{serve: echo, timeout: 5 * time.Second})
		asked := make(chan string)
		ask := func() { asked <- outcome(phone.ask(t.Context(), phone.s, f.s.JID(), get("/"))) }
		go ask()
		c := <-f.conns
		f.write(c, "%s", answerXML(tokenOf(f.read(c)), "404", ""))
		<-asked
		go ask()
		token := tokenOf(f.read(c))
		if got := <-asked; got != "error 5.04 Gateway Timeout: no answer within 5s" {
			t.Error(got)
		}
		f.write(c, "%s", answerXML(token, "404", ""))
		if isOver(c) || phone.strays.Load() != 1 {
			t.Errorf("%d strays", phone.strays.Load())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := phone.ask(ctx, phone.s, f.s.JID(), get("/")); err != context.DeadlineExceeded {
			t.Errorf("the asker's own time limit: %v", err)
		}
	})
}

// A document that is begun must end within 30 s.
func TestUnfinished(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		lamp := join(t, srv, lampName, exchangeConfig{serve: echo})
		f := joinForeign(t, srv, phoneName, ibb.Config{})
		for _, begin := range []string{`<rest xmlns="rest.oic.org">`, " ", "PHJ"} {
			c := f.open(lamp.s.JID())
			start := time.Now()
			f.write(c, "%s", begin)
			<-c.Done()
			if took := time.Since(start); took != unfinishedTime {
				t.Errorf("%q: over after %v", begin, took)
			}
		}
		c := f.open(lamp.s.JID())
		doc := fmt.Sprintf(getXML, "/slow", "")
		for i := range doc {
			f.write(c, "%s", doc[i:i+1])
			time.Sleep(200 * time.Millisecond)
		}
		if got := f.read(c); !strings.Contains(got, "/slow") {
			t.Error(got)
		}
		time.Sleep(time.Minute)
		if isOver(c) {
			t.Error("the time runs on after the end")
		}
	})
}

// 4.8: requests without tokens are served in order, those with tokens at once,
// but not more than 32 of one peer; who sends too many loses the session.
func TestServeOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		lamp := join(t, srv, lampName, exchangeConfig{serve: func(ctx context.Context, from jid.JID, c *Call, reply func(*Answer) error) {
			time.Sleep(time.Second)
			echo(ctx, from, c, reply)
		}})
		f := joinForeign(t, srv, phoneName, ibb.Config{})
		c := f.open(lamp.s.JID())
		start := time.Now()
		for i := range 5 {
			f.write(c, getXML, fmt.Sprint("/", i), "")
		}
		for i := range 5 {
			got := f.read(c)
			if took := time.Since(start); !strings.Contains(got, fmt.Sprint(`"/`, i, `"`)) || took != time.Duration(i+1)*time.Second {
				t.Errorf("%d after %v: %s", i, took, got)
			}
		}
		withToken := func(n int) {
			for i := range n {
				f.write(c, getXML, fmt.Sprint("/", i), fmt.Sprintf(`<headers><header name="OIC-Token">%04x</header></headers>`, i))
			}
		}
		start = time.Now()
		withToken(100)
		for range 100 {
			f.read(c)
		}
		if took := time.Since(start); took != 4*time.Second {
			t.Errorf("100 at once took %v", took)
		}
		withToken(maxServing + maxCalls)
		if isOver(c) {
			t.Error("over too early")
		}
		withToken(1)
		if !isOver(c) || lamp.broken.Load() != 1 {
			t.Error("the session goes on")
		}
		synctest.Wait()
	})
}

// A request without a token that is never answered ends its session: a later
// answer would be taken for another.
func TestNeverServed(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		lamp := join(t, srv, lampName, exchangeConfig{serve: func(context.Context, jid.JID, *Call, func(*Answer) error) {}})
		f := joinForeign(t, srv, phoneName, ibb.Config{})
		c := f.open(lamp.s.JID())
		start := time.Now()
		for range maxCalls + 1 {
			f.write(c, getXML, "/", "")
		}
		<-c.Done()
		if took := time.Since(start); took != 30*time.Second {
			t.Errorf("over after %v", took)
		}
		synctest.Wait()
		if lamp.held != 0 {
			t.Errorf("%d bytes are held", lamp.held)
		}
	})
}

// 4.7 rule 6: four sessions with a peer; what goes wrong with a fifth is heard.
func TestSessionLimits(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		lamp := join(t, srv, lampName, exchangeConfig{serve: echo})
		f := joinForeign(t, srv, phoneName, ibb.Config{PerPeer: 10})
		for range 4 {
			f.open(lamp.s.JID())
		}
		if _, err := f.ibb.Open(t.Context(), f.s, lamp.s.JID(), ibb.Message); err == nil {
			t.Error("a fifth session is open")
		}
		_, err := lamp.ask(t.Context(), lamp.s, f.s.JID(), get("/"))
		if !errors.Is(err, ibb.ErrTooMany) || !errors.Is(err, oic.ErrNotSent) {
			t.Errorf("a session of ours beside: %v", err)
		}
		_, err = lamp.ask(t.Context(), lamp.s, mustJID(t, annLamp+"0"), get("/"))
		if refusal, _ := errors.AsType[*stanza.Error](err); refusal == nil || refusal.Condition != stanza.ServiceUnavailable || !errors.Is(err, oic.ErrNotSent) {
			t.Errorf("a peer that is not there: %v", err)
		}
	})
}

// When there are as many sessions as there may be, the one that was not needed
// for longest gives way, but none over which something goes on.
func TestMakeRoom(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		var l lampServer
		phone := join(t, srv, phoneName, exchangeConfig{serve: echo, total: 3})
		var lamps []*end
		for i := range 4 {
			lamps = append(lamps, join(t, srv, fmt.Sprint(lampName, i), exchangeConfig{serve: l.serve}))
		}
		w := phone.watch(t, lamps[0].s.JID(), get("/a/light"))
		w.expect(t, `2.05 Content{"power":0} true /a/light`)
		for range 3 {
			for i, lamp := range lamps {
				if got := outcome(phone.ask(t.Context(), phone.s, lamp.s.JID(), get("/a/light"))); got != `2.05 Content{"power":0}` {
					t.Errorf("lamp %d: %s", i, got)
				}
			}
		}
		if n := phone.sessions(); n != 3 {
			t.Errorf("%d sessions", n)
		}
		l.set(1)
		w.expect(t, `2.05 Content{"power":1} true /a/light`)
		w.cancel()
		w.end(t)
	})
}

// What waits for a peer fails when it goes away, also what was never sent.
func TestGone(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		f := joinForeign(t, srv, lampName, ibb.Config{})
		phone := join(t, srv, phoneName, exchangeConfig{serve: echo})
		var asking sync.WaitGroup
		start := time.Now()
		for range 5 {
			asking.Go(func() {
				_, err := phone.ask(t.Context(), phone.s, f.s.JID(), get("/"))
				if !errors.Is(err, ibb.ErrGone) || time.Since(start) != time.Second {
					t.Errorf("after %v: %v", time.Since(start), err)
				}
			})
		}
		time.Sleep(time.Second)
		phone.gone(f.s.JID(), ibb.ErrGone)
		asking.Wait()
		phone.close()
		if _, err := phone.ask(t.Context(), phone.s, f.s.JID(), get("/")); !errors.Is(err, ibb.ErrGone) {
			t.Errorf("after the end: %v", err)
		}
	})
}
