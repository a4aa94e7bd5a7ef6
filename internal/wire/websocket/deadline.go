package websocket

import (
	"sync"
	"time"
)

// deadline is a time at which whoever waits gives up; it can be moved.
type deadline struct {
	mu     sync.Mutex // guards what follows
	timer  *time.Timer
	passed chan struct{} // closed when it has; another one when it is moved after that
}

// wait returns a channel that is closed when the deadline, wherever it is moved,
// has passed.
func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.passed
}

// set moves the deadline; zero: there is none.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.passed // at once
	}
	d.timer = nil
	passed := isClosed(d.passed)
	wait := time.Until(t)
	switch {
	case !t.IsZero() && wait <= 0 && !passed:
		close(d.passed)
		return
	case !t.IsZero() && wait <= 0:
		return
	case passed:
		d.passed = make(chan struct{})
	}
	if !t.IsZero() {
		now := d.passed
		d.timer = time.AfterFunc(wait, func() { close(now) })
	}
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
