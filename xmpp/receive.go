package xmpp

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/sm"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
)

// serve reads what comes over c until that is over, and returns why. early is
// what came already.
func (s *Session) serve(c *conn, early [][]byte) error {
	c.nc.SetDeadline(time.Time{})
	c.sawItem()
	stop := s.keepAlive(c)
	defer s.lost(c)
	defer stop()
	for _, raw := range early {
		s.stanza(&stream.Item{Raw: raw, Name: firstName(raw), NS: []byte(stream.NSClient)}, false)
	}
	early = nil
	if s.left() != nil { // before anybody read
		c.nc.SetReadDeadline(time.Now().Add(closeTime))
	}
	for {
		it, err := c.next()
		if e, ok := err.(*stream.Error); ok {
			c.send(stream.AppendClose(e.Append(nil, false), false))
		}
		if err == nil {
			err = s.item(c, &it)
		}
		if err != nil {
			return err
		}
	}
}

func (s *Session) item(c *conn, it *stream.Item) error {
	switch it.Kind {
	case stream.Closing:
		if s.left() == nil { // else we have said it
			c.send(stream.AppendClose(nil, false))
		}
		return ErrEnded
	case stream.Opening:
		return protocolError("begins a stream within a stream")
	case stream.Space:
		return nil
	}
	c.sawItem() // a stanza that comes byte by byte is no sign of life before its end
	switch {
	case isStreamError(it):
		return readStreamError(it.Raw)
	case string(it.NS) == sm.Namespace:
		return s.manages(c, it)
	case string(it.NS) == stream.NSClient:
		s.stanza(it, true)
	}
	return nil
}

// firstName is the name of an element.
func firstName(raw []byte) []byte {
	tok, _ := stream.NextToken(raw)
	return tok.Name
}

// stanza takes a stanza. One that cannot be understood is refused to its
// sender, if it can be.
func (s *Session) stanza(it *stream.Item, counted bool) {
	size := len(it.Raw)
	switch string(it.Name) {
	case "message":
		if s.takenPromptly(it) {
			break
		}
		if m, err := stanza.ParseMessage(it.Raw); err == nil {
			s.inbox.add(size, func() { s.cfg.Handlers.message(s, &m) })
		}
	case "presence":
		if p, err := stanza.ParsePresence(it.Raw); err == nil {
			s.inbox.add(size, func() { s.presence(&p) })
		}
	case "iq":
		s.iq(it.Raw)
	default:
		return // no stanza, and not counted
	}
	if counted {
		s.mu.Lock()
		if s.manage != nil {
			s.manage.received.Add()
		}
		s.mu.Unlock()
	}
}

// takenPromptly reports whether a handler has taken a message already.
func (s *Session) takenPromptly(it *stream.Item) (taken bool) {
	f := s.cfg.Handlers.promptFor(it)
	if f == nil || !s.inbox.empty() {
		return false
	}
	from, err := s.jids.Get(stream.Decode(it.From))
	if err != nil || s.cfg.Handlers.allow != nil && !s.cfg.Handlers.allow(s, from) {
		return false // and is refused like any other
	}
	defer s.rescue()
	return f(s, from, it)
}

func (s *Session) iq(raw []byte) {
	iq, err := stanza.ParseIQ(raw)
	switch {
	case err == nil && !iq.IsRequest():
		s.answered(&iq)
	case err == nil:
		s.inbox.add(len(raw), func() { s.reply(s.cfg.Handlers.iq(s, &iq)) })
	case iq.IsRequest() && iq.ID != "":
		refusal, ok := err.(*stanza.Error)
		if !ok {
			refusal = stanza.NewError(stanza.JIDMalformed, "")
		}
		answer := iq.Refuse(refusal)
		s.inbox.add(len(raw), func() { s.reply(&answer) })
	}
}

// replyTime is how long an answer may wait for room, while handlers wait.
const replyTime = 10 * time.Second

// reply sends an answer.
func (s *Session) reply(answer *stanza.IQ) {
	if answer == nil {
		return
	}
	answer.From = jid.JID{} // the server knows better
	ctx, cancel := context.WithTimeout(context.Background(), replyTime)
	defer cancel()
	if err := s.Send(ctx, answer); err != nil {
		s.log.Debug("answer not sent", "to", answer.To, "err", err)
	}
}

// presence hands a presence on, and with that of an account those of its
// resources.
func (s *Session) presence(p *stanza.Presence) {
	if p.From.IsZero() {
		p.From = s.jid.Bare() // RFC 6120, section 8.1.2.1
	}
	s.mu.Lock()
	gone := s.present.note(p)
	s.mu.Unlock()
	for _, j := range gone {
		s.cfg.Handlers.presence(s, &stanza.Presence{From: j, To: s.jid, Type: "unavailable"})
	}
	s.cfg.Handlers.presence(s, p)
}

// How much waits for handlers before reading stops.
const (
	maxInbox      = 256
	maxInboxBytes = 1 << 20
)

// inbox calls handlers one after another. It has a goroutine from the first
// letter to the end of the session.
type inbox struct {
	session *Session
	more    chan struct{} // takes one: something has come

	mu    sync.Mutex // guards what follows
	queue []letter
	bytes int
	works bool          // there is the goroutine
	waits bool          // it has nothing to do
	room  chan struct{} // closed when there may be room; nil: nobody waits
}

type letter struct {
	size int
	open func()
}

// add has open called, and waits while there is no room: then nothing more is
// read from the server.
func (b *inbox) add(size int, open func()) {
	b.mu.Lock()
	for len(b.queue) >= maxInbox || b.bytes >= maxInboxBytes {
		if b.room == nil {
			b.room = make(chan struct{})
		}
		room := b.room
		b.mu.Unlock()
		select {
		case <-room: // a handler that never returns is a bug in this program
		case <-b.session.closing:
			return
		}
		b.mu.Lock()
	}
	b.put(size, open)
	b.mu.Unlock()
}

// empty reports whether every handler has returned. Only the goroutine that
// reads may ask: nothing is added meanwhile.
func (b *inbox) empty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.queue) == 0 && (b.waits || !b.works)
}

// last has open called, room or not.
func (b *inbox) last(open func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.put(0, open)
}

// put adds a letter. b.mu is held.
func (b *inbox) put(size int, open func()) {
	b.queue = append(b.queue, letter{size, open})
	b.bytes += size
	if !b.works {
		b.works = true
		b.session.tasks.Go(b.work)
		return
	}
	select {
	case b.more <- struct{}{}:
	default:
	}
}

// work calls handlers until the session is over and nothing waits.
func (b *inbox) work() {
	var letters []letter
	for over := false; ; {
		b.mu.Lock()
		letters, b.queue, b.bytes = b.queue, letters[:0], 0
		b.works = len(letters) > 0 || !over
		b.waits = len(letters) == 0
		if b.room != nil {
			close(b.room)
			b.room = nil
		}
		works := b.works
		b.mu.Unlock()
		if !works {
			return
		}
		for _, l := range letters {
			b.open(l)
		}
		clear(letters)
		if len(letters) > 0 {
			continue
		}
		select {
		case <-b.more:
		case <-b.session.done:
			over = true
		}
	}
}

// open calls a handler.
func (b *inbox) open(l letter) {
	defer b.session.rescue()
	l.open()
}

// rescue ends the session whose handler panics (threats rule 23).
func (s *Session) rescue() {
	if p := recover(); p != nil {
		s.log.Error("handler panicked", "panic", p, "stack", string(debug.Stack()))
		s.fail(fmt.Errorf("%w: %v", ErrPanic, p))
	}
}

// fail ends the session because of err, which is a bug of ours.
func (s *Session) fail(err error) {
	s.mu.Lock()
	c := s.conn
	s.leavesLocked(err)
	s.mu.Unlock()
	if c != nil {
		c.fail(err)
	}
}
