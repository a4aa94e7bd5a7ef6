package ibb

import (
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
	later, err := c.take(iq.Payload, iq)
	if err == nil && later {
		return xmpp.ErrLater
	}
	return err
}

// message takes a block in a message. One that makes no sense is answered, but
// not too often.
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
	var err error
	c := e.find(s, m.From, data.Attr("sid"))
	switch {
	case c != nil:
		_, err = c.take(data, nil)
	case e.allows(s, m.From):
		err = refuse(stanza.ItemNotFound)
	}
	refusal, bad := errors.AsType[*stanza.Error](err)
	if !bad {
		return
	}
	tell := e.mayTell(m.From)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	e.tasks.Go(func() { // for there may be no room on the way to the server
		if tell {
			e.tellError(s, m, data, refusal)
		}
		if c != nil {
			c.farewell(nil, true) // also for those that no error reaches
		}
	})
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

// tellError answers a message with an error, as XEP-0047, section 2.2, has it.
func (e *Endpoint) tellError(s Session, m *stanza.Message, data *stanza.Element, refusal *stanza.Error) {
	answer := stanza.Message{To: m.From, ID: m.ID, Type: "error", Err: refusal, Children: []stanza.Element{{
		NS: NS, Name: "data", Attrs: []stanza.Attr{{Name: "sid", Value: data.Attr("sid")}, {Name: "seq", Value: data.Attr("seq")}},
	}}}
	e.sendRaw(s, answer.Append(nil))
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
	i := strings.LastIndexByte(m.ID, '-') // see appendData
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

// decode is base64 as RFC 4648, section 4, has it: no other character, no line
// end, padding at the end only, no bits left over.
func decode(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, base64.CorruptInputError(0)
	}
	return base64.StdEncoding.Strict().DecodeString(s)
}

// appendData appends a block in the message form (IBB rule 5). Its id tells
// what an error is about.
func appendData(dst []byte, peer jid.JID, sid string, seq uint16, block []byte) []byte {
	dst = append(dst, "<message id='"...)
	dst = strconv.AppendUint(append(stream.AppendEscaped(dst, sid), '-'), uint64(seq), 10)
	dst = stream.AppendEscaped(append(dst, "' to='"...), peer.String())
	dst = append(dst, "'><data xmlns='"+NS+"' sid='"...)
	dst = stream.AppendEscaped(dst, sid)
	dst = strconv.AppendUint(append(dst, "' seq='"...), uint64(seq), 10)
	dst = base64.StdEncoding.AppendEncode(append(dst, "'>"...), block)
	return append(dst, "</data><no-store xmlns='"+nsHints+"'/></message>"...)
}
