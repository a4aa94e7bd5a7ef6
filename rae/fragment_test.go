package rae

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/xmpp/ibb"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmppd/xmppdtest"
)

// sized answers with as many bytes of text as the path says.
func sized(_ context.Context, _ jid.JID, c *Call, reply func(*Answer) error) {
	var n int
	fmt.Sscanf(c.Href, "/%d", &n)
	reply(&Answer{Response: &oic.Response{Status: oic.Content, Format: oic.CBOR, Body: bulk(n)}})
}

// bulk is a representation with n bytes of text, in pieces that are allowed.
func bulk(n int) []byte {
	var b strings.Builder
	b.WriteString(`["`)
	for ; n > 50_000; n -= 50_000 {
		b.WriteString(strings.Repeat("x", 50_000) + `","`)
	}
	b.WriteString(strings.Repeat("x", n) + `"]`)
	body, err := oic.FromJSON(oic.CBOR, []byte(b.String()))
	if err != nil {
		panic(err)
	}
	return body
}

// sizeOf is how long the text in a representation is, or what else came.
func sizeOf(a *Answer, err error) string {
	if err != nil || a.Refusal != nil {
		return outcome(a, err)
	}
	body, _ := oic.ToJSON(a.Response.Format, a.Response.Body)
	return fmt.Sprint(strings.Count(string(body), "x"))
}

func (e *end) sessions() int { return len(e.conns()) }

// conns are the bytestreams of e.
func (e *end) conns() (all []carrier) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range e.peers {
		for _, se := range p.sessions {
			all = append(all, se.conn)
		}
	}
	return all
}

// IBB rule 9 (b): an answer that no block holds goes in several once the peer has
// named an OIC-Max-Message, and so does a request.
func TestFragments(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		lamp := join(t, srv, lampName, exchangeConfig{serve: sized})
		phone := join(t, srv, phoneName, exchangeConfig{serve: echo, block: 4096})
		big := &Call{Request: oic.Request{Op: oic.Update, Href: "/5", Accept: oic.CBOR, Format: oic.CBOR, Body: bulk(20_000)}}
		if got := sizeOf(phone.ask(t.Context(), phone.s, lamp.s.JID(), big)); got != "5" {
			t.Errorf("a large request as the first of all: %s", got)
		}
		var asking sync.WaitGroup
		for _, n := range []int{10, 3000, 5000, 100_000, 200_000} {
			asking.Go(func() {
				if got := sizeOf(phone.ask(t.Context(), phone.s, lamp.s.JID(), get(fmt.Sprint("/", n)))); got != fmt.Sprint(n) {
					t.Errorf("%d: %s", n, got)
				}
			})
		}
		asking.Wait()
		if got := sizeOf(phone.ask(t.Context(), phone.s, lamp.s.JID(), get("/270000"))); got != "5.00 Internal Server Error too-large" {
			t.Errorf("beyond what anybody takes: %s", got)
		}
		if got := sizeOf(phone.ask(t.Context(), phone.s, lamp.s.JID(), big)); got != "5" {
			t.Errorf("a large request: %s", got)
		}
		if n := lamp.sessions(); n != 1 {
			t.Errorf("%d sessions are left", n)
		}
		if n := phone.broken.Load() + lamp.broken.Load() + phone.strays.Load(); n != 0 {
			t.Errorf("%d sessions or answers were broken", n)
		}
	})
}

// A request that is too large for a peer that cannot put parts together fails
// here, after a small one that asks it.
func TestTooLargeForPeer(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		f := joinForeign(t, srv, lampName, ibb.Config{Block: 4096})
		phone := join(t, srv, phoneName, exchangeConfig{serve: echo})
		asked := make(chan error)
		go func() {
			big := &Call{Request: oic.Request{Op: oic.Update, Href: "/", Accept: oic.CBOR, Format: oic.CBOR, Body: bulk(5000)}}
			_, err := phone.ask(t.Context(), phone.s, f.s.JID(), big)
			asked <- err
		}()
		c := <-f.conns
		hello := f.read(c)
		if !strings.Contains(hello, "/oic/d<") || !strings.Contains(hello, "OIC-Max-Message") {
			t.Errorf("asked is %s", hello)
		}
		f.write(c, "%s", answerXML(tokenOf(hello), "200 OK", ""))
		if err := <-asked; !tooLarge(err) {
			t.Error(err)
		}
	})
}

func oicStatus(err error) oic.Status {
	refusal, _ := errors.AsType[*oic.StatusError](err)
	if refusal == nil {
		return 0
	}
	return refusal.Status
}

// IBB rule 9 (a): an answer that is too large for the session of a request with
// a token goes over one that the responder opens.
func TestLargerSession(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		lamp := join(t, srv, lampName, exchangeConfig{serve: sized})
		phone := joinForeign(t, srv, phoneName, ibb.Config{Idle: -1})
		c, err := phone.ibb.Offer(t.Context(), phone.s, lamp.s.JID(), "small", ibb.Message, 2000)
		if err != nil {
			t.Fatal(err)
		}
		const ask = `<rest xmlns="rest.oic.org"><url method="GET">/%d</url>%s</rest>`
		phone.write(c, ask, 5000, `<headers><header name="OIC-Token">ab12</header></headers>`)
		larger := <-phone.conns
		if got := phone.read(larger); tokenOf(got) != "ab12" || strings.Count(got, "xxxxx") != 1000 {
			t.Errorf("over the larger session: %d bytes", len(got))
		}
		phone.write(c, ask, 6000, `<headers><header name="OIC-Token">ab13</header></headers>`)
		if got := phone.read(larger); tokenOf(got) != "ab13" {
			t.Errorf("again: %s", got)
		}
		phone.write(c, ask, 7, `<headers><header name="OIC-Token">ab14</header></headers>`)
		if got := phone.read(c); tokenOf(got) != "ab14" {
			t.Errorf("a small one: %s", got)
		}
		phone.write(c, ask, 5000, "")
		if got := phone.read(c); !strings.Contains(got, ">500 Internal Server Error<") || !strings.Contains(got, "too-large") {
			t.Errorf("without a token: %s", got)
		}
		synctest.Wait()
		if n := lamp.sessions(); n != 2 {
			t.Errorf("%d sessions", n)
		}
	})
}
