package ibb

import (
	"sync"
	"time"
)

// SetDeadline sets both deadlines; the zero time is none.
func (c *Conn) SetDeadline(t time.Time) error {
	c.readBy.set(t)
	c.writeBy.set(t)
	return nil
}

// SetReadDeadline sets until when Read waits.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.readBy.set(t)
	return nil
}

// SetWriteDeadline sets until when Write waits. A block that is on its way when
// it passes ends the session.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.writeBy.set(t)
	return nil
}

// deadline is a time that can be moved, and a channel that is closed when it
// has come.
type deadline struct{ *deadlineState }

type deadlineState struct {
	mu    sync.Mutex // guards what follows
	timer *time.Timer
	over  chan struct{} // closed: the deadline has passed
}

func newDeadline() deadline { return deadline{&deadlineState{over: make(chan struct{})}} }

func (d deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.over // the timer has fired, and closes it
	}
	d.timer = nil
	if d.isOver() {
		d.over = make(chan struct{})
	}
	if t.IsZero() {
		return
	}
	if wait := time.Until(t); wait > 0 {
		over := d.over
		d.timer = time.AfterFunc(wait, func() { close(over) })
		return
	}
	close(d.over)
}

func (d deadline) isOver() bool {
	select {
	case <-d.over:
		return true
	default:
		return false
	}
}

// wait returns the channel that is closed when the deadline has come.
func (d deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.over
}

func (d deadline) passed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.isOver()
}
