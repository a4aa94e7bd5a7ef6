package ibb

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
)

// sendTime is how long a word to a peer may wait for room on the way to the
// server.
const sendTime = 10 * time.Second

// refuse is an error of type cancel (XEP-0047, section 2.2).
func refuse(condition string) error { return &stanza.Error{Type: "cancel", Condition: condition} }

// refused reports whether err is what the peer, or a server in its place, says.
func refused(err error) bool {
	_, ok := errors.AsType[*stanza.Error](err)
	return ok
}

// opened answers <open/>. The answer is sent by itself, before whoever serves
// the session can send anything.
func (e *Endpoint) opened(s Session, iq *stanza.IQ) error {
	peer := iq.From
	if e.cfg.Serve == nil && e.cfg.Receive == nil || peer.IsBare() || peer == s.JID() || !e.allows(s, peer) {
		return stanza.NewError(stanza.ServiceUnavailable, "") // as one that knows no bytestreams
	}
	open := iq.Payload
	sid, form := open.Attr("sid"), Form(open.Attr("stanza"))
	if form == "" {
		form = IQ // the schema's default
	}
	block, err := strconv.ParseUint(open.Attr("block-size"), 10, 31)
	switch {
	case iq.Type != "set", sid == "", len(sid) > maxSID, form != IQ && form != Message, err != nil, block == 0:
		return stanza.NewError(stanza.BadRequest, "")
	case block > maxBlock:
		return refuse(stanza.NotAcceptable) // RA-073
	case int(block) > e.cfg.Block:
		return &stanza.Error{Type: "modify", Condition: stanza.ResourceConstraint}
	}
	c := e.newConn(s, peer, sid, form, int(block))
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.addLocked(c) != nil {
		return refuse(stanza.NotAcceptable)
	}
	e.tasks.Go(func() { e.serve(c, iq) })
	return xmpp.ErrLater
}

// serve tells the peer that the session is open and has it served.
func (e *Endpoint) serve(c *Conn, iq *stanza.IQ) {
	err := e.send(c.s, iq.Result(nil))
	if err == nil && c.receiver != nil {
		return
	}
	defer c.Close()
	if err == nil {
		e.cfg.Serve(c)
	}
}

// send sends an answer.
func (e *Endpoint) send(s Session, iq stanza.IQ) error {
	iq.From = jid.JID{}
	return e.sendRaw(s, iq.Append(nil))
}

func (e *Endpoint) sendRaw(s Session, b []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), sendTime)
	defer cancel()
	return s.SendRaw(ctx, b)
}

// allows reports whether peer may open a session.
func (e *Endpoint) allows(s Session, peer jid.JID) bool {
	if e.cfg.Allow != nil {
		return e.cfg.Allow(s, peer)
	}
	return peer.Bare() == s.JID().Bare()
}

// find returns the session with peer that is called sid; nil: there is none.
func (e *Endpoint) find(s Session, peer jid.JID, sid string) *Conn {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.conns[key{s, peer, sid}]
}

// findRaw is find, which allocates nothing.
func (e *Endpoint) findRaw(s Session, peer jid.JID, sid []byte) *Conn {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.conns[key{s, peer, string(sid)}]
}

// unknown is the answer to what concerns no session. Who may not open any hears
// what one hears from those that know no bytestreams.
func (e *Endpoint) unknown(s Session, peer jid.JID) error {
	if !e.allows(s, peer) {
		return stanza.NewError(stanza.ServiceUnavailable, "")
	}
	return refuse(stanza.ItemNotFound)
}

// asked takes a block in an iq, whatever form the session was opened in: foreign
// peers do not keep to that.
func (e *Endpoint) asked(s Session, iq *stanza.IQ) error {
	c := e.find(s, iq.From, iq.Payload.Attr("sid"))
	switch {
	case c == nil:
		return e.unknown(s, iq.From)
	case iq.Type != "set":
		return refuse(stanza.BadRequest)
	}
	later, err := c.take([]byte(iq.Payload.Attr("seq")), []byte(iq.Payload.Text), iq)
	if err == nil && later {
		return xmpp.ErrLater
	}
	return err
}

// block is a block in a message, as it stands there: who sent it, and the
// attributes and the text of <data/>.
type block struct {
	from           jid.JID
	id             string
	sid, seq, text []byte
}

// prompt takes a block in a message as it came, if that is nothing else but what
// most of them are.
func (e *Endpoint) prompt(s Session, from jid.JID, it *stream.Item) bool {
	b := block{from: from}
	if from == s.JID() || !b.parse(it.Raw) {
		return false
	}
	c := e.findRaw(s, from, b.sid)
	if c == nil {
		return false // somebody has to be told
	}
	if _, err := c.take(b.seq, b.text, nil); err != nil {
		b.id = string(stream.Decode(it.ID))
		e.broken(s, c, &b, err)
	}
	return true
}

// parse reads the beginning of a message: its tag, and <data/> with text that
// needs no decoding. It reports false for everything else.
func (b *block) parse(raw []byte) bool {
	tag, n := stream.NextToken(raw)
	data, m := stream.NextToken(raw[n:])
	if tag.Kind != stream.StartTag || tag.Empty || data.Kind != stream.StartTag || data.Empty || string(data.Name) != "data" {
		return false
	}
	raw = raw[n+m:]
	for name, value, rest := stream.NextAttr(data.Attrs); name != nil; name, value, rest = stream.NextAttr(rest) {
		switch string(name) {
		case "sid":
			b.sid = stream.Decode(value)
		case "seq":
			b.seq = stream.Decode(value)
		}
	}
	text, n := stream.NextToken(raw)
	end, _ := stream.NextToken(raw[n:])
	b.text = text.Decode()
	return text.Kind == stream.Chars && end.Kind == stream.EndTag && b.sid != nil && b.seq != nil
}

// message takes a block in a message.
func (e *Endpoint) message(s Session, m *stanza.Message) {
	if m.Type == "error" || m.From == s.JID() {
		return // IBB rule 4
	}
	data := &stanza.Element{}
	for i := range m.Children {
		if c := &m.Children[i]; c.NS == NS && c.Name == "data" {
			data = c
			break
		}
	}
	b := block{m.From, m.ID, []byte(data.Attr("sid")), []byte(data.Attr("seq")), []byte(data.Text)}
	c := e.findRaw(s, m.From, b.sid)
	var err error
	switch {
	case c != nil:
		_, err = c.take(b.seq, b.text, nil)
	case e.allows(s, m.From):
		err = refuse(stanza.ItemNotFound)
	}
	e.broken(s, c, &b, err)
}

// broken answers a block that makes no sense, but not too often. c is the session
// that it was for; nil: there is none.
func (e *Endpoint) broken(s Session, c *Conn, b *block, err error) {
	refusal, bad := errors.AsType[*stanza.Error](err)
	if !bad {
		return
	}
	tell := e.mayTell(b.from)
	answer := b.refuse(refusal)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	e.tasks.Go(func() { // for there may be no room on the way to the server
		if tell {
			e.sendRaw(s, answer)
		}
		if c != nil {
			c.farewell(nil, true) // also for those that no error reaches
		}
	})
}

// refuse is the answer to a message, as XEP-0047, section 2.2, has it.
func (b *block) refuse(why *stanza.Error) []byte {
	answer := stanza.Message{To: b.from, ID: b.id, Type: "error", Err: why, Children: []stanza.Element{{
		NS: NS, Name: "data", Attrs: []stanza.Attr{{Name: "sid", Value: string(b.sid)}, {Name: "seq", Value: string(b.seq)}},
	}}}
	return answer.Append(nil)
}

// mayTell reports whether a peer may hear of an error again: once in a second.
func (e *Endpoint) mayTell(peer jid.JID) bool {
	const most = 1024
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	if last, ok := e.told[peer]; e.closed || ok && now.Sub(last) < time.Second {
		return false
	}
	if len(e.told) >= most {
		for j, last := range e.told {
			if now.Sub(last) >= time.Second {
				delete(e.told, j)
			}
		}
		if len(e.told) >= most {
			return false
		}
	}
	e.told[peer] = now
	return true
}

// closes answers <close/>.
func (e *Endpoint) closes(s Session, iq *stanza.IQ) error {
	c := e.find(s, iq.From, iq.Payload.Attr("sid"))
	if c == nil {
		return e.unknown(s, iq.From)
	}
	c.end(errClosedByPeer, false)
	return nil
}

// bounced takes an error for a message of ours, and reports whether it was one:
// the session that it was for is over (IBB rule 7).
func (e *Endpoint) bounced(s Session, m *stanza.Message) bool {
	i := strings.LastIndexByte(m.ID, '-') // see frame
	if i < 0 {
		return false
	}
	c := e.find(s, m.From, m.ID[:i])
	if c == nil || c.form != Message {
		return false
	}
	var err error = ErrGone
	if m.Err != nil {
		err = m.Err
	}
	c.end(err, false)
	return true
}

// presence ends the sessions of a peer that is not available any more.
func (e *Endpoint) presence(s Session, p *stanza.Presence) {
	if p.Type == "unavailable" || p.Type == "error" {
		e.endAll(func(k key) bool { return k.s == s && (k.peer == p.From || k.peer.Bare() == p.From) }, ErrGone, false)
	}
}

// strict is base64 without bits left over.
var strict = base64.StdEncoding.Strict()

// decode is base64 as RFC 4648, section 4, has it: no other character, no line
// end, padding at the end only, no bits left over.
func decode(text []byte) ([]byte, error) {
	if bytes.IndexByte(text, '\n') >= 0 || bytes.IndexByte(text, '\r') >= 0 {
		return nil, base64.CorruptInputError(0)
	}
	b := make([]byte, strict.DecodedLen(len(text)))
	n, err := strict.Decode(b, text)
	return b[:n], err
}

// frame is what is the same in all messages of one session, before and behind
// the number of the block (IBB rule 5).
type frame struct{ before, between []byte }

func newFrame(peer jid.JID, sid string) (f frame) {
	f.before = append(stream.AppendEscaped([]byte("<message id='"), sid), '-')
	f.between = stream.AppendEscaped([]byte("' to='"), peer.String())
	f.between = append(f.between, "'><data xmlns='"+NS+"' sid='"...)
	f.between = append(stream.AppendEscaped(f.between, sid), "' seq='"...)
	return f
}

// append appends a block in the message form. Its id tells what an error is
// about.
func (f *frame) append(dst []byte, seq uint16, block []byte) []byte {
	dst = strconv.AppendUint(append(dst, f.before...), uint64(seq), 10)
	dst = strconv.AppendUint(append(dst, f.between...), uint64(seq), 10)
	dst = base64.StdEncoding.AppendEncode(append(dst, "'>"...), block)
	return append(dst, "</data><no-store xmlns='"+nsHints+"'/></message>"...)
}
