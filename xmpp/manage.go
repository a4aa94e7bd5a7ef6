package xmpp

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/farreach/farreach/xmpp/sm"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
)

// Stream management (XEP-0198): what was sent is kept until the server has it,
// and a session outlives its connection.

// maxResume is the longest that a lost session is tried to be resumed, whatever
// the server says.
const maxResume = 10 * time.Minute

// usualResume is how long a server is believed to keep a session of which it
// does not say how long.
const usualResume = time.Minute

// manager is the state of stream management of one session. Session.mu guards
// it.
type manager struct {
	id       string // to resume by; "": cannot be resumed
	sent     sm.Queue
	received sm.Received
	asked    uint32        // sent.Sent() at the last request for an acknowledgement
	unasked  int           // bytes sent since
	room     chan struct{} // closed when something was acknowledged; nil: nobody waits
}

// How much is sent before the server is asked to acknowledge it.
const (
	askStanzas = 50
	askBytes   = 64 << 10
)

// errManage says that the server acknowledges nonsense.
var errManage = &stream.Error{Condition: stream.UndefinedCondition, Text: "acknowledged more than was sent", Spec: "XEP-0198, section 4",
	App: "<handled-count-too-high xmlns='" + sm.Namespace + "'/>"}

// enable asks for acknowledgements, and for a session that can be resumed. A
// server that refuses is fine.
func (n *negotiation) enable() (*manager, error) {
	if !n.features.manage || n.cfg.NoResume {
		return nil, nil
	}
	enable := "<enable xmlns='" + sm.Namespace + "' resume='true'"
	if n.cfg.Resume > 0 {
		enable += " max='" + strconv.Itoa(max(int(n.cfg.Resume/time.Second), 1)) + "'"
	}
	n.c.send([]byte(enable + "/>"))
	e, err := n.managed()
	if err != nil || e.Name != "enabled" {
		return nil, err
	}
	n.terms.Manage = true
	m := &manager{}
	if r := e.Attr("resume"); r == "true" || r == "1" {
		m.id = e.Attr("id")
	}
	if m.id != "" {
		n.terms.Resume = resumeTime(e.Attr("max"))
	}
	return m, nil
}

// resumeTime reads how long a server keeps a lost session.
func resumeTime(max string) time.Duration {
	n, err := strconv.ParseUint(max, 10, 31)
	if err != nil {
		return usualResume
	}
	return min(time.Duration(n)*time.Second, maxResume)
}

// errNotResumed says that a session is gone.
var errNotResumed = errors.New("xmpp: the server has forgotten the session")

// resume asks for the session that m belongs to, and returns how much of what
// was sent the server has. The error is errNotResumed if a new session can be
// had on the same stream.
func (n *negotiation) resume(id string, received uint32) (h uint32, err error) {
	if !n.features.manage {
		return 0, errNotResumed
	}
	e := stanza.Element{NS: sm.Namespace, Name: "resume", Attrs: []stanza.Attr{
		{Name: "h", Value: strconv.FormatUint(uint64(received), 10)}, {Name: "previd", Value: id}}}
	n.c.send(e.Append(nil, stream.NSClient))
	if e, err = n.managed(); err != nil {
		return 0, err
	}
	if e.Name == "failed" {
		return 0, errNotResumed
	}
	h, ok := sm.ParseH(e.Attr("h"))
	if e.Name != "resumed" || e.Attr("previd") != id || !ok {
		return 0, protocolError("resumes another session")
	}
	return h, nil
}

// maxEarly is how many stanzas may come before an answer about management.
const maxEarly = 64

// managed waits for the answer to enable or resume. What comes before is kept.
func (n *negotiation) managed() (stanza.Element, error) {
	for {
		it, err := n.read()
		switch {
		case err != nil:
			return stanza.Element{}, err
		case it.Kind != stream.Stanza:
			return stanza.Element{}, protocolError("begins a stream within a stream")
		case string(it.NS) == sm.Namespace:
			return stanza.Parse(it.Raw, stream.NSClient)
		case len(n.early) == maxEarly:
			return stanza.Element{}, protocolError("does not answer about stream management")
		}
		n.early = append(n.early, append([]byte(nil), it.Raw...))
	}
}

// appendAck appends what was received. Session.mu is held.
func (m *manager) appendAck(b []byte) []byte { return sm.AppendAck(b, m.received.H()) }

// manages handles an element of XEP-0198 that came over c.
func (s *Session) manages(c *conn, it *stream.Item) error {
	s.mu.Lock()
	m := s.manage
	if m == nil {
		s.mu.Unlock()
		return nil
	}
	var answer []byte
	var err error
	switch string(it.Name) {
	case "r":
		answer = m.appendAck(nil)
	case "a":
		err = m.acknowledged(it.Raw)
	}
	s.mu.Unlock()
	if answer != nil {
		c.send(answer)
	}
	if err != nil {
		c.send(stream.AppendClose(errManage.Append(nil, false), false))
	}
	return err
}

// acknowledged takes <a h='…'/>. Session.mu is held.
func (m *manager) acknowledged(raw []byte) error {
	e, err := stanza.Parse(raw, stream.NSClient)
	if err != nil {
		return err
	}
	h, ok := sm.ParseH(e.Attr("h"))
	if !ok {
		return protocolError("acknowledges without a number")
	}
	return m.ack(h)
}

func (m *manager) ack(h uint32) error {
	if err := m.sent.Ack(h); err != nil {
		return fmt.Errorf("%w: %w", errManage, err)
	}
	if m.room != nil {
		close(m.room)
		m.room = nil
	}
	return nil
}

// keep keeps a stanza that is being sent, and reports whether the server should
// be asked what it has. Session.mu is held.
func (m *manager) keep(stanza []byte) (ask bool, err error) {
	if err := m.sent.Add(stanza); err != nil {
		return false, err
	}
	m.unasked += len(stanza)
	if m.sent.Sent()-m.asked < askStanzas && m.unasked < askBytes {
		return false, nil
	}
	m.ask()
	return true, nil
}

// ask notes that the server is being asked. Session.mu is held.
func (m *manager) ask() { m.asked, m.unasked = m.sent.Sent(), 0 }

// wait returns a channel that is closed when there may be room. Session.mu is
// held.
func (m *manager) wait() <-chan struct{} {
	if m.room == nil {
		m.room = make(chan struct{})
	}
	return m.room
}
