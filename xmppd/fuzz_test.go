package xmppd

import (
	"bytes"
	"strings"
	"testing"

	"github.com/farreach/farreach/internal/wire"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
)

// tape is a sink that keeps what it takes.
type tape struct {
	sink
	b []byte
}

func (t *tape) Try(b []byte) (int, error) { t.b = append(t.b, b...); return len(b), nil }

// FuzzRoute sends whatever it is to a server, in one piece and in two. Whatever
// a sibling gets of it are whole stanzas with a true from, and the same both
// times; the sender gets whole items too (threats rules 10 and 12).
func FuzzRoute(f *testing.F) {
	to := " to='ann@home.example/OIC/1.0/oic.d.light/2'"
	for _, s := range []string{
		"<message" + to + "><body>x</body></message>", "<message from='x'" + to + "/>", "<iq type='get' id='1'" + to + "><a xmlns='b'/></iq>",
		"<presence/>", "<presence><priority>-1</priority></presence><presence type='unavailable'/>", "<presence" + to + "/>",
		"<presence type='subscribe' to='bob@home.example'/>", "<message to='bob@home.example/x'/>", "<message to='a@b@c'/>",
		"<iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='x@home.example'/></query></iq>", " \n<r xmlns='urn:xmpp:sm:3'/>",
		"<enable xmlns='urn:xmpp:sm:3' resume='true'/><r xmlns='urn:xmpp:sm:3'/><a xmlns='urn:xmpp:sm:3' h='1'/>", "</stream:stream>",
		"<c:message xmlns:c='jabber:client'" + to + " c:from='x'><![CDATA[</message>]]></c:message>", "<message" + to + " id=\"a'b\" xml:lang='de'/>",
		"<iq type='get' id='1' to='home.example'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>", "<message" + to + "><x:y/></message>",
	} {
		f.Add([]byte(s), 7)
	}
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		cut = min(max(cut, 0), len(b))
		whole := listenTo(t, b)
		if pieces := listenTo(t, b[:cut], b[cut:]); !bytes.Equal(whole, pieces) {
			t.Errorf("cut at %d:\n%q\nin one piece:\n%q", cut, pieces, whole)
		}
	})
}

// listenTo returns what a sibling of whoever sends the pieces gets.
func listenTo(t *testing.T, pieces ...[]byte) []byte {
	a, b, _ := routing(t)
	own, far := &tape{}, &tape{}
	a.queue.Link, b.queue.Link = own, far
	for _, piece := range pieces {
		buffer := wire.Borrow()
		buffer.B = append(buffer.B, piece...)
		if !a.step(buffer) {
			break
		}
	}
	b.queue.Flush()
	a.queue.Flush()
	for _, it := range itemsOf(t, far.b) {
		e, err := stanza.Parse(it, stream.NSClient)
		if err != nil {
			t.Fatalf("a sibling got %q: %v", it, err)
		}
		if from := e.Attr("from"); from != a.session.jid.String() || bytes.Count(it[:bytes.IndexByte(it, '>')], []byte(" from=")) != 1 {
			t.Errorf("a sibling got %q", it)
		}
	}
	itemsOf(t, own.b)
	for _, s := range []*session{a.session, b.session} { // their timers
		s.srv.registry.mu.Lock()
		s.changes.stop()
		s.srv.registry.mu.Unlock()
	}
	a.mu.Lock()
	a.watch.stop()
	a.mu.Unlock()
	return far.b
}

// itemsOf returns the stanzas in what a client got, which must be whole.
func itemsOf(t *testing.T, b []byte) (all [][]byte) {
	var scan stream.Scanner
	h := stream.Header{From: "home.example", Version: "1.0"}
	opening := h.Append(nil)
	_, n, err := scan.Next(opening)
	for len(opening) > n && err == nil {
		opening = opening[n:]
		_, n, err = scan.Next(opening)
	}
	if strings.HasPrefix(string(b), "<?xml") {
		t.Fatalf("a second header: %q", b)
	}
	for len(b) > 0 {
		it, n, err := scan.Next(b)
		if err != nil {
			t.Fatalf("a client got %q: %v", b, err)
		}
		if it.Kind == stream.Stanza && string(it.NS) == stream.NSClient {
			all = append(all, bytes.Clone(it.Raw))
		}
		b = b[n:]
	}
	return all
}
