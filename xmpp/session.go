package xmpp

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
)

// Session is a resource that is bound at a server. Its methods may be called
// from several goroutines, also from handlers, except that a handler must not
// wait for what comes behind the stanza that it handles: Ask, Close.
type Session struct {
	cfg   *Config
	log   *slog.Logger
	jid   jid.JID
	inbox inbox
	jids  jid.Cache // of who writes to us

	closing chan struct{}      // closed when it is being ended from here
	done    chan struct{}      // closed when the session is over
	cancel  context.CancelFunc // ends what a Client began for the session; nil: nothing
	tasks   sync.WaitGroup

	mu      sync.Mutex // guards what follows
	terms   Terms
	conn    *conn    // nil: lost, and perhaps to be resumed
	manage  *manager // nil: the server acknowledges nothing
	asks    map[string]*ask
	present present
	leaving error // why it was closed from here; nil: it was not
	err     error // why it is over
}

// Dial opens a session and reads from it until Close, or until the connection
// is lost: what comes goes to cfg.Handlers. A Client does the same again and
// again.
//
// The error is an *AuthError when the server refuses the login, ErrNoTLS,
// ErrRenamed, a *stream.Error of the server, one of package sasl, or one of the
// network or of TLS.
func Dial(ctx context.Context, cfg Config) (*Session, error) {
	cfg, err := cfg.check()
	if err != nil {
		return nil, err
	}
	s, c, early, err := connect(ctx, &cfg, nil)
	if err != nil {
		return nil, err
	}
	s.tasks.Go(func() { s.finish(s.serve(c, early)) })
	return s, nil
}

func newSession(cfg *Config, j jid.JID, n *negotiation, m *manager) *Session {
	s := &Session{cfg: cfg, log: cfg.Log, jid: j, terms: n.terms, conn: n.c, manage: m, closing: make(chan struct{}), done: make(chan struct{}), asks: map[string]*ask{}}
	s.inbox.session, s.inbox.more = s, make(chan struct{}, 1)
	s.log.Info("xmpp session", "mechanism", n.terms.Mechanism, "binding", n.terms.Binding, "resume", n.terms.Resume, "addr", n.terms.Addr)
	return s
}

// JID is the address that is bound.
func (s *Session) JID() jid.JID { return s.jid }

// Terms is what was agreed on with the server.
func (s *Session) Terms() Terms {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.terms
}

// Done is closed when the session is over: no more will come but what waits for
// handlers, and that everybody is unavailable.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err is why the session is over, nil before Done.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// closeTime is how long a server may take to close the stream from its side.
const closeTime = 2 * time.Second

// Close ends the session as RFC 6120, section 4.4, says, and waits until its
// handlers have returned. It must not be called from one.
func (s *Session) Close() error {
	s.leave(ErrClosed)
	<-s.done
	s.tasks.Wait()
	return nil
}

// leave begins to end the session because of err. It does not wait.
func (s *Session) leave(err error) {
	s.mu.Lock()
	c := s.conn
	again := !s.leavesLocked(err)
	var bye []byte
	if s.manage != nil && c != nil && !again {
		bye = s.manage.appendAck(bye) // so that the server sends nothing again
	}
	s.mu.Unlock()
	if c != nil && !again {
		c.nc.SetReadDeadline(time.Now().Add(closeTime))
		c.send(stream.AppendClose(bye, false))
	}
}

// leavesLocked notes that the session is being ended because of err, and
// reports false if it was already. s.mu is held.
func (s *Session) leavesLocked(err error) bool {
	if s.leaving != nil {
		return false
	}
	s.leaving = err
	close(s.closing)
	return true
}

// left is why the session is being ended from here, nil if it is not.
func (s *Session) left() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leaving
}

// lost says that the connection is no more. The session may be resumed.
func (s *Session) lost(c *conn) {
	c.end()
	s.mu.Lock()
	s.conn = nil
	s.mu.Unlock()
}

// finish ends the session for good because of err.
func (s *Session) finish(err error) {
	s.mu.Lock()
	if s.leaving != nil {
		err = s.leaving
	}
	s.err = err
	asks := s.asks
	s.asks = nil
	gone := s.present.all()
	if m := s.manage; m != nil && m.room != nil {
		close(m.room)
		m.room = nil
	}
	s.mu.Unlock()
	s.log.Info("xmpp session over", "err", err)
	for _, a := range asks {
		a.answer <- stanza.IQ{Type: "error"} // Ask asks Err
	}
	for _, j := range gone {
		s.inbox.last(func() { s.cfg.Handlers.presence(s, &stanza.Presence{From: j, To: s.jid, Type: "unavailable"}) })
	}
	if s.cancel != nil {
		s.cancel()
	}
	close(s.done)
}

// resumable returns by what the session can be resumed, "" if it cannot, and
// how many stanzas it has had.
func (s *Session) resumable() (id string, received uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.manage == nil || s.leaving != nil {
		return "", 0
	}
	return s.manage.id, s.manage.received.H()
}

// resumed goes on with the session over another connection. h is what the
// server has of what was sent; the rest is sent again.
func (s *Session) resumed(n *negotiation, h uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.manage.ack(h); err != nil {
		return err
	}
	resume := s.terms.Resume
	s.terms = n.terms
	s.terms.Manage, s.terms.Resume = true, resume
	s.conn = n.c
	for b := range s.manage.sent.All() {
		n.c.out.Add(b)
	}
	s.manage.ask()
	n.c.out.Add(request)
	n.c.out.Flush()
	s.log.Info("xmpp session resumed", "again", s.manage.sent.Len())
	return nil
}
