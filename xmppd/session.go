package xmppd

import (
	"errors"
	"sync"
	"time"

	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stream"
	"github.com/farreach/farreach/xmpp/stream/framing"
)

// session is a bound resource. It mostly has a connection; one that may be
// resumed (XEP-0198) outlives it for a while.
type session struct {
	srv   *Server
	user  *user
	jid   jid.JID
	attr  []byte // jid as it stands in an attribute
	tasks *sync.WaitGroup
	born  time.Time

	// registry.mu guards these.
	presence   *presence // nil: not available
	interested bool      // it has asked for the roster
	directed   map[jid.JID]bool
	resumeID   string // "": it cannot be
	ended      bool

	changes changes // of presence; registry.mu guards it too

	mu      sync.Mutex // guards what follows
	conn    *conn      // nil: it is lost
	gone    bool
	final   bool      // it must not be resumed
	managed *managed  // nil: no stream management
	leave   func()    // of Pass.Enter; nil: not entered
	heard   time.Time // the last sign of life of the latest connection, as it was seen
}

// outcome is what became of a stanza that was to be put into a queue.
type outcome int

const (
	taken outcome = iota
	full
	absent
)

// put adds a stanza to what the client gets. c is the connection that it is to
// be written to, nil if there is none now; due is as wire.Queue.Add says.
func (s *session) put(b []byte) (c *conn, due bool, how outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c = s.conn
	switch {
	case s.gone:
		return nil, false, absent
	case c != nil && c.queue.Full():
		return c, false, full
	}
	if m := s.managed; m != nil {
		if m.unsent.Add(b) != nil {
			return c, false, full
		}
	}
	if c == nil {
		return nil, false, taken
	}
	due = c.queue.Add(b)
	if m := s.managed; m != nil && m.askNow() {
		c.queue.Add(smRequest)
	}
	return c, due, taken
}

// full reports whether nothing may be put now.
func (s *session) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.conn; c != nil && c.queue.Full() {
		return true
	}
	return s.managed != nil && s.managed.full()
}

// overflow ends a session that takes too little of what it gets.
func (s *session) overflow() {
	s.mu.Lock()
	c := s.conn
	s.final = true
	s.mu.Unlock()
	s.srv.Counters.Overflows.Add(1)
	if c != nil {
		c.fail(errSlow)
	} else {
		s.end(errSlow)
	}
}

// lost is called when the connection c of the session has ended because of err.
func (s *session) lost(c *conn, err error) {
	s.mu.Lock()
	if s.conn != c {
		s.mu.Unlock()
		return // resumed on another
	}
	s.conn, s.heard = nil, c.LastSeen()
	if m := s.managed; m != nil && m.id != "" && !s.final && mayComeBack(err) {
		m.timer = time.AfterFunc(m.keep, func() { s.end(err) })
		s.mu.Unlock()
		s.srv.log.Info("xmpp session lost, may be resumed", "jid", s.jid, "reason", err)
		return
	}
	s.mu.Unlock()
	s.end(err)
}

// mayComeBack reports whether a session that was lost because of err may be
// resumed: nobody wanted it to end.
func mayComeBack(err error) bool {
	if bad, ok := errors.AsType[*stream.Error](err); ok {
		return bad.Condition == stream.ConnectionTimeout
	}
	return err != errClosed && err != errShutdown
}

// end ends the session: it has no address any more, siblings and contacts are
// told, and what it never got goes back.
func (s *session) end(err error) {
	if !s.srv.registry.remove(s) {
		return // it has ended already
	}
	s.mu.Lock()
	c := s.conn
	s.conn, s.gone, s.final = nil, true, true
	m := s.managed
	if m != nil && m.timer != nil {
		m.timer.Stop()
	}
	leave := s.leave
	s.mu.Unlock()
	s.srv.Counters.Sessions.Add(-1)
	if leave != nil {
		leave()
	}
	x := newBatch(nil)
	defer x.free()
	if err != errShutdown {
		s.goodbye(x)
		if m != nil {
			s.bounce(x, m)
		}
	}
	x.done()
	if c != nil {
		c.stop(asStreamError(err))
	}
	s.srv.log.Info("xmpp session ended", "jid", s.jid, "reason", err, "lasted", time.Since(s.born).Round(time.Second))
}

// asStreamError is what a client is told when another connection, or a change of
// its account, ends its session.
func asStreamError(err error) error {
	switch err {
	case errConflict:
		return &stream.Error{Condition: stream.Conflict, Text: err.Error()}
	case errRevoked:
		return &stream.Error{Condition: stream.Reset, Text: err.Error()}
	}
	return err
}

// bound returns the session of a connection, for goroutines other than the one
// that reads.
func (c *conn) bound() *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

// bind makes s the session of c.
func (c *conn) bind(s *session) {
	c.mu.Lock()
	c.session = s
	c.setup = nil
	c.mu.Unlock()
	c.scan.Limits = stream.Limits{Stanza: c.srv.cfg.Limits.Stanza}
	if c.ws != nil {
		framing.SetLimits(c.ws, c.scan.Limits)
	}
	c.srv.strangers.Remove(c)
	c.startPing()
}
