package coap

import (
	"errors"
	"io"
	"os"
	"time"
)

// A connection ends in one of two ways. After fail it is over at once: the
// network failed, the peer is gone, or Close was called. After conclude what is
// queued still leaves, and the peer gets the time to read it: an Abort, the
// last answers before a Release. Either way Run's goroutine clears up.

// Close ends the connection at once and without a word. The error is nil.
func (c *Conn) Close() error {
	c.fail(ErrClosed)
	c.nc.Close() // also if it is just ending in good order
	return nil
}

// readError is why the connection ends when reading gave err.
func (c *Conn) readError(err error) error {
	c.aborted(err) // if a link found the peer at fault
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.parting != nil && (errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded)) {
		return c.parting
	}
	return err
}

// fail ends the connection at once, and because of err if this is the first
// reason.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	linger := c.linger
	c.setErr(err)
	c.mu.Unlock()
	if !linger {
		c.nc.Close()
	}
}

// setErr records the first reason for the end. c.mu is held.
func (c *Conn) setErr(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	if c.cancel != nil {
		c.cancel()
	}
	c.stopKeepAlive()
	close(c.done)
	c.changed.broadcast()
	c.wake()
}

// conclude ends the connection because of err, and lets what is queued arrive
// before the socket is closed.
func (c *Conn) conclude(err error) {
	c.mu.Lock()
	c.concludeLocked(err)
	c.mu.Unlock()
}

func (c *Conn) concludeLocked(err error) {
	if c.err != nil {
		return
	}
	if !c.opened {
		c.setErr(err)
		c.nc.Close()
		return
	}
	c.linger = true
	c.setErr(err)
	c.nc.SetReadDeadline(time.Unix(1, 0)) // wakes Run's goroutine, which goes on in finish
}

// finish ends everything that belongs to the connection, on Run's goroutine.
func (c *Conn) finish() {
	c.mu.Lock()
	linger := c.linger
	c.mu.Unlock()
	if linger {
		c.lingerClose()
	}
	c.nc.Close()
	c.endCalls()
	c.mu.Lock()
	c.finished = true
	c.mu.Unlock()
	c.endTransfers()
	c.tasks.Wait()
	c.mu.Lock()
	c.out.Free()
	c.out = nil
	c.mu.Unlock()
	c.account(len(c.partial), 0)
	c.partial = nil
}

// Times of an orderly end.
const (
	lingerWrite = 500 * time.Millisecond // for the last frames to leave
	lingerRead  = 500 * time.Millisecond // for the peer to take them before a reset could destroy them
	lingerBytes = 256 << 10              // taken and thrown away meanwhile
)

// lingerClose lets the last frames leave, says that no more will come, and
// takes what the peer still sends for a short while: closing a socket with
// unread bytes would reset it, and the peer might never see the last frames.
func (c *Conn) lingerClose() {
	if c.awaitDrained(lingerWrite) && c.sec != nil {
		c.sec.CloseNotify()
	}
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	c.nc.SetReadDeadline(time.Now().Add(lingerRead))
	for taken := 0; taken < lingerBytes; {
		b, err := c.bottom().Next()
		if err != nil {
			return
		}
		taken += len(b.B)
		b.Free()
	}
}
