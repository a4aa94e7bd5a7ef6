package xmppd

import (
	"time"

	"github.com/farreach/farreach/xmpp/sm"
	"github.com/farreach/farreach/xmpp/stream"
)

// How long a client may take for each part of its way (threats 3.1).
const (
	authTime       = 30 * time.Second // until it has logged in, from the connection on
	bindTime       = 30 * time.Second // until it is bound, from then on
	unfinishedTime = 60 * time.Second // for one stanza
)

// watch is what a connection is held to. One timer does it all; it is not
// touched when bytes arrive: when it fires it looks at what happened, and is
// set anew. conn.mu guards it.
type watch struct {
	timer *time.Timer
	next  time.Duration // when timer fires, since conn.born
	until time.Duration // when logging in or binding must be done; 0: it is
	begun time.Duration // when the unfinished item was begun; 0: there is none
	asked time.Duration // when a sign of life was asked for; 0: it was not, or one came
}

func (w *watch) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

// startWatch begins the watch over a new connection.
func (c *conn) startWatch() { c.mustBy(authTime) }

// mustBy gives the client a while for its next step.
func (c *conn) mustBy(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watch.until = time.Since(c.born) + d
	c.watchAt(c.watch.until)
}

// startPing is called when the client is bound.
func (c *conn) startPing() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watch.until = 0
	if ping := c.srv.cfg.Ping; ping > 0 {
		c.watchAt(time.Since(c.born) + ping)
	}
}

// watchAt sets the timer, unless it fires earlier anyway. c.mu is held.
func (c *conn) watchAt(at time.Duration) {
	w := &c.watch
	if c.err != nil {
		return
	}
	now := time.Since(c.born)
	switch wait := max(at-now, 0); {
	case w.timer == nil:
		w.timer = time.AfterFunc(wait, c.tick)
	case w.next > now && w.next <= at:
		return
	default:
		w.timer.Reset(wait)
	}
	w.next = at
}

// beginUnfinished notes that an item has just been begun.
func (c *conn) beginUnfinished() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watch.begun = max(time.Since(c.born), 1)
	c.watchAt(c.watch.begun + unfinishedTime)
}

// endUnfinished notes that no item is begun.
func (c *conn) endUnfinished() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watch.begun = 0
}

// tick looks after the client when the timer has fired.
func (c *conn) tick() {
	c.mu.Lock()
	w, now := &c.watch, time.Since(c.born)
	w.next = 0
	var bad *stream.Error
	var ask bool
	switch {
	case c.err != nil:
	case w.until > 0 && now >= w.until:
		bad = &stream.Error{Condition: stream.ConnectionTimeout, Text: errLate.Error()}
	case c.busy.Load(): // it is we who do not read
		c.watchAt(now + time.Second)
	case w.begun > 0 && now >= w.begun+unfinishedTime:
		bad = &stream.Error{Condition: stream.ConnectionTimeout, Text: "stanza unfinished for 60 s"}
	default:
		bad, ask = c.tickSilence(now)
		c.tickNext()
	}
	c.mu.Unlock()
	if bad != nil {
		c.conclude(bad, bad)
	}
	if ask {
		c.askForLife()
	}
}

// tickNext sets the timer for what may happen next. c.mu is held.
func (c *conn) tickNext() {
	if w := &c.watch; w.until > 0 {
		c.watchAt(w.until)
	} else if w.begun > 0 {
		c.watchAt(w.begun + unfinishedTime)
	}
}

// tickSilence reports whether the client is silent for long, and must be asked
// for a sign of life, or for too long. c.mu is held.
func (c *conn) tickSilence(now time.Duration) (bad *stream.Error, ask bool) {
	w, ping, patience := &c.watch, c.srv.cfg.Ping, c.srv.cfg.Patience
	if w.until > 0 || ping < 0 {
		return nil, false
	}
	seen := time.Duration(c.seen.Load())
	if seen >= w.asked {
		w.asked = 0
	}
	switch {
	case w.asked != 0 && now >= w.asked+patience:
		return &stream.Error{Condition: stream.ConnectionTimeout, Text: errSilent.Error()}, false
	case w.asked != 0:
		c.watchAt(w.asked + patience)
	case now >= seen+ping:
		w.asked = now
		c.watchAt(now + patience)
		return nil, true
	default:
		c.watchAt(seen + ping)
	}
	return nil, false
}

// askForLife makes the client send something: an acknowledgement, or the answer
// to a ping (XEP-0199, section 4.1).
func (c *conn) askForLife() {
	x := newBatch(nil)
	defer x.free()
	s := c.bound()
	if s == nil {
		return
	}
	if s.isManaged() {
		c.send([]byte(sm.Request))
		return
	}
	x.begin("iq", "get", c.srv.self, s.attr, []byte("ping-"+newID()))
	x.scratch = append(x.scratch, "<ping xmlns='urn:xmpp:ping'/></iq>"...)
	x.post(s)
	x.done()
}
