// Package framing is XMPP over WebSocket (RFC 7395): a stream whose items come
// one in a message, each with its namespaces, and whose header and end are
// elements. Both halves of XMPP know streams over TCP, so that each message
// becomes what would have come there, and back:
//
//	<open to='…'/>                          <?xml version='1.0'?><stream:stream to='…'>
//	<message xmlns='jabber:client'>…  ◀──▶  <message>…
//	<close/>                                </stream:stream>
//
// Package stream scans both; package wire/websocket carries the messages.
package framing

import (
	"cmp"
	"time"

	"github.com/farreach/farreach/internal/wire/websocket"
	"github.com/farreach/farreach/xmpp/stream"
)

// unfinishedTime is how long the peer may take for one message.
const unfinishedTime = 60 * time.Second

// Protocol is XMPP, for websocket.Dial and websocket.NewListener. The limits are
// those before the log-in.
func Protocol() websocket.Protocol {
	return websocket.Protocol{Name: "xmpp", Spec: "RFC 7395, section 3.1", Text: true, Limit: stream.BeforeAuth().Stanza,
		Unfinished: unfinishedTime, New: func() websocket.Framing { return &Framer{in: stream.Scanner{Limits: stream.BeforeAuth()}} }}
}

// Framer is the framing of one WebSocket.
type Framer struct {
	in     stream.Scanner
	opened bool // a header came

	out stream.Scanner
}

// of is the Framer of a WebSocket for Protocol.
func of(c *websocket.Conn) *Framer { return c.Framing().(*Framer) }

// SetLimits bounds what may come from now on. The goroutine that reads calls it.
func SetLimits(c *websocket.Conn, l stream.Limits) {
	of(c).in.Limits = l
	c.SetLimit(cmp.Or(l.Stanza, stream.DefaultStanza))
}

// Restart makes a WebSocket ready for a new stream (RFC 7395, section 3.7), as
// Scanner.Reset does a scanner. The goroutine that reads calls it.
func Restart(c *websocket.Conn) { of(c).opened = false }

// Unframe makes of a message what a stream would have brought. A stanza stays
// as it is: it declares its namespace itself (RFC 7395, section 3.3.3), which is
// no harm there. The error is a *stream.Error.
func (f *Framer) Unframe(m websocket.Message) error {
	if !m.Text {
		return &stream.Error{Condition: stream.BadFormat, Text: "message is not text", Spec: "RFC 7395, section 3.2"}
	}
	it, err := f.in.Frame(m.B)
	switch {
	case err != nil:
		return err
	case m.Long: // and yet an item, which no limit allows
		return &stream.Error{Condition: stream.PolicyViolation, Text: "stanza is too long"}
	case it.Kind == stream.Opening:
		f.opened = true
		h := stream.ParseHeader(it.Raw)
		m.B = h.Append(m.B[:0]) // h is a copy
	case it.Kind == stream.Closing:
		m.B = append(m.B[:0], f.end(it.Raw)...)
	case len(it.NS) == 0: // a stream would take it for a stanza
		return &stream.Error{Condition: stream.UnsupportedStanzaType, Text: "element without a namespace", Spec: "RFC 7395, section 3.3.3"}
	}
	return nil
}

// end returns the end of a stream for a <close/>. That may come instead of an
// <open/> (section 3.4), and may name another place to go to (section 3.6.1),
// for which a stream has an error.
func (f *Framer) end(raw []byte) (b []byte) {
	if !f.opened {
		h := stream.Header{Version: "1.0"}
		b = h.Append(b)
	}
	tag, _ := stream.NextToken(raw)
	for name, value, rest := stream.NextAttr(tag.Attrs); name != nil; name, value, rest = stream.NextAttr(rest) {
		if string(name) == "see-other-uri" {
			b = append(b, "<stream:error><see-other-host xmlns='"+stream.NSErrors+"'>"...)
			b = stream.AppendText(b, stream.Decode(value))
			b = append(b, "</see-other-host></stream:error>"...)
		}
	}
	return stream.AppendClose(b, false)
}

// unlimited is for what we write, which was judged before.
var unlimited = stream.Limits{Stanza: 1 << 30, Depth: 1 << 20, Elements: 1 << 30, Attributes: 1 << 20, AttributeBytes: 1 << 30, Namespaces: 1 << 20, Name: 1 << 20}

// Frame makes a message of the first item in b, which continues a stream. White
// space is not sent (RFC 7395, section 3.8).
func (f *Framer) Frame(scratch, b []byte) (message []byte, n int, err error) {
	if len(b) == 1 && b[0] == '<' {
		return nil, 0, nil
	}
	if len(b) > 1 && b[0] == '<' && b[1] == '?' { // the stream begins anew
		f.out.Reset()
	}
	f.out.Limits = unlimited
	it, n, err := f.out.Next(b)
	switch {
	case err == stream.ErrShort:
		return nil, 0, nil
	case err != nil:
		return nil, 0, err
	}
	switch scratch = scratch[:0]; it.Kind {
	case stream.Space:
		return nil, n, nil
	case stream.Opening:
		h := stream.ParseHeader(it.Raw)
		return h.AppendOpen(scratch), n, nil
	case stream.Closing:
		return stream.AppendClose(scratch, true), n, nil
	}
	return it.AppendStamped(scratch, stream.Stamp{NS: true}), n, nil
}
