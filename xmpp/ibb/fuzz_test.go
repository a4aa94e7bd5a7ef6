package ibb

import (
	"bytes"
	"encoding/base64"
	"log/slog"
	"strconv"
	"testing"

	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
)

// FuzzDecode: what is taken for base64 is the only way to write those bytes.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{"", "YQ==", "YWFh", "YR==", "YW\nFh", "Y===", "YWFh=", "-_-_"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if b, err := decode([]byte(s)); err == nil && base64.StdEncoding.EncodeToString(b) != s {
			t.Errorf("%q is taken for %x", s, b)
		}
	})
}

// FuzzBlocks throws blocks at a session, each an offset of seq from the right
// one, a fault, and some bytes: what can be read is what the right ones held up
// to the first wrong one, and never more than the bound is held.
func FuzzBlocks(f *testing.F) {
	f.Add([]byte("\x00\x05hello\x00\x05world"), false)
	f.Add([]byte("\x00\x01a\x01\x01b\x00\x01c"), true)
	f.Add([]byte("\x00\x00\x00\x00\x00\x01c\x02\x01c"), false)
	phone, _ := jid.Parse(phoneAddr)
	f.Fuzz(func(t *testing.T, script []byte, iqForm bool) {
		form := Message
		if iqForm {
			form = IQ
		}
		w := &world{sides: map[jid.JID]*side{}}
		lamp := &side{w: w, j: phone, done: make(chan struct{}), inbox: make(chan []byte, 1000), Endpoint: New(Config{Buffer: 2000, Block: 200, Log: slog.New(slog.DiscardHandler)})}
		defer lamp.Close()
		c := lamp.newConn(lamp, phone, "s", form, 200)
		lamp.Endpoint.mu.Lock()
		if err := lamp.addLocked(c); err != nil {
			t.Fatal(err)
		}
		lamp.Endpoint.mu.Unlock()
		var want []byte
		good := true
		for seq := uint16(0); len(script) >= 2; seq++ {
			off, n := script[0], min(int(script[1]), len(script)-2)
			block := script[2 : 2+n]
			script = script[2+n:]
			text := base64.StdEncoding.EncodeToString(block)
			if off == 255 {
				text += "="
			}
			iq := &stanza.IQ{ID: "x", From: phone}
			if !iqForm {
				iq = nil
			}
			_, err := c.take(strconv.AppendUint(nil, uint64(seq+uint16(off)), 10), []byte(text), iq)
			if good = good && err == nil; good {
				want = append(want, block...)
			}
			if off != 0 && err == nil {
				t.Fatalf("block %d with fault %d is taken", seq, off)
			}
			lamp.Endpoint.mu.Lock()
			if c.size > 2000+200+perBlock {
				t.Fatalf("%d bytes are held", c.size)
			}
			lamp.Endpoint.mu.Unlock()
		}
		c.end(errClosedByPeer, false)
		var got bytes.Buffer
		if _, err := got.ReadFrom(c); !bytes.Equal(got.Bytes(), want) || good != (err == nil) {
			t.Fatalf("read %q, %v; want %q", got.Bytes(), err, want)
		}
	})
}

// FuzzPrompt: what of a message is taken as it came is what decoding gives.
func FuzzPrompt(f *testing.F) {
	sid := "0123456789abcdef0123456789abcdef"
	to, _ := jid.Parse(lampAddr)
	f.Add(string(oneBlock(to, sid, 7, []byte("a document"))))
	f.Add("<message id='a&amp;-0'><data xmlns='" + NS + "' seq = \"0\"\nsid='a&amp;'>YQ==<!--></data></message>")
	f.Add("<message><x:data xmlns:x='" + NS + "' sid='a' seq='0'>YQ==</x:data></message>")
	f.Add("<message> <data xmlns='" + NS + "' sid='a' seq='0'>YQ<![CDATA[==]]></data><data xmlns='" + NS + "' sid='b' seq='0'>YQ==</data></message>")
	f.Add("<message><data xmlns='" + NS + "' xmlns:x='u' x:sid='b' sid='a' seq='0'>Y&#81;==</data></message>")
	f.Fuzz(func(t *testing.T, in string) {
		var s stream.Scanner
		if _, _, err := s.Next([]byte("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>")); err != nil {
			t.Fatal(err)
		}
		it, _, err := s.Next([]byte(in))
		if err != nil || it.Kind != stream.Stanza || string(it.Name) != "message" || string(it.Child.Name) != "data" || string(it.Child.NS) != NS {
			return
		}
		var b block
		if !b.parse(it.Raw) {
			return
		}
		m, err := stanza.ParseMessage(it.Raw)
		if err != nil {
			return // an address or an id that is none: the session looks at the first, and nobody at the others
		}
		data := &m.Children[0]
		if string(b.sid) != data.Attr("sid") || string(b.seq) != data.Attr("seq") || string(b.text) != data.Text {
			t.Errorf("%q: sid %q, number %q, text %q; decoded: %+v", in, b.sid, b.seq, b.text, data)
		}
	})
}
