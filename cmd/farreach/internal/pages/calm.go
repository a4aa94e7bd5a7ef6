package pages

import (
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// Calm gives back memory when nothing has stirred for a while: what a proxy needs
// while it shakes hands with a thousand servers is several times what it needs
// then.
type Calm struct {
	After  time.Duration // since the latest Stir
	Every  time.Duration // how often at most
	Failed func(error)   // called when GiveBack fails; nil: nobody is told

	mu    sync.Mutex // guards what follows
	timer *time.Timer
	ended bool
	last  time.Time
}

// Stir says that something happens. It does not wait.
func (c *Calm) Stir() {
	c.mu.Lock()
	defer c.mu.Unlock()
	after := c.After
	if !c.last.IsZero() {
		after = max(after, c.Every-time.Since(c.last))
	}
	switch {
	case c.ended:
	case c.timer == nil:
		c.timer = time.AfterFunc(after, c.rest)
	default:
		c.timer.Reset(after)
	}
}

// Stop has nothing more given back.
func (c *Calm) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.timer != nil {
		c.timer.Stop()
	}
}

// rest gives back stacks that have grown, each collection half of what is too
// much, the rest of what is free, and pages of the program.
func (c *Calm) rest() {
	c.mu.Lock()
	c.last = time.Now()
	c.mu.Unlock()
	runtime.GC()
	debug.FreeOSMemory() // collects, too
	if err := GiveBack(); err != nil && c.Failed != nil {
		c.Failed(err)
	}
}
