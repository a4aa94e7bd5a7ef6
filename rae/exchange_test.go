package rae

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/ibb"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmppd"
	"github.com/farreach/farreach/xmppd/xmppdtest"
)

const (
	lampName  = "OIC/1.0/oic.d.light/" + lampID
	phoneName = "OIC/1.0/Client/3d2c5a10-52a7-4e0f-9c1b-6b2f0a9e7b55"
)

// inBubble runs a test with fake time, and a server in memory.
func inBubble(t *testing.T, test func(t *testing.T, srv *xmppdtest.Server)) {
	synctest.Test(t, func(t *testing.T) {
		test(t, memoryServer(t))
	})
}

func memoryServer(t testing.TB) *xmppdtest.Server {
	return xmppdtest.Run(t, xmppdtest.Config{Memory: true, Config: xmppd.Config{Limits: xmppd.Limits{StanzaRate: -1, ByteRate: -1}}})
}

// end is an exchange with a session on a server.
type end struct {
	*exchange
	s *xmpp.Session
}

// join logs ann in by that name, with an exchange.
func join(t testing.TB, srv *xmppdtest.Server, name string, cfg exchangeConfig) *end {
	t.Helper()
	cfg.log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	x := newExchange(cfg)
	var h xmpp.Handlers
	x.handle(&h)
	s := appear(t, srv, name, &h)
	t.Cleanup(x.close)
	return &end{x, s}
}

// appear logs ann in by that name, and sends presence.
func appear(t testing.TB, srv *xmppdtest.Server, name string, h *xmpp.Handlers) *xmpp.Session {
	t.Helper()
	cfg := srv.Client("ann", name)
	cfg.Handlers = h
	s, err := xmpp.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.Send(t.Context(), &stanza.Presence{Priority: -80}); err != nil {
		t.Fatal(err)
	}
	return s
}

// foreign is a peer of somebody else's make: what it says is in the test.
type foreign struct {
	t     *testing.T
	s     *xmpp.Session
	ibb   *ibb.Endpoint
	conns chan *ibb.Conn // that were opened by others
}

func joinForeign(t *testing.T, srv *xmppdtest.Server, name string, cfg ibb.Config) *foreign {
	f := &foreign{t: t, conns: make(chan *ibb.Conn, 10)}
	over := make(chan struct{})
	cfg.Serve = func(c *ibb.Conn) {
		f.conns <- c
		<-over // what came can be read until then
	}
	cfg.Log = slog.New(slog.DiscardHandler)
	f.ibb = ibb.New(cfg)
	var h xmpp.Handlers
	f.ibb.Handle(&h)
	f.s = appear(t, srv, name, &h)
	t.Cleanup(func() {
		close(over)
		f.ibb.Close()
	})
	return f
}

// read reads one block, which is one document.
func (f *foreign) read(c *ibb.Conn) string {
	f.t.Helper()
	c.SetReadDeadline(time.Now().Add(time.Hour))
	b := make([]byte, 1<<16)
	n, err := c.Read(b)
	if err != nil {
		f.t.Fatalf("the peer reads: %v", err)
	}
	return string(b[:n])
}

func (f *foreign) write(c *ibb.Conn, format string, args ...any) {
	f.t.Helper()
	if _, err := fmt.Fprintf(c, format, args...); err != nil {
		f.t.Fatalf("the peer writes: %v", err)
	}
}

// tokenOf is the OIC-Token of a document.
func tokenOf(doc string) string {
	_, rest, _ := strings.Cut(doc, `"OIC-Token">`)
	token, _, _ := strings.Cut(rest, "<")
	return token
}

// answerXML is an answer with a token, or without if that is "".
func answerXML(token, status, more string) string {
	if token != "" {
		more = `<header name="OIC-Token">` + token + `</header>` + more
	}
	return `<rest xmlns="rest.oic.org"><url method="RESPONSE">` + status + `</url><headers>` + more + `</headers></rest>`
}

func get(href string) *Call {
	return &Call{Request: oic.Request{Href: href, Accept: oic.CBOR}}
}

// echo answers with the path that was asked for.
func echo(_ context.Context, _ jid.JID, c *Call, reply func(*Answer) error) {
	body, _ := oic.FromJSON(oic.CBOR, []byte(`{"href":"`+c.Href+`"}`))
	reply(&Answer{Response: &oic.Response{Status: oic.Content, Format: oic.CBOR, Body: body}})
}

// outcome is what came of a request, as text.
func outcome(a *Answer, err error) string {
	switch {
	case err != nil:
		return "error " + err.Error()
	case a.Refusal != nil:
		return strings.TrimSpace(a.Refusal.Status.String() + " " + a.Word)
	}
	body, _ := oic.ToJSON(a.Response.Format, a.Response.Body)
	return a.Response.Status.String() + string(body)
}

// RA-071: requests in both directions go over one session.
func TestAskBothWays(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		lamp := join(t, srv, lampName, exchangeConfig{serve: echo})
		phone := join(t, srv, phoneName, exchangeConfig{serve: echo})
		for range 3 {
			got := outcome(phone.ask(t.Context(), phone.s, lamp.s.JID(), get("/a/light")))
			if got != `2.05 Content{"href":"/a/light"}` {
				t.Error(got)
			}
			got = outcome(lamp.ask(t.Context(), lamp.s, phone.s.JID(), get("/oic/d")))
			if got != `2.05 Content{"href":"/oic/d"}` {
				t.Error(got)
			}
		}
		for _, e := range []*end{lamp, phone} {
			for _, p := range e.peers {
				if len(p.sessions) != 1 || p.manner != tokens || len(p.waiting) != 0 || p.asked != 0 {
					t.Errorf("%d sessions, manner %d, %d waiting, %d asked", len(p.sessions), p.manner, len(p.waiting), p.asked)
				}
			}
		}
		if _, err := phone.ask(t.Context(), phone.s, lamp.s.JID().Bare(), get("/oic/d")); err == nil {
			t.Error("a bare address was asked (RA-017)")
		}
	})
}

// 4.7 rule 1: who opens at the same time keeps both sessions, and asks over his own.
func TestBothOpen(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		ends := []*end{join(t, srv, lampName, exchangeConfig{serve: echo}), join(t, srv, phoneName, exchangeConfig{serve: echo})}
		var asking sync.WaitGroup
		for i, e := range ends {
			asking.Go(func() {
				for range 3 {
					if got := outcome(e.ask(t.Context(), e.s, ends[1-i].s.JID(), get("/"))); got != `2.05 Content{"href":"/"}` {
						t.Error(got)
					}
				}
			})
		}
		asking.Wait()
		for _, e := range ends {
			e.mu.Lock()
			for _, p := range e.peers {
				if n := len(p.sessions); n == 2 && (!p.sessions[0].ours || p.sessions[1].ours) || n < 1 || n > 2 {
					t.Errorf("%d sessions", n)
				}
			}
			e.mu.Unlock()
		}
	})
}

// Many requests at once, each gets its own answer; never more than 32 are under
// way (4.8).
func TestAskMany(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		var mu sync.Mutex
		running, most := 0, 0
		lamp := join(t, srv, lampName, exchangeConfig{serve: func(ctx context.Context, from jid.JID, c *Call, reply func(*Answer) error) {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			running--
			mu.Unlock()
			echo(ctx, from, c, reply)
		}})
		phone := join(t, srv, phoneName, exchangeConfig{serve: echo})
		start := time.Now()
		var asking sync.WaitGroup
		for i := range 97 {
			asking.Go(func() {
				href := fmt.Sprintf("/n/%d", i)
				got := outcome(phone.ask(t.Context(), phone.s, lamp.s.JID(), get(href)))
				if want := `2.05 Content{"href":"` + href + `"}`; got != want {
					t.Errorf("%s, want %s", got, want)
				}
			})
		}
		asking.Wait()
		if took := time.Since(start); most != maxAsked || took != 4*time.Second {
			t.Errorf("%d at once, done after %v; want 32, and 1 s for the first, which goes alone, and 3 s for 96", most, took)
		}
	})
}

// 4.8: a peer that does not repeat tokens gets one request at a time, and
// answers belong to them in order.
func TestPlainPeer(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		old := joinForeign(t, srv, lampName, ibb.Config{})
		phone := join(t, srv, phoneName, exchangeConfig{serve: echo})
		var asking sync.WaitGroup
		for i := range 5 {
			asking.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				if got, want := outcome(phone.ask(t.Context(), phone.s, old.s.JID(), get(fmt.Sprint("/", i)))), fmt.Sprintf("%d", 400+i); !strings.HasPrefix(got, "4.0"+want[2:]) {
					t.Errorf("%d: %s", i, got)
				}
			})
		}
		c := <-old.conns
		for i := range 5 {
			if got := old.read(c); !strings.Contains(got, fmt.Sprintf(">/%d<", i)) {
				t.Errorf("%d: %s", i, got)
			}
			time.Sleep(time.Second)
			c.SetReadDeadline(time.Now().Add(time.Millisecond))
			if n, _ := c.Read(make([]byte, 1)); n > 0 {
				t.Error("another request before the answer")
			}
			old.write(c, "%s", answerXML("", []string{"400", "401", "4.02", "403", "404"}[i], ""))
		}
		asking.Wait()
	})
}

// 4.8: a peer that never answers; what waited behind the first request too.
func TestSilentPeer(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		mute := joinForeign(t, srv, lampName, ibb.Config{})
		phone := join(t, srv, phoneName, exchangeConfig{serve: echo})
		start := time.Now()
		var asking sync.WaitGroup
		for i := range 3 {
			asking.Go(func() {
				_, err := phone.ask(t.Context(), phone.s, mute.s.JID(), get("/"))
				refusal, _ := errors.AsType[*oic.StatusError](err)
				if took := time.Since(start); refusal == nil || refusal.Status != oic.GatewayTimeout || took != 30*time.Second {
					t.Errorf("%d: %v after %v", i, err, took)
				}
			})
		}
		asking.Wait()
		synctest.Wait()
		if len(phone.peers) != 0 {
			t.Error("the session goes on: the next answer would be for the wrong request")
		}
	})
}
