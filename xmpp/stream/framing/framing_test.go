package framing

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/farreach/farreach/internal/wire"
	"github.com/farreach/farreach/internal/wire/websocket"
	"github.com/farreach/farreach/xmpp/stream"
)

const header = `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>`

func unframe(f *Framer, message string) (string, error) {
	m := websocket.Message{Buffer: &wire.Buffer{B: []byte(message)}, Text: true}
	err := f.Unframe(m)
	return string(m.B), err
}

// frames makes messages of what follows a header, of which ever more comes.
func frames(f *Framer, b []byte, step int) (messages []string, err error) {
	f.Frame(nil, []byte(header))
	for from, to := 0, 0; to < len(b); {
		to = min(to+step, len(b))
		for n := 1; n > 0 && from < to; from += n {
			var message []byte
			if message, n, err = f.Frame(nil, b[from:to]); err != nil {
				return messages, err
			}
			if message != nil {
				messages = append(messages, string(message))
			}
		}
	}
	return messages, nil
}

// TestExamplesOfTheRFC: the messages of RFC 7395, there and back.
func TestExamplesOfTheRFC(t *testing.T) {
	text, err := os.ReadFile("testdata/rfc7395.txt")
	if err != nil {
		t.Fatal(err)
	}
	f, onStream, seen := new(Framer), "", 0
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "< "):
			if onStream, err = unframe(f, line[2:]); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
		case strings.HasPrefix(line, "= "):
			seen++
			if onStream != line[2:] {
				t.Errorf("on a stream\n%s\nwant\n%s", onStream, line[2:])
			}
		case strings.HasPrefix(line, "> "):
			message, n, err := f.Frame(nil, []byte(onStream))
			if string(message) != line[2:] || n != len(onStream) || err != nil {
				t.Errorf("message\n%s, %d, %v\nwant\n%s", message, n, err, line[2:])
			}
		}
	}
	if seen != 8 {
		t.Errorf("%d examples", seen)
	}
}

// TestCloseInsteadOfOpen: a server may answer <open/> with <close/> (RFC 7395,
// section 3.4), which a stream would say behind a header; each time that a
// stream begins.
func TestCloseInsteadOfOpen(t *testing.T) {
	const end = "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"
	f := new(Framer)
	for range 2 {
		if got, err := unframe(f, end); got != header+"</stream:stream>" || err != nil {
			t.Errorf("%s, %v", got, err)
		}
		f.opened = true
		if got, err := unframe(f, end); got != "</stream:stream>" || err != nil {
			t.Errorf("%s, %v", got, err)
		}
		f.opened = false
	}
}

// TestRefused: messages that are no text, too long, or no element with a
// namespace, by the names of their errors (Bad23).
func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		m         websocket.Message
		in        string
		condition string
	}{
		{websocket.Message{}, "<a xmlns='b'/>", stream.BadFormat},
		{websocket.Message{Text: true, Long: true}, "<a xmlns='b'>", stream.NotWellFormed},
		{websocket.Message{Text: true, Long: true}, "<a xmlns='b'/>", stream.PolicyViolation},
		{websocket.Message{Text: true}, "<a/>", stream.UnsupportedStanzaType},
		{websocket.Message{Text: true}, "<a xmlns='b'/> ", stream.NotWellFormed},
		{websocket.Message{Text: true}, "<?xml version='1.0'?><a xmlns='b'/>", stream.RestrictedXML},
		{websocket.Message{Text: true}, "", stream.NotWellFormed},
		{websocket.Message{Text: true}, header, stream.RestrictedXML},
	} {
		tt.m.Buffer = &wire.Buffer{B: []byte(tt.in)}
		if bad, ok := errors.AsType[*stream.Error](new(Framer).Unframe(tt.m)); !ok || bad.Condition != tt.condition {
			t.Errorf("%q: %v, want %s", tt.in, bad, tt.condition)
		}
	}
}

// TestSpaceIsNotSent: RFC 7395, section 3.8; and a stream that begins anew.
func TestSpaceIsNotSent(t *testing.T) {
	got, err := frames(new(Framer), []byte(" <a/>\n "+header+" <b/> "), 1)
	want := []string{"<a xmlns='jabber:client'/>", "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' version='1.0'/>", "<b xmlns='jabber:client'/>"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// FuzzFraming: what comes in messages is what a stream would have given, and the
// other way round, however the bytes come.
func FuzzFraming(f *testing.F) {
	for _, s := range []string{
		"<message to='a' from=\"b\"><body>x</body></message> <iq id='1'/></stream:stream>", "<x:a xmlns:x='u'><b/></x:a>",
		"<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>", "<a xmlns='b' ><![CDATA[</a>]]></a>",
		"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='x'/>", "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing' see-other-uri='a&amp;b'/>",
		"<stream:error xmlns:stream='http://etherx.jabber.org/streams' xmlns='jabber:client'><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
	} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, in []byte, step int) {
		checkMessage(t, string(in))
		checkStream(t, in, max(step, 1))
	})
}

// checkMessage takes in for a message: what a stream brings instead is one item
// that says the same.
func checkMessage(t *testing.T, in string) {
	it, err := new(stream.Scanner).Frame([]byte(in))
	got, err2 := unframe(&Framer{opened: true}, in)
	switch {
	case err != nil && (err2 == nil || err.Error() != err2.Error()):
		t.Fatalf("%q: %v, not %v", in, err2, err)
	case err2 != nil:
		return
	case it.Kind == stream.Opening:
		raw, n, err := new(stream.Scanner).Next([]byte(got))
		header, want := stream.ParseHeader(raw.Raw), stream.ParseHeader([]byte(in))
		want.Namespace = stream.NSClient
		if err != nil || n != len(got) || header != want {
			t.Fatalf("%q became %q: %v", in, got, err)
		}
		return
	}
	items := itemsOf(t, []byte(got))
	last := items[len(items)-1]
	if last.Kind != it.Kind || it.Kind == stream.Stanza && (len(items) > 1 || got != in || !same(&last, &it)) {
		t.Fatalf("%q became %q", in, got)
	}
}

// checkStream takes in for what follows a header: sent in messages, the same
// comes out.
func checkStream(t *testing.T, in []byte, step int) {
	s := opened(t)
	var want []stream.Item
	whole := 0
	for {
		it, n, err := s.Next(in[whole:])
		if err != nil {
			break
		}
		whole += n
		if it.Kind != stream.Space {
			want = append(want, it)
		}
		if it.Kind == stream.Closing {
			break
		}
	}
	messages, err := frames(new(Framer), in[:whole], step)
	if err != nil || len(messages) != len(want) {
		t.Fatalf("%q, %d bytes at a time: %q, %v", in[:whole], step, messages, err)
	}
	back := &Framer{opened: true, in: stream.Scanner{Limits: unlimited}}
	for i, message := range messages {
		got, err := unframe(back, message)
		if string(want[i].NS) == stream.NSFraming || len(want[i].NS) == 0 {
			return // not for a stream, or not for a message
		}
		if err != nil {
			t.Fatalf("%q: %v", message, err)
		}
		items := itemsOf(t, []byte(got))
		if len(items) != 1 || !same(&items[0], &want[i]) || !bytes.Equal(content(items[0].Raw), content(want[i].Raw)) {
			t.Fatalf("%q was sent as %q and came as %q", want[i].Raw, message, got)
		}
	}
}

func opened(t *testing.T) *stream.Scanner {
	s := &stream.Scanner{Limits: unlimited}
	if _, _, err := s.Next([]byte(header)); err != nil {
		t.Fatal(err)
	}
	return s
}

// itemsOf cuts b, which follows a header.
func itemsOf(t *testing.T, b []byte) (items []stream.Item) {
	for s := opened(t); len(b) > 0; {
		it, n, err := s.Next(b)
		if err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		items, b = append(items, it), b[n:]
	}
	return items
}

// same reports whether two items say the same. Whether a child without a
// namespace has that of the header depends on where it stands.
func same(a, b *stream.Item) bool {
	child := bytes.Equal(a.Child.NS, b.Child.NS) || string(a.Child.NS)+string(b.Child.NS) == stream.NSClient
	return a.Kind == b.Kind && bytes.Equal(a.Name, b.Name) && bytes.Equal(a.NS, b.NS) && bytes.Equal(a.To, b.To) && bytes.Equal(a.From, b.From) &&
		bytes.Equal(a.ID, b.ID) && bytes.Equal(a.Type, b.Type) && bytes.Equal(a.Lang, b.Lang) && bytes.Equal(a.Child.Name, b.Child.Name) && child
}

// content is what an item holds behind its start tag.
func content(raw []byte) []byte {
	_, n := stream.NextToken(raw)
	return raw[n:]
}
