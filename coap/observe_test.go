package coap_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/farreach/farreach/coap"
)

// heard collects what an observer hears.
type heard chan string

func (h heard) each(m *coap.Message, err error) {
	switch {
	case err != nil:
		h <- "end: " + err.Error()
	default:
		h <- fmt.Sprintf("%v %s", m.Code, m.Payload)
	}
}

func (h heard) want(t *testing.T, want ...string) {
	t.Helper()
	for _, w := range want {
		if got := <-h; !strings.HasPrefix(got, w) {
			t.Errorf("heard %q, want %q", got, w)
		}
	}
}

// notification is a response with Observe, whose value means nothing on a
// stream: order is the order of arrival (RFC 8323, section 7.1).
func notification(token coap.Token, observe uint32, payload string) *coap.Message {
	m := &coap.Message{Code: coap.Content, Token: token, Payload: []byte(payload)}
	m.AddUint(coap.Observe, observe)
	return m
}

func TestObserve(t *testing.T) {
	overEachWire(t, coap.Config{}, func(t *testing.T, p *peer) {
		h := make(heard, 10)
		o, err := p.conn.Observe(get("/a/light"), h.each)
		if err != nil {
			t.Fatal(err)
		}
		p.expect(coap.CSM)
		m := p.expect(coap.GET)
		if v, ok := m.Options.Uint(coap.Observe); !ok || v != 0 || m.Token.Len() != 8 || m.Options.Path() != "/a/light" {
			t.Errorf("request %v", m)
		}
		for i, observe := range []uint32{5, 0, 0, 3} {
			p.tell(notification(m.Token, observe, fmt.Sprint(i)))
		}
		h.want(t, "2.05 Content 0", "2.05 Content 1", "2.05 Content 2", "2.05 Content 3")

		o.Cancel()
		o.Cancel() // does nothing
		c := p.expect(coap.GET)
		if v, ok := c.Options.Uint(coap.Observe); !ok || v != 1 || c.Token != m.Token || c.Options.Path() != "/a/light" {
			t.Errorf("cancellation %v", c)
		}
		p.tell(notification(m.Token, 0, "late"))
		p.tell(&coap.Message{Code: coap.Content, Token: m.Token})
		p.send("08e2 0000000000000001")
		p.expect(coap.Pong)
		if len(h) != 0 {
			t.Errorf("heard %q after Cancel", <-h)
		}
	})
}

// How an observation ends without Cancel.
func TestObserveEnds(t *testing.T) {
	plain := func(m *coap.Message) *coap.Message { return &coap.Message{Code: coap.Content, Token: m.Token} }
	for _, v := range []struct {
		name   string
		answer func(p *peer, m *coap.Message)
		want   []string
	}{
		{"not observable", func(p *peer, m *coap.Message) { p.tell(plain(m)) },
			[]string{"2.05 Content", "end: coap: not observed"}},
		{"refused", func(p *peer, m *coap.Message) { p.tell(&coap.Message{Code: coap.NotFound, Token: m.Token}) },
			[]string{"4.04 Not Found", "end: coap: not observed"}},
		{"gone later", func(p *peer, m *coap.Message) {
			p.tell(notification(m.Token, 0, "on"))
			gone := notification(m.Token, 0, "")
			gone.Code = coap.NotFound
			p.tell(gone)
		}, []string{"2.05 Content on", "4.04 Not Found", "end: coap: not observed"}},
		{"observation taken back", func(p *peer, m *coap.Message) {
			p.tell(notification(m.Token, 0, "on"))
			p.tell(plain(m))
		}, []string{"2.05 Content on", "2.05 Content", "end: coap: not observed"}},
		{"connection gone", func(p *peer, m *coap.Message) {
			p.tell(notification(m.Token, 0, "on"))
			p.nc.Close()
		}, []string{"2.05 Content on", "end: coap: connection closed: "}},
		{"released", func(p *peer, m *coap.Message) { p.tell(&coap.Message{Code: coap.Release, Token: m.Token}) },
			[]string{"end: coap: connection closed: coap: released by the peer"}},
		{"malformed", func(p *peer, m *coap.Message) {
			p.write(append(append(unhex("d83445"), m.Token.Append(nil)...), make([]byte, 65)...))
		}, []string{"end: coap: byte "}},
	} {
		t.Run(v.name, func(t *testing.T) {
			p := newPeer(t, "tcp", coap.Config{}, coap.Client)
			h := make(heard, 10)
			o, err := p.conn.Observe(get("/"), h.each)
			if err != nil {
				t.Fatal(err)
			}
			p.expect(coap.CSM)
			v.answer(p, p.expect(coap.GET))
			h.want(t, v.want...)
			o.Cancel() // too late, and harmless
			if len(h) > 0 {
				t.Errorf("then heard %q", <-h)
			}
		})
	}
}

// Cancel may be called from each.
func TestCancelInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t, "pipe", coap.Config{}, coap.Client)
		var o *coap.Observation
		calls := 0
		o, err := p.conn.Observe(get("/"), func(*coap.Message, error) { calls++; o.Cancel() })
		if err != nil {
			t.Fatal(err)
		}
		p.expect(coap.CSM)
		m := p.expect(coap.GET)
		p.tell(&coap.Message{Code: coap.Content, Token: m.Token}) // an end too
		p.expect(coap.GET)
		p.nc.Close()
		synctest.Wait()
		if calls != 1 {
			t.Errorf("each was called %d times, want 1", calls)
		}
	})
}

// Observe on a connection that is over, or about to be.
func TestObserveTooLate(t *testing.T) {
	p := newPeer(t, "tcp", coap.Config{}, coap.Client)
	p.expect(coap.CSM)
	p.conn.Close()
	if _, err := p.conn.Observe(get("/"), func(*coap.Message, error) {}); !errors.Is(err, coap.ErrClosed) {
		t.Errorf("Observe: %v, want ErrClosed", err)
	}
}
