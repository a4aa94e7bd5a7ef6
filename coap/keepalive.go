package coap

import "time"

// unfinishedTimeout is how long the peer may take for one message.
const unfinishedTimeout = 20 * time.Second

// keepAlive watches over the peer: whether it is there, and whether it ends
// what it begins. One timer does both. It is not touched when messages arrive:
// when it fires it looks at what happened, and is set anew. Conn.mu guards it.
type keepAlive struct {
	timer *time.Timer
	next  time.Duration // when timer fires, since Conn.born
	ping  time.Duration // when an unanswered Ping was sent; 0: none was
	begun time.Duration // when the unfinished message was begun; 0: there is none
}

// startKeepAlive begins the watch.
func (c *Conn) startKeepAlive() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cfg.KeepAlive > 0 && c.err == nil {
		c.watch(c.seenAt() + c.cfg.KeepAlive)
	}
}

// stopKeepAlive ends it. c.mu is held.
func (c *Conn) stopKeepAlive() {
	if c.keep.timer != nil {
		c.keep.timer.Stop()
	}
}

// SetKeepAlive changes Config.KeepAlive; negative: no Pings from now on.
func (c *Conn) SetKeepAlive(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d == 0 {
		d = DefaultKeepAlive
	}
	c.cfg.KeepAlive = d
	c.keep.ping = 0
	if d > 0 && c.err == nil && c.opened {
		c.watch(c.seenAt() + d)
	}
}

func (c *Conn) seenAt() time.Duration { return time.Duration(c.seen.Load()) }

// watch sets the timer, unless it fires earlier anyway. c.mu is held.
func (c *Conn) watch(at time.Duration) {
	k := &c.keep
	now := time.Since(c.born)
	switch wait := max(at-now, 0); {
	case k.timer == nil:
		k.timer = time.AfterFunc(wait, c.tick)
	case k.next > now && k.next <= at:
		return
	default:
		k.timer.Reset(wait)
	}
	k.next = at
}

// watchUnfinished notes whether a message is unfinished, and whether it has
// just begun.
func (c *Conn) watchUnfinished(is, began bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !is:
		c.keep.begun = 0
	case began:
		c.keep.begun = c.seenAt()
		c.watch(c.keep.begun + unfinishedTimeout)
	}
}

// tick looks after the peer when the timer has fired.
func (c *Conn) tick() {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	k, now, seen := &c.keep, time.Since(c.born), c.seenAt()
	k.next = 0
	if c.busy.Load() { // it is we who do not read
		c.watch(now + time.Second)
		c.mu.Unlock()
		return
	}
	if k.begun != 0 {
		if now >= k.begun+unfinishedTimeout {
			c.abortLocked(&Message{Code: Abort, Payload: []byte("message unfinished for 20 s")}, ErrUnfinished)
			c.flushLocked()
			return
		}
		c.watch(k.begun + unfinishedTimeout)
	}
	silent := c.tickSilence(now, seen)
	c.flushLocked()
	if silent {
		c.fail(ErrSilent)
	}
}

// tickSilence sends a Ping if the peer is silent for long, and reports whether
// it is for too long. c.mu is held.
func (c *Conn) tickSilence(now, seen time.Duration) bool {
	k := &c.keep
	if c.cfg.KeepAlive < 0 {
		return false
	}
	if seen > k.ping {
		k.ping = 0
	}
	switch {
	case k.ping != 0 && now >= k.ping+c.cfg.Patience:
		return true
	case k.ping != 0:
		c.watch(k.ping + c.cfg.Patience)
	case now >= seen+c.cfg.KeepAlive:
		k.ping = now
		c.enqueue(&Message{Code: Ping, Token: c.newToken()})
		c.watch(now + c.cfg.Patience)
	default:
		c.watch(seen + c.cfg.KeepAlive)
	}
	return false
}
