package xmpp

import (
	"sync"
	"time"

	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stanza"
)

// keepAlive watches whether the server is there, by one timer that does nothing
// while things come: after Config.KeepAlive of silence the server is asked, and
// Config.Patience later it is lost. The returned function stops it.
func (s *Session) keepAlive(c *conn) (stop func()) {
	quiet := s.quiet()
	if quiet < 0 {
		return func() {}
	}
	w := &watch{s: s, c: c, quiet: quiet}
	w.mu.Lock()
	w.timer = time.AfterFunc(quiet, w.tick)
	w.mu.Unlock()
	return w.stop
}

// quiet is how long the server may be silent: less than what it takes itself.
func (s *Session) quiet() time.Duration {
	idle := time.Duration(s.Terms().Limits.Idle) * time.Second * 2 / 3
	if idle > 0 && (s.cfg.KeepAlive > idle || s.cfg.KeepAlive < 0) {
		return idle
	}
	return s.cfg.KeepAlive
}

type watch struct {
	s     *Session
	c     *conn
	quiet time.Duration

	mu      sync.Mutex // guards what follows
	timer   *time.Timer
	asked   bool
	stopped bool
}

func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.timer.Stop()
}

func (w *watch) tick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return
	}
	silence := w.c.silence()
	switch {
	case silence < w.quiet:
		w.asked = false
		w.timer.Reset(w.quiet - silence)
	case !w.asked:
		w.asked = true
		w.c.send(w.s.areYouThere())
		w.timer.Reset(w.s.cfg.Patience)
	default:
		w.c.fail(ErrSilent)
	}
}

// areYouThere is what any server answers: <r/> where stanzas are acknowledged,
// else a ping (XEP-0199).
func (s *Session) areYouThere() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.manage != nil {
		s.manage.ask()
		return request
	}
	server, _ := jid.New("", s.jid.Domain(), "")
	ping := stanza.IQ{To: server, Type: "get", ID: newID(), Payload: &stanza.Element{NS: "urn:xmpp:ping", Name: "ping"}}
	return ping.Append(nil)
}
