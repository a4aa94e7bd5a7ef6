package xmpptest

import (
	"bytes"
	"crypto/rand"
	"io"

	"github.com/farreach/farreach/xmpp/ibb"
	"github.com/farreach/farreach/xmpp/stanza"
)

// testBytestreams: what goes into a bytestream comes out of it, both ways and in
// both forms (XEP-0047; RA-070, RA-071); who goes away is missed.
func testBytestreams(t *T) {
	echo := ibb.New(ibb.Config{Serve: func(c *ibb.Conn) { io.Copy(c, c) }})
	lamp := t.streaming("lamp", echo)
	mine := ibb.New(ibb.Config{})
	phone := t.streaming("phone", mine)
	phone.see(lamp.JID(), "")
	data := make([]byte, 200_000)
	rand.Read(data)
	for _, form := range []ibb.Form{ibb.Message, ibb.IQ} {
		c, err := mine.Open(t.Context(), phone.Session, lamp.JID(), form)
		if err != nil {
			t.Fatal(err)
		}
		wrote := make(chan error, 1)
		go func() {
			_, err := c.Write(data)
			wrote <- err
		}()
		got := make([]byte, len(data))
		if n, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s, blocks of %d: %d bytes came back, %v", form, c.Block(), n, err)
		}
		if err := <-wrote; err != nil {
			t.Error(err)
		}
		c.Close()
	}

	c, err := mine.Open(t.Context(), phone.Session, lamp.JID(), ibb.Message)
	if err != nil {
		t.Fatal(err)
	}
	lamp.Session.Close()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the session outlives the peer")
	}
	_, err = mine.Open(t.Context(), phone.Session, lamp.JID(), ibb.IQ)
	if refusal, ok := err.(*stanza.Error); !ok || refusal.Condition != stanza.ServiceUnavailable {
		t.Errorf("a session with nobody: %v", err)
	}
}

// streaming is online with an endpoint of bytestreams that ends with the test.
func (t *T) streaming(resource string, e *ibb.Endpoint) *listener {
	t.Helper()
	l := t.listener()
	cfg := t.config(resource)
	e.Handle(cfg.Handlers)
	l.appear(cfg, -1)
	t.Cleanup(func() { e.Close() })
	return l
}
