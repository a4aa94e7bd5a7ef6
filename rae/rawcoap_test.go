package rae

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/ibb"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmppd/xmppdtest"
)

// iotivity is a peer that speaks raw CoAP.
type iotivity struct{ *foreign }

func joinIoTivity(t *testing.T, srv *xmppdtest.Server, name string) iotivity {
	return iotivity{joinForeign(t, srv, name, ibb.Config{Block: rawBlock, Idle: -1})}
}

func (f iotivity) open(to jid.JID, sid string) *ibb.Conn {
	f.t.Helper()
	c, err := f.ibb.Offer(f.t.Context(), f.s, to, sid, ibb.IQ, rawBlock)
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

func (f iotivity) hear(c *ibb.Conn) *coap.Message {
	f.t.Helper()
	b := []byte(f.read(c))
	var m coap.Message
	if _, err := m.Parse(coap.UDP, b, len(b)); err != nil {
		f.t.Fatalf("the peer reads %x: %v", b, err)
	}
	return &m
}

func (f iotivity) say(c *ibb.Conn, m *coap.Message) {
	f.t.Helper()
	b, err := m.Append(coap.UDP, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	f.write(c, "%s", b)
}

// sayLast is say of what ends the session, which may come before the block is
// acknowledged.
func (f iotivity) sayLast(c *ibb.Conn, m *coap.Message) {
	f.t.Helper()
	b, err := m.Append(coap.UDP, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := c.Write(b); err != nil && err != io.ErrClosedPipe {
		f.t.Fatal(err)
	}
}

// request is GET of a path.
func request(typ coap.Type, id uint16, token, path string) *coap.Message {
	m := &coap.Message{Type: typ, ID: id, Code: coap.GET, Token: coap.MakeToken([]byte(token))}
	m.SetPath(path)
	return m
}

func about(m *coap.Message) string {
	seq, ok := m.Options.Uint(coap.Observe)
	if !ok {
		return fmt.Sprintf("%v %d %v %s", m.Type, m.ID, m.Code, m.Token)
	}
	return fmt.Sprintf("%v %d %v %s observe %d", m.Type, m.ID, m.Code, m.Token, seq)
}

// on answers {"state":true} to /a/light.
func on(_ context.Context, _ jid.JID, c *Call, reply func(*Answer) error) {
	body, _ := oic.FromJSON(oic.CBOR, []byte(`{"state":true}`))
	if c.Href != "/a/light" {
		body = nil
	}
	reply(&Answer{Response: &oic.Response{Status: oic.Content, Format: oic.CBOR, Body: body}})
}

// E-11, octet by octet.
func TestRawExample(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		join(t, srv, lampName, exchangeConfig{serve: on})
		f := joinIoTivity(t, srv, "IoTivity")
		c := f.open(mustJID(t, annLamp), "5d1f00a7")
		ask, _ := base64.StdEncoding.DecodeString("RAEfKl0fAKexYQVsaWdodA==")
		want, _ := base64.StdEncoding.DecodeString("ZEUfKl0fAKfBPP+hZXN0YXRl9Q==")
		f.write(c, "%s", ask)
		if got := f.read(c); got != string(want) {
			t.Errorf("answered %x, want %x", got, want)
		}
		c.Close()
	})
}

// D20: whoever begins in raw CoAP is answered so, on the same session: an ACK
// for a CON, a NON for a NON.
func TestRawRequests(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		join(t, srv, lampName, exchangeConfig{serve: sized})
		f := joinIoTivity(t, srv, "IoTivity")
		c := f.open(mustJID(t, annLamp), "one")
		for _, tt := range []struct {
			ask  *coap.Message
			want string
		}{
			{request(coap.Confirmable, 7, "ab", "/10"), "ACK 7 2.05 Content 6162"},
			{request(coap.Confirmable, 8, "", "/10"), "ACK 8 2.05 Content "},
			{request(coap.NonConfirmable, 9, "cd", "/10"), "NON 1 2.05 Content 6364"},
			{request(coap.Confirmable, 10, "ef", "/5000"), "ACK 10 5.00 Internal Server Error 6566"}, // 4,096 are all that fits
			{&coap.Message{Type: coap.Confirmable, ID: 11, Code: coap.PATCH}, "ACK 11 4.05 Method Not Allowed "},
			{&coap.Message{Type: coap.Confirmable, ID: 12}, "RST 12 Empty "}, // a ping
		} {
			f.say(c, tt.ask)
			if got := about(f.hear(c)); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		}
		c.Write([]byte{0x40})
		if !isOver(c) {
			t.Error("what is no CoAP does not end the session")
		}
	})
}

// Observations in raw CoAP: notifications are NON with their own Message IDs, and
// end by Observe: 1, a Reset, or with the session.
func TestRawObserved(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		var l lampServer
		join(t, srv, lampName, exchangeConfig{serve: l.serve})
		f := joinIoTivity(t, srv, "IoTivity")
		c := f.open(mustJID(t, annLamp), "one")
		register := func(id uint16, observe uint32) {
			m := request(coap.Confirmable, id, "ab", "/a/light")
			m.AddUint(coap.Observe, observe)
			f.say(c, m)
		}
		expect := func(watchers int, want ...string) (last *coap.Message) {
			t.Helper()
			for _, want := range want {
				last = f.hear(c)
				if got := about(last); got != want {
					t.Errorf("%s, want %s", got, want)
				}
			}
			synctest.Wait()
			if n, _ := l.count(); n != watchers {
				t.Errorf("%d observations, want %d", n, watchers)
			}
			return last
		}
		register(1, 0)
		expect(1, "ACK 1 2.05 Content 6162 observe 1")
		l.set(1)
		last := expect(1, "NON 1 2.05 Content 6162 observe 2")
		f.say(c, &coap.Message{Type: coap.Acknowledgement, ID: 77}) // of nothing
		f.say(c, &coap.Message{Type: coap.Reset, ID: last.ID})
		expect(0)
		register(2, 0)
		expect(1, "ACK 2 2.05 Content 6162 observe 1")
		register(3, 1)
		expect(0, "ACK 3 2.05 Content 6162")
		register(4, 0)
		expect(1, "ACK 4 2.05 Content 6162 observe 1")
		c.Close()
		expect(0)
	})
}

// Peers that are listed, and no others, are asked in raw CoAP: a session for each
// request, named after its token, which ends with the answer.
func TestAskRaw(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		f := joinIoTivity(t, srv, "IoTivity")
		phone := join(t, srv, phoneName, exchangeConfig{serve: echo, legacy: func(j jid.JID) bool { return j == f.s.JID() }})
		asked := make(chan string)
		go func() { asked <- outcome(phone.ask(t.Context(), phone.s, f.s.JID(), get("/a/light?if=oic.if.a"))) }()
		c := <-f.conns
		m := f.hear(c)
		token, _ := hex.DecodeString(c.SID())
		if m.Type != coap.Confirmable || m.Token != coap.MakeToken(token) || m.Options.Path() != "/a/light" || m.Options.Query() != "if=oic.if.a" {
			t.Errorf("session %s, message %v", c.SID(), m)
		}
		f.say(c, &coap.Message{Type: coap.Acknowledgement, ID: m.ID}) // and the answer by itself
		f.sayLast(c, &coap.Message{Type: coap.Confirmable, ID: 5, Code: coap.NotFound, Token: m.Token, Payload: []byte("no such lamp")})
		if got := about(f.hear(c)); got != "ACK 5 Empty " {
			t.Errorf("the answer is acknowledged by %s", got)
		}
		if got := <-asked; got != "4.04 Not Found" {
			t.Error(got)
		}
		if !isOver(c) {
			t.Error("the session outlives its request")
		}
		big := &Call{Request: oic.Request{Op: oic.Update, Href: "/", Format: oic.CBOR, Body: make([]byte, rawBlock)}}
		if _, err := phone.ask(t.Context(), phone.s, f.s.JID(), big); oicStatus(err) != oic.TooLarge || !errors.Is(err, oic.ErrNotSent) {
			t.Errorf("a large request: %v", err)
		}
		start := time.Now()
		if _, err := phone.ask(t.Context(), phone.s, f.s.JID(), get("/")); oicStatus(err) != oic.GatewayTimeout || time.Since(start) != 30*time.Second {
			t.Errorf("no answer: %v", err)
		}
	})
}

// An observation at such a peer has its session for as long as it lasts.
func TestObserveRaw(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		f := joinIoTivity(t, srv, "IoTivity")
		phone := join(t, srv, phoneName, exchangeConfig{serve: echo, legacy: func(jid.JID) bool { return true }})
		w := phone.watch(t, f.s.JID(), get("/a/light"))
		c := <-f.conns
		m := f.hear(c)
		notify := func(typ coap.Type, id uint16, seq uint32) {
			a := &coap.Message{Type: typ, ID: id, Code: coap.Content, Token: m.Token}
			a.AddUint(coap.Observe, seq)
			f.say(c, a)
		}
		notify(coap.Acknowledgement, m.ID, 4)
		w.expect(t, "2.05 Content true ")
		time.Sleep(time.Hour)
		notify(coap.NonConfirmable, 100, 5)
		w.expect(t, "2.05 Content true ")
		notify(coap.NonConfirmable, 99, 3) // older
		w.expect(t)
		w.cancel()
		w.end(t)
		if got, _ := f.hear(c).Options.Uint(coap.Observe); got != 1 {
			t.Errorf("Observe: %d says that nobody listens any more", got)
		}
		if !isOver(c) {
			t.Error("the session outlives the observation")
		}
	})
}

// With LegacyChat, CoAP in the body of a chat message of the own account is
// answered by one; other chat is not.
func TestRawChat(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *xmppdtest.Server) {
		var l lampServer
		lamp := newExchange(exchangeConfig{serve: l.serve})
		t.Cleanup(lamp.close)
		var h xmpp.Handlers
		h.OtherMessage(func(s *xmpp.Session, m *stanza.Message) { lamp.chat(s, m) })
		appear(t, srv, lampName, &h)
		answers := make(chan stanza.Message, 10)
		var oldHandlers xmpp.Handlers
		oldHandlers.OtherMessage(func(_ *xmpp.Session, m *stanza.Message) { answers <- *m })
		old := appear(t, srv, "IoTivity", &oldHandlers)
		say := func(body string) {
			m := stanza.Message{To: mustJID(t, annLamp), Type: "chat", Body: body}
			if err := old.Send(t.Context(), &m); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		hear := func() string {
			t.Helper()
			select {
			case a := <-answers:
				b, _ := base64.StdEncoding.DecodeString(a.Body)
				var m coap.Message
				if _, err := m.Parse(coap.UDP, b, len(b)); err != nil || a.Type != "chat" || len(a.Children) != 1 || a.Children[0].Name != "no-store" {
					t.Errorf("answered by %+v: %v", a, err)
				}
				return about(&m)
			default:
				return ""
			}
		}
		ask := request(coap.Confirmable, 7, "ab", "/a/light")
		ask.AddUint(coap.Observe, 0)
		wire, _ := ask.Append(coap.UDP, nil)
		for _, body := range []string{"hello", "", "aGVsbG8=", base64.StdEncoding.EncodeToString(wire)[1:]} {
			if say(body); len(answers) > 0 {
				t.Errorf("%q is answered by %s", body, hear())
			}
		}
		say(base64.StdEncoding.EncodeToString(wire))
		if got := hear(); got != "ACK 7 2.05 Content 6162 observe 1" {
			t.Error(got)
		}
		l.set(1)
		synctest.Wait()
		if got := hear(); got != "NON 1 2.05 Content 6162 observe 2" {
			t.Error(got)
		}
		lamp.gone(old.JID(), ibb.ErrGone)
		synctest.Wait()
		if n, _ := l.count(); n != 0 || len(lamp.chats) != 0 || len(lamp.peers) != 0 {
			t.Errorf("%d observations, %d chats, %d peers are left", n, len(lamp.chats), len(lamp.peers))
		}
		for i := range maxChats + 1 {
			lamp.chatWith(old, mustJID(t, fmt.Sprint("ann@home.example/", i)))
		}
		if n := len(lamp.chats); n != maxChats {
			t.Errorf("%d chats", n)
		}
	})
}
