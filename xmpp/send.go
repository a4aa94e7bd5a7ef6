package xmpp

import (
	"context"
	"fmt"

	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/sm"
	"github.com/farreach/farreach/xmpp/stanza"
)

// request asks the server what it has.
var request = []byte(sm.Request)

// A Stanza is a *stanza.Message, *stanza.Presence or *stanza.IQ.
type Stanza interface{ Append(dst []byte) []byte }

// Send sends a stanza. It waits while too much is on its way to the server or
// not acknowledged by it; while the session is lost and may be resumed, what is
// sent is kept. Nil means that the stanza will be there unless the session ends.
//
// The error is ErrTooLarge, ctx.Err(), or has ErrClosed in its chain.
func (s *Session) Send(ctx context.Context, x Stanza) error {
	return s.SendRaw(ctx, x.Append(nil))
}

// SendRaw is Send for a stanza that is XML already: exactly one message,
// presence or iq, for a stream whose default namespace is jabber:client. b may
// be used again afterwards. It is sent even if ctx has ended, if that can be
// done without waiting.
func (s *Session) SendRaw(ctx context.Context, b []byte) error {
	for {
		wait, err := s.trySend(b)
		if wait == nil {
			return err
		}
		select {
		case <-wait:
		case <-s.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// trySend sends b, or returns what to wait for.
func (s *Session) trySend(b []byte) (wait <-chan struct{}, err error) {
	s.mu.Lock()
	c, m := s.conn, s.manage
	switch {
	case s.err != nil || s.leaving != nil:
		defer s.mu.Unlock()
		return nil, s.closedLocked()
	case len(b) > s.takes():
		defer s.mu.Unlock()
		return nil, fmt.Errorf("%w: %d bytes of %d", ErrTooLarge, len(b), s.takes())
	case c == nil && m == nil: // about to end
		s.mu.Unlock()
		return s.done, nil
	}
	if c != nil && c.out.Full() {
		if changed := c.out.Changed(); c.out.Full() {
			s.mu.Unlock()
			return changed, nil
		}
	}
	ask := false
	if m != nil {
		if ask, err = m.keep(b); err != nil {
			defer s.mu.Unlock()
			return m.wait(), nil
		}
	}
	if c != nil {
		c.out.Add(b) // in the order in which it is kept
		if ask {
			c.out.Add(request)
		}
	}
	s.mu.Unlock()
	if c != nil {
		c.out.Flush()
	}
	return nil, nil
}

// takes is how long a stanza may be, bytes. s.mu is held.
func (s *Session) takes() int {
	if n := s.terms.Limits.Stanza; n > 0 && n < sm.DefaultBytes {
		return n
	}
	return sm.DefaultBytes
}

func (s *Session) closedLocked() error {
	if s.err != nil {
		return closedError{s.err}
	}
	return closedError{s.leaving}
}

// Ask sends a request, whose id and type it sets (set if it is not get), and
// waits for the answer: Config.Timeout at most.
//
// The error is a *stanza.Error if the other side refuses, ErrBusy,
// context.DeadlineExceeded, or one of Send.
func (s *Session) Ask(ctx context.Context, iq stanza.IQ) (*stanza.Element, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	iq.ID = newID()
	if iq.Type != "get" {
		iq.Type = "set"
	}
	a := &ask{to: iq.To, answer: make(chan stanza.IQ, 1)}
	if err := s.expect(iq.ID, a); err != nil {
		return nil, err
	}
	defer s.forget(iq.ID)
	if err := s.Send(ctx, &iq); err != nil {
		return nil, err
	}
	select {
	case got := <-a.answer:
		switch {
		case got.Type == "result":
			return got.Payload, nil
		case got.Err != nil:
			return nil, got.Err
		}
		return nil, closedError{s.Err()}
	case <-ctx.Done():
		return nil, fmt.Errorf("%s asked: %w", iq.To, ctx.Err())
	}
}

// ask is a request without an answer.
type ask struct {
	to     jid.JID
	answer chan stanza.IQ // takes one
}

// maxAsks is how many answers may be awaited at once.
const maxAsks = 1024

func (s *Session) expect(id string, a *ask) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil || s.leaving != nil:
		return s.closedLocked()
	case len(s.asks) >= maxAsks:
		return ErrBusy
	}
	s.asks[id] = a
	return nil
}

func (s *Session) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.asks, id)
}

// answered hands an answer to whoever asked. An answer that nobody asked for,
// of somebody who was not asked, is dropped (threats rule 12).
func (s *Session) answered(iq *stanza.IQ) {
	s.mu.Lock()
	a := s.asks[iq.ID]
	if a != nil && !s.speaksFor(iq.From, a.to) {
		a = nil
	}
	if a != nil {
		delete(s.asks, iq.ID)
	}
	s.mu.Unlock()
	if a == nil {
		s.log.Debug("answer that nobody asked for", "from", iq.From)
		return
	}
	a.answer <- *iq
}

// speaksFor reports whether what comes from an address may answer what was
// asked of another. The server answers for the own account and for itself
// without saying who it is, and what was asked of nobody is asked of the
// account (RFC 6120, section 8.1.2.1; RFC 6121, section 2.1.5).
func (s *Session) speaksFor(from, asked jid.JID) bool {
	if asked.IsZero() {
		asked = s.jid.Bare()
		if from == s.jid || from.String() == s.jid.Domain() { // as old servers do
			return true
		}
	}
	own := asked == s.jid.Bare() || asked.String() == s.jid.Domain()
	return from == asked || own && from.IsZero()
}
