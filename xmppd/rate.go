package xmppd

import (
	"time"

	"github.com/farreach/farreach/xmpp/stream"
)

// How much white space may come between stanzas in a minute, bytes.
const (
	spaceBefore = 1 << 10 // logging in
	spaceAfter  = 64 << 10
)

// rate is how much a client has sent lately, and how much of it is presence. Its
// zero value has had nothing. Times are since the connection was made.
type rate struct {
	stanzas, bytes bucket
	minute         time.Duration // when the minute began in which white space is counted
	spaces         int           // bytes of it
}

// bucket lets n things through per second, and some more at once.
type bucket struct {
	used float64       // at the time of last
	last time.Duration // since the connection was made
}

// take uses up n, and returns how long to wait until there is less than the
// burst in it again.
func (b *bucket) take(now time.Duration, n int, perSecond, burst float64) time.Duration {
	b.used = max(b.used-(now-b.last).Seconds()*perSecond, 0) + float64(n)
	b.last = now
	if b.used <= burst {
		return 0
	}
	return time.Duration((b.used - burst) / perSecond * float64(time.Second))
}

// space counts white space, of which too much ends the stream.
func (r *rate) space(now time.Duration, n int, bound bool) error {
	if now-r.minute > time.Minute {
		r.minute, r.spaces = now, 0
	}
	limit := spaceBefore
	if bound {
		limit = spaceAfter
	}
	if r.spaces += n; r.spaces > limit {
		return &stream.Error{Condition: stream.PolicyViolation, Text: "too much white space"}
	}
	return nil
}

// slowDown lets a client wait that sends more than it may: its socket is not
// read meanwhile.
func (c *conn) slowDown(stanzas, bytes int) {
	l := &c.srv.cfg.Limits
	now := time.Since(c.born)
	var wait time.Duration
	if n := float64(l.StanzaRate); n > 0 {
		wait = c.rate.stanzas.take(now, stanzas, n, 5*n)
	}
	if n := float64(l.ByteRate); n > 0 {
		wait = max(wait, c.rate.bytes.take(now, bytes, n, 4*n))
	}
	if wait > 0 {
		c.pause(wait)
	}
}

// pause waits, or until the connection is over.
func (c *conn) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.done:
	}
}
