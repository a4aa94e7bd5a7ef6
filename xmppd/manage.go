package xmppd

import (
	"slices"
	"strconv"
	"time"

	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/sm"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
)

// managed is stream management (XEP-0198) of one session. session.mu guards it.
type managed struct {
	id     string        // for resuming it; "": it cannot be
	keep   time.Duration // for how long, once it is lost
	unsent sm.Queue      // what the client has not acknowledged
	asked  bool          // it was asked to acknowledge, and has not
	change chan struct{}
	timer  *time.Timer // ends the session; nil: it has its connection
	got    sm.Received // only the goroutine that reads uses it
}

// So much may be unacknowledged before we ask.
const (
	askStanzas = 100
	askBytes   = 128 << 10
)

var smRequest = []byte(sm.Request)

// askNow reports whether the client should be asked to acknowledge.
func (m *managed) askNow() bool {
	if m.asked || m.unsent.Len() < askStanzas && m.unsent.Size() < askBytes {
		return false
	}
	m.asked = true
	return true
}

// full reports whether nothing more may be unacknowledged.
func (m *managed) full() bool {
	return m.unsent.Len() >= sm.DefaultStanzas || m.unsent.Size() >= sm.DefaultBytes-stanzaRoom
}

// stanzaRoom is what a queue has left when it counts as full: whoever waits for
// room must not find that a stanza fits that is longer than his.
const stanzaRoom = 16 << 10

var errHigh = &stream.Error{
	Condition: stream.UndefinedCondition, Text: "more was acknowledged than sent",
	App: "<handled-count-too-high xmlns='" + sm.Namespace + "'/>",
}

// manage handles an element of stream management.
func (c *conn) manage(it *stream.Item) error {
	switch s := c.session; string(it.Name) {
	case "r":
		if s.managed == nil {
			return &stream.Error{Condition: stream.UnsupportedStanzaType}
		}
		c.queue.Add(sm.AppendAck(nil, s.managed.got.H()))
		return nil
	case "a":
		return s.acknowledged(it)
	case "enable":
		return c.enable(it)
	}
	return &stream.Error{Condition: stream.UnsupportedStanzaType, Text: "unknown element of stream management"}
}

// enable begins to manage the stream (XEP-0198, section 3).
func (c *conn) enable(it *stream.Item) error {
	s := c.session
	if s.managed != nil {
		return &stream.Error{Condition: stream.PolicyViolation, Text: "managed already"}
	}
	e, err := stanza.Parse(it.Raw, stream.NSClient)
	if err != nil {
		return &stream.Error{Condition: stream.BadFormat}
	}
	m := &managed{}
	b := []byte("<enabled xmlns='" + sm.Namespace + "'")
	if want := e.Attr("resume"); c.srv.cfg.Resume > 0 && (want == "true" || want == "1") {
		m.id, m.keep = newID(), c.srv.cfg.Resume
		if most, err := strconv.ParseUint(e.Attr("max"), 10, 31); err == nil {
			m.keep = min(m.keep, time.Duration(most)*time.Second)
		}
		b = append(b, " id='"+m.id+"' resume='true' max='"...)
		b = append(appendUint(b, uint32(m.keep/time.Second)), '\'')
	}
	b = append(b, "/>"...)
	s.mu.Lock()
	c.queue.Add(b) // nothing may come between
	s.managed = m
	s.mu.Unlock()
	if m.id != "" {
		c.srv.registry.resumable(s, m.id)
	}
	return nil
}

// acknowledged handles <a/>.
func (s *session) acknowledged(it *stream.Item) error {
	e, err := stanza.Parse(it.Raw, stream.NSClient)
	h, ok := sm.ParseH(e.Attr("h"))
	if err != nil || !ok {
		return &stream.Error{Condition: stream.BadFormat, Text: "acknowledgement without a number"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.managed
	if m == nil {
		return &stream.Error{Condition: stream.UnsupportedStanzaType}
	}
	if m.unsent.Ack(h) != nil {
		return errHigh
	}
	m.asked = false
	if m.change != nil {
		close(m.change)
		m.change = nil
	}
	if s.conn != nil && m.askNow() {
		s.conn.queue.Add(smRequest)
	}
	return nil
}

// acked returns a channel that is closed when the client acknowledges
// something; nil if it never will.
func (s *session) acked() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.managed
	if m == nil {
		return nil
	}
	if m.change == nil {
		m.change = make(chan struct{})
	}
	return m.change
}

// isManaged reports whether the client acknowledges what it gets.
func (s *session) isManaged() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.managed != nil
}

// bounce tells those who sent what the session never acknowledged that it did
// not arrive. The session is gone, so that nobody else touches m.
func (s *session) bounce(x *batch, m *managed) {
	var lost [][]byte
	for raw := range m.unsent.All() {
		lost = append(lost, slices.Clone(raw))
	}
	for _, raw := range lost {
		e, err := stanza.Parse(raw, stream.NSClient)
		if err != nil || e.Name == "presence" || e.Attr("type") == "error" || e.Attr("type") == "result" {
			continue
		}
		from, err := jid.Parse(e.Attr("from"))
		sender := s.srv.registry.find(from)
		if err != nil || sender == nil {
			continue
		}
		var id []byte
		if e.Attr("id") != "" {
			id = stream.AppendEscaped(nil, e.Attr("id"))
		}
		x.begin(e.Name, "error", s.attr, sender.attr, id)
		x.scratch = stanza.NewError(stanza.ServiceUnavailable, "").Append(x.scratch)
		x.scratch = append(x.scratch, "</"+e.Name+">"...)
		x.post(sender)
	}
}

func appendUint(b []byte, n uint32) []byte { return strconv.AppendUint(b, uint64(n), 10) }
