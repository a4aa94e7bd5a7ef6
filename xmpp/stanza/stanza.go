// Package stanza holds what XMPP entities say to each other: messages, presence
// and requests, with whatever extensions they carry.
//
//	stream.Item.Raw ──▶ Parse ──▶ Element ──▶ ParseMessage, ParsePresence, ParseIQ ──▶ who must understand it
//	stream.Writer   ◀── Append ◀── Message, Presence, IQ ◀──────────────────────────── who has something to say
//
// An Element is a small tree. Only what must be understood is made one: a server
// passes on the bytes of the rest. Parse takes bytes that a stream.Scanner has
// accepted; others give an error, or an element without sense, never a panic.
//
// Character data between child elements is joined to one text: no extension
// used here has mixed content.
package stanza

import (
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stream"
)

// maxID is how long the id of a stanza may be, bytes.
const maxID = 256

// Message is a message stanza (RFC 6121, section 5).
type Message struct {
	From, To jid.JID   // zero: none
	ID       string    // "": none
	Type     string    // chat, error, groupchat, headline; "": normal
	Lang     string    // xml:lang; "": none
	Body     string    // the first body; "": none
	Children []Element // all but Body and Err
	Err      *Error    // of type error
}

// Presence is a presence stanza (RFC 6121, section 4).
type Presence struct {
	From, To jid.JID   // zero: none
	ID       string    // "": none
	Type     string    // unavailable, subscribe, probe, error, …; "": available
	Lang     string    // xml:lang; "": none
	Show     string    // away, chat, dnd, xa; "": none
	Status   string    // the first status; "": none
	Priority int8      // 0: none is said
	Children []Element // all but the above and Err
	Err      *Error    // of type error
}

// IQ is a request or the answer to one (RFC 6120, section 8.2.3).
type IQ struct {
	From, To jid.JID  // zero: none
	ID       string   // never ""
	Type     string   // get, set, result, error
	Lang     string   // xml:lang; "": none
	Payload  *Element // of an error: what the request held, if it came back
	Err      *Error   // of type error
}

// ParseMessage reads a message. The error is a *jid.Error or an *Error, which
// is what to answer; what could be read of m is valid all the same.
func ParseMessage(raw []byte) (m Message, err error) {
	var t top
	t.parse(raw, "message")
	m = Message{From: t.from, To: t.to, ID: t.id, Type: t.typ, Lang: t.lang, Err: t.failure}
	body, ok := t.take("body")
	if ok {
		m.Body = body.Text
	}
	m.Children = t.children
	return m, t.err
}

// ParsePresence reads a presence. The error is as in ParseMessage; a priority
// that is no number from -128 to 127 is one.
func ParsePresence(raw []byte) (p Presence, err error) {
	var t top
	t.parse(raw, "presence")
	p = Presence{From: t.from, To: t.to, ID: t.id, Type: t.typ, Lang: t.lang, Err: t.failure}
	if e, ok := t.take("show"); ok {
		p.Show = e.Text
	}
	if e, ok := t.take("status"); ok {
		p.Status = e.Text
	}
	if e, ok := t.take("priority"); ok {
		p.Priority, err = parsePriority(e.Text)
		t.fail(err)
	}
	p.Children = t.children
	return p, t.err
}

// ParseIQ reads an iq. The error is as in ParseMessage; what RFC 6120, section
// 8.2.3, does not allow is one.
func ParseIQ(raw []byte) (iq IQ, err error) {
	var t top
	t.parse(raw, "iq")
	iq = IQ{From: t.from, To: t.to, ID: t.id, Type: t.typ, Lang: t.lang, Err: t.failure}
	if len(t.children) > 0 {
		iq.Payload = &t.children[0]
	}
	switch n := len(t.children); {
	case iq.ID == "":
		t.fail(badRequest("iq without an id"))
	case iq.Type == "get" || iq.Type == "set":
		if n != 1 {
			t.fail(badRequest("request without exactly one payload"))
		}
	case iq.Type == "result":
		if n > 1 {
			t.fail(badRequest("result with more than one payload"))
		}
	case iq.Type == "error":
		if iq.Err == nil {
			t.fail(badRequest("iq of type error without an error"))
		}
	default:
		t.fail(badRequest("iq of an unknown type"))
	}
	return iq, t.err
}

// IsRequest reports whether iq must be answered.
func (iq *IQ) IsRequest() bool { return iq.Type == "get" || iq.Type == "set" }

// Result is the answer to iq: payload, or nothing if that is nil.
func (iq *IQ) Result(payload *Element) IQ {
	return IQ{From: iq.To, To: iq.From, ID: iq.ID, Type: "result", Payload: payload}
}

// Refuse is the answer to iq that it failed with err. The payload does not come
// back.
func (iq *IQ) Refuse(err *Error) IQ {
	return IQ{From: iq.To, To: iq.From, ID: iq.ID, Type: "error", Err: err}
}

// Append appends m as XML, for a stream whose default namespace is
// jabber:client.
func (m *Message) Append(dst []byte) []byte {
	dst = appendTop(dst, "message", m.From, m.To, m.ID, m.Type, m.Lang)
	inside := len(dst)
	dst = appendText(dst, "body", m.Body)
	dst = appendChildren(dst, m.Children)
	return appendBottom(dst, inside, "message", m.Err)
}

// Append appends p as Message.Append does.
func (p *Presence) Append(dst []byte) []byte {
	dst = appendTop(dst, "presence", p.From, p.To, p.ID, p.Type, p.Lang)
	inside := len(dst)
	dst = appendText(dst, "show", p.Show)
	dst = appendText(dst, "status", p.Status)
	dst = appendPriority(dst, p.Priority)
	dst = appendChildren(dst, p.Children)
	return appendBottom(dst, inside, "presence", p.Err)
}

// Append appends iq as Message.Append does.
func (iq *IQ) Append(dst []byte) []byte {
	dst = appendTop(dst, "iq", iq.From, iq.To, iq.ID, iq.Type, iq.Lang)
	inside := len(dst)
	if iq.Payload != nil {
		dst = iq.Payload.Append(dst, stream.NSClient)
	}
	return appendBottom(dst, inside, "iq", iq.Err)
}
