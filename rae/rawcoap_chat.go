package rae

import (
	"context"
	"encoding/base64"
	"slices"

	"github.com/farreach/farreach/xmpp/ibb"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stanza"
)

// IoTivity's other build has no bytestreams: it puts a message of CoAP, in
// base64, into the body of a chat message.

// maxChats is with how many peers we chat at once.
const maxChats = 64

// chat is a carrier of messages to one peer.
type chat struct {
	x    *exchange
	s    ibb.Session
	peer jid.JID
}

// chat takes a message with a body. One that holds no CoAP, or comes from
// another account, is somebody's chat, and not for us.
func (x *exchange) chat(s ibb.Session, m *stanza.Message) {
	if m.Type == "error" || m.From.Bare() != s.JID().Bare() || m.From == s.JID() || m.From.IsBare() {
		return
	}
	b, err := base64.StdEncoding.Strict().DecodeString(m.Body)
	if err != nil || len(b) > rawBlock || Sniff(b) != RawCoAP {
		return
	}
	se := x.chatWith(s, m.From)
	if err := se.Take(b); err != nil {
		se.conn.Fail(err)
	}
}

// chatWith is the session with a peer that chats. In the place of one too many,
// that which was silent longest ends.
func (x *exchange) chatWith(s ibb.Session, peer jid.JID) *session {
	x.mu.Lock()
	at := slices.IndexFunc(x.chats, func(se *session) bool { return se.conn.Peer() == peer && se.conn.Session() == s })
	var se, old *session
	if at >= 0 {
		se = x.chats[at]
		x.chats = slices.Delete(x.chats, at, at+1)
	} else {
		se = x.newSession(&chat{x, s, peer})
		se.apart = true // documents do not go this way
	}
	if len(x.chats) >= maxChats {
		old = x.chats[0]
	}
	x.chats = append(x.chats, se)
	x.mu.Unlock()
	if old != nil {
		old.conn.Close()
	}
	return se
}

// endChat ends the chats with a peer.
func (x *exchange) endChat(peer jid.JID, why error) {
	var ended []*session
	x.mu.Lock()
	x.chats = slices.DeleteFunc(x.chats, func(se *session) bool {
		is := se.conn.Peer() == peer
		if is {
			ended = append(ended, se)
		}
		return is
	})
	x.mu.Unlock()
	for _, se := range ended {
		se.Over(why)
	}
}

// Send sends a message of CoAP.
func (c *chat) Send(ctx context.Context, b []byte) error {
	m := stanza.Message{To: c.peer, Type: "chat", Body: base64.StdEncoding.EncodeToString(b),
		Children: []stanza.Element{{NS: "urn:xmpp:hints", Name: "no-store"}}} // D17
	return c.s.SendRaw(ctx, m.Append(nil))
}

// TrySend sends nothing: nobody has need of it.
func (c *chat) TrySend([]byte) bool { return false }

// Block is how much IoTivity takes at once, bytes.
func (c *chat) Block() int { return rawBlock }

// Peer is who is at the other end.
func (c *chat) Peer() jid.JID { return c.peer }

// Session is the session on the server that carries the chat.
func (c *chat) Session() ibb.Session { return c.s }

// Keep does nothing: a chat ends when the peer goes, or for want of room.
func (c *chat) Keep() {}

// Leave does nothing.
func (c *chat) Leave() {}

// Fail forgets the chat because of err.
func (c *chat) Fail(err error) { c.x.endChat(c.peer, err) }

// Close forgets the chat.
func (c *chat) Close() error {
	c.Fail(ibb.ErrGone)
	return nil
}
