package coap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/farreach/farreach/internal/wire"
)

// Bounds of what waits to be written on one connection.
const (
	maxQueued  = 256      // messages
	maxPending = 1 << 20  // bytes
	batchBytes = 64 << 10 // answers of one read that go out before the rest of it is taken
)

// writeTimeout is how long one write may wait for a peer that takes nothing.
const writeTimeout = 10 * time.Second

// ErrTooLarge says that a message is longer than its receiver takes.
var ErrTooLarge = errors.New("coap: message too large for the peer")

// errFull says that the queue is full and the caller must not wait.
var errFull = errors.New("coap: too much waits to be sent")

// Send sends m as it is; a notification, for example. It returns when m is
// written or queued, and waits while the queue is full. m may be used again
// afterwards.
func (c *Conn) Send(ctx context.Context, m *Message) error {
	for {
		c.mu.Lock()
		if c.err != nil || !c.full() {
			err := c.enqueue(m)
			c.flushLocked()
			return err
		}
		room := c.changed.wait()
		c.mu.Unlock()
		select {
		case <-room:
		case <-c.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// full reports whether no more may be queued. c.mu is held.
func (c *Conn) full() bool {
	bytes := c.inHandBytes
	if c.out != nil {
		bytes += len(c.out.B)
	}
	return c.queued+c.inHand >= maxQueued || bytes >= maxPending
}

// answer queues m, on Run's goroutine, which writes at the end of its step. It
// waits if the peer sends requests and does not take the answers.
func (c *Conn) answer(m *Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.makeRoom()
	return c.enqueue(m)
}

// makeRoom waits until an answer may be queued, or the connection is over. It
// is called on Run's goroutine. c.mu is held, but not meanwhile.
func (c *Conn) makeRoom() {
	for c.err == nil && c.out != nil && (c.queued >= maxQueued || len(c.out.B) >= batchBytes) {
		c.flushLocked()
		c.mu.Lock()
		if c.err != nil || !c.full() {
			return
		}
		room := c.changed.wait()
		c.mu.Unlock()
		select {
		case <-room:
		case <-c.done:
		}
		c.mu.Lock()
	}
}

// enqueue appends the frame of m to the queue, full or not. If it fails the
// queue is as it was. c.mu is held.
func (c *Conn) enqueue(m *Message) error {
	if c.err != nil {
		return c.closed()
	}
	if c.out == nil {
		c.out = wire.Borrow()
	}
	b, err := c.appendFrame(c.out.B, m)
	if err != nil {
		if len(c.out.B) == 0 { // nothing to write, which whoever writes relies on
			c.out.Free()
			c.out = nil
		}
		return err
	}
	c.out.B = b
	c.queued++
	return nil
}

// appendFrame appends the frame of m as the peer takes it. c.mu is held.
func (c *Conn) appendFrame(dst []byte, m *Message) ([]byte, error) {
	b, err := m.Append(TCP, dst)
	if err != nil {
		return dst, err
	}
	size := len(b) - len(dst)
	if limit := c.peer.limit(m.Code); size > limit {
		return dst, fmt.Errorf("%w: %d bytes, it takes %d", ErrTooLarge, size, limit)
	}
	if size < minFrame && !c.peer.SentCSM {
		return lengthen(m, dst)
	}
	return b, nil
}

// minFrame is the shortest frame that a peer without a CSM may get, bytes:
// iotivity-lite reads that many before it looks at the length, and loses its
// place in the stream if two frames are among them.
const minFrame = 6

// lengthen appends m, a message too short for minFrame, with something in it
// that changes nothing. A response gets a Max-Age of 60 s in two bytes: that is
// what Max-Age is without the option (RFC 7252, section 5.10.5), and a leading
// zero is allowed (section 3.2). A Pong, whose token is the peer's, gets a
// diagnostic payload (RFC 8323, section 5.1).
func lengthen(m *Message, dst []byte) ([]byte, error) {
	long := Message{Code: m.Code, Token: m.Token, Payload: m.Payload}
	switch {
	case m.Code == Pong:
		long.Options, long.Payload = m.Options, []byte("pong")
	case m.Code.IsResponse():
		age := []byte{0, 60}
		for _, o := range m.Options {
			if o.Number != MaxAge {
				long.Add(o.Number, o.Value)
			} else if len(o.Value) < 4 {
				age = append(make([]byte, 4-len(o.Value)), o.Value...)
			}
		}
		long.Add(MaxAge, age)
	default:
		return dst, fmt.Errorf("coap: %v with a token of %d bytes is too short for this peer", m.Code, m.Token.Len())
	}
	return long.Append(TCP, dst)
}

// openQueue puts the CSM in front of what is queued and lets writing begin.
func (c *Conn) openQueue() error {
	c.mu.Lock()
	early := c.out
	c.out = nil
	queued := c.queued
	if err := c.enqueue(c.csm()); err != nil {
		c.mu.Unlock()
		return err
	}
	if early != nil {
		c.out.B = append(c.out.B, early.B...)
		c.queued += queued
		early.Free()
	}
	c.writing, c.opened = false, true
	c.flushLocked()
	return nil
}

// flushLocked writes what is queued, if nobody else does. c.mu is held; it is
// unlocked.
func (c *Conn) flushLocked() {
	if c.writing || c.out == nil {
		c.mu.Unlock()
		return
	}
	c.writing = true
	for c.out != nil {
		b, apart := c.takeQueue()
		c.mu.Unlock()
		rest, begun, err := c.transmit(b.B, apart)
		switch {
		case err != nil:
			b.Free()
			c.writeFailed(err) // and nobody writes any more
			return
		case len(rest) > 0 || c.link.Pending():
			c.startDrain(b, rest, begun, apart)
			return
		}
		b.Free()
		c.mu.Lock()
	}
	c.written()
	c.mu.Unlock()
}

// takeQueue takes all that is queued, to be written. c.mu is held.
func (c *Conn) takeQueue() (b *wire.Buffer, apart bool) {
	b = c.out
	c.inHand, c.inHandBytes = c.queued, len(b.B)
	c.out, c.queued = nil, 0
	c.changed.broadcast()
	return b, !c.peer.SentCSM
}

// written notes that nothing is left to be written. c.mu is held.
func (c *Conn) written() {
	c.writing, c.inHand, c.inHandBytes = false, 0, 0
	c.changed.broadcast()
}

// transmit writes as many of the frames as can be written without waiting:
// each by itself if apart is set, for a peer that sent no CSM. It returns what
// is left, and how many bytes of that belong to a frame, or to a batch, that
// has been begun.
func (c *Conn) transmit(frames []byte, apart bool) (rest []byte, begun int, err error) {
	for len(frames) > 0 {
		n := pieceLen(frames, apart)
		wrote, err := c.link.Try(frames[:n])
		if err != nil {
			return nil, 0, err
		}
		frames = frames[wrote:]
		if wrote < n {
			return frames, n - wrote, nil
		}
	}
	return nil, 0, nil
}

// pieceLen is how much of b goes into one write: its first frame, or all.
func pieceLen(b []byte, apart bool) int {
	if !apart {
		return len(b)
	}
	header, body, _ := streamLength(b)
	return header + 1 + int(b[0]&15) + int(body)
}

// startDrain starts drain, unless the connection is over.
func (c *Conn) startDrain(b *wire.Buffer, rest []byte, begun int, apart bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finished {
		b.Free()
		return
	}
	c.tasks.Go(func() { c.drain(b, rest, begun, apart) })
}

// drain goes on writing, on a goroutine of its own, while the socket is full.
// b is borrowed and holds rest.
func (c *Conn) drain(b *wire.Buffer, rest []byte, begun int, apart bool) {
	for {
		err := c.writeAll(rest, begun, apart)
		b.Free()
		if err != nil {
			c.writeFailed(err)
			return
		}
		c.mu.Lock()
		if c.out == nil {
			c.written()
			c.mu.Unlock()
			return
		}
		b, apart = c.takeQueue()
		c.mu.Unlock()
		rest, begun = b.B, 0
	}
}

// writeAll writes frames, waiting for each piece as long as writeTimeout
// allows.
func (c *Conn) writeAll(frames []byte, begun int, apart bool) error {
	for {
		n := begun
		if n == 0 {
			n = pieceLen(frames, apart)
		}
		if err := c.link.WriteBefore(frames[:n], time.Now().Add(writeTimeout)); err != nil {
			return err
		}
		if frames, begun = frames[n:], 0; len(frames) == 0 {
			return nil
		}
	}
}

// writeFailed ends the connection. If the peer has closed it, what it sent
// before is still to be read, and reading finds out by itself; that gets a
// moment.
func (c *Conn) writeFailed(err error) {
	c.mu.Lock()
	if c.parting == nil {
		c.parting = fmt.Errorf("coap: write: %w", err)
	}
	reason := c.parting
	gone := errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.ErrClosedPipe)
	if gone && c.err == nil {
		c.nc.SetReadDeadline(time.Now().Add(lingerRead))
		c.wake()
	}
	c.mu.Unlock()
	if !gone {
		c.fail(reason)
	}
}

// awaitDrained waits until everything queued is written, at most for d, and
// reports whether it is.
func (c *Conn) awaitDrained(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		c.mu.Lock()
		if c.out == nil && !c.writing {
			c.mu.Unlock()
			return true
		}
		changed := c.changed.wait()
		c.mu.Unlock()
		select {
		case <-changed:
		case <-timer.C:
			return false
		}
	}
}
