// Package websocket makes a WebSocket a stream for an engine that knows streams.
// A message is to a WebSocket what a frame is to a stream; what the one looks
// like as the other is for a Framing to know, one of each protocol.
//
//	Dial, Listener ──▶ WebSocket ──▶ gather ──▶ Framing.Unframe ──▶ Next ──▶ engine
//	                   WebSocket ◀── Framing.Frame ◀── WriteBefore ◀── engine
//
// A Conn is the net.Conn and the wire.Link of an engine. Pings of the WebSocket
// are answered, compression is not agreed to, and a message takes memory as its
// bytes come, whatever length was announced.
package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/farreach/farreach/internal/wire"
)

// Protocol is what goes over a WebSocket.
type Protocol struct {
	Name       string         // the subprotocol, which both sides must name
	Spec       string         // what says so
	Text       bool           // its messages are text; false: binary
	Limit      int            // of a message at first, bytes: see Conn.SetLimit
	Unfinished time.Duration  // how long the peer may take for one message
	New        func() Framing // for each WebSocket
}

// Framing says what messages are on a stream. Its two methods are called from
// two goroutines, each by one at a time.
type Framing interface {
	// Unframe makes of a message what a stream would have brought. An error
	// ends the connection.
	Unframe(m Message) error

	// Frame returns the message for what stands first in b, part of a stream, nil
	// if there is none for that, and how long it is there: 0 if b holds nothing
	// that is whole, and then b comes again with more behind it. The message may
	// be made in scratch[:0], or in b.
	Frame(scratch, b []byte) (message []byte, n int, err error)
}

// Message is one that came.
type Message struct {
	*wire.Buffer
	Text bool // else it is binary
	Long bool // it is longer than the limit, by its last byte here or by more
}

// Conn is one WebSocket.
type Conn struct {
	ws            *websocket.Conn
	framing       Framing
	kind          websocket.MessageType
	unfinished    time.Duration
	local, remote net.Addr
	state         *tls.ConnectionState // nil: plain

	limit  atomic.Int64
	in     chan received
	late   deadline
	closed chan struct{}  // closed by Close
	reader sync.WaitGroup // of receive

	rest []byte // of what Next gave, for Read
	out  []byte // the beginning of something, for WriteBefore

	mu   sync.Mutex // guards what follows
	open bool       // receive runs
	over bool       // closed is closed
}

// received is a message, or why there are no more.
type received struct {
	Message
	err error
}

func newConn(ws *websocket.Conn, p *Protocol, local, remote net.Addr, state *tls.ConnectionState) *Conn {
	ws.SetReadLimit(-1) // gather knows the limit, which changes
	c := &Conn{ws: ws, framing: p.New(), kind: websocket.MessageBinary, unfinished: p.Unfinished, local: local, remote: remote, state: state,
		in: make(chan received), closed: make(chan struct{}), late: deadline{passed: make(chan struct{})}}
	if p.Text {
		c.kind = websocket.MessageText
	}
	c.SetLimit(p.Limit)
	return c
}

// SetLimit changes how long a message may be that begins from now on, bytes.
func (c *Conn) SetLimit(n int) { c.limit.Store(int64(n)) }

// Framing is that of this connection.
func (c *Conn) Framing() Framing { return c.framing }

// TLS is the session below the WebSocket; nil if there is none.
func (c *Conn) TLS() *tls.ConnectionState { return c.state }

// LocalAddr is this end of the TCP connection.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr is the other end of the TCP connection.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// begin begins to receive, if it has not begun and is not over.
func (c *Conn) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open && !c.over {
		c.open = true
		c.reader.Go(c.receive)
	}
}

// receive reads messages and hands them to Next, until the socket is closed. It
// has a goroutine of its own because a read that is given up breaks the socket,
// and because pings must be answered also while nobody reads.
func (c *Conn) receive() {
	for {
		m, err := c.gather()
		select {
		case c.in <- received{m, err}:
		case <-c.closed:
			m.Free()
			return
		}
		if err != nil || m.Long {
			return
		}
	}
}

// gather reads the next message. Memory grows with the bytes that came, up to
// the limit, whatever length the peer announced.
func (c *Conn) gather() (Message, error) {
	kind, r, err := c.ws.Reader(context.Background())
	if err != nil {
		return Message{}, ended(err)
	}
	late := time.AfterFunc(c.unfinished, func() { c.ws.CloseNow() })
	defer late.Stop()
	most := int(c.limit.Load())
	b := wire.Borrow()
	for {
		if len(b.B) == cap(b.B) {
			b.B = append(b.B, 0)[:len(b.B)]
		}
		n, err := r.Read(b.B[len(b.B):min(cap(b.B), most+1)])
		b.B = b.B[:len(b.B)+n]
		if long := len(b.B) > most; long || err == io.EOF {
			return Message{Buffer: b, Text: kind == websocket.MessageText, Long: long}, nil
		}
		if err != nil {
			b.Free()
			return Message{}, ended(err)
		}
	}
}

// ended is err as a stream has it: the peer closed, or it is something else.
func ended(err error) error {
	switch websocket.CloseStatus(err) {
	case websocket.StatusNormalClosure, websocket.StatusGoingAway, websocket.StatusNoStatusRcvd:
		return io.EOF
	}
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	return fmt.Errorf("WebSocket: %w", err)
}

// errLong ends a connection whose Framing does not care how long a message is.
var errLong = errors.New("WebSocket: message is too long")

// Next returns the next message as it would have come over a stream.
func (c *Conn) Next() (*wire.Buffer, error) {
	passed := c.late.wait()
	if isClosed(passed) {
		return nil, os.ErrDeadlineExceeded
	}
	c.begin()
	select {
	case in := <-c.in:
		if in.err != nil {
			return nil, in.err
		}
		err := c.framing.Unframe(in.Message)
		if err == nil && in.Long {
			err = errLong
		}
		if err != nil {
			in.Free()
			return nil, err
		}
		return in.Buffer, nil
	case <-passed:
		return nil, os.ErrDeadlineExceeded
	case <-c.closed:
		return nil, net.ErrClosed
	}
}

// Try writes nothing: the socket cannot write without waiting.
func (c *Conn) Try([]byte) (int, error) { return 0, nil }

// Pending is always false.
func (c *Conn) Pending() bool { return false }

// WriteBefore writes each message that b holds, and keeps the beginning of one
// until the rest comes: then the deadline of that counts.
func (c *Conn) WriteBefore(b []byte, deadline time.Time) error {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	scratch := wire.Borrow()
	defer scratch.Free()
	if len(c.out) > 0 {
		c.out = append(c.out, b...)
		b = c.out
	}
	for n := 0; len(b) > 0; b = b[n:] {
		var message []byte
		var err error
		if message, n, err = c.framing.Frame(scratch.B, b); err == nil && message != nil {
			err = c.ws.Write(ctx, c.kind, message)
		}
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
	}
	if c.out = append(c.out[:0], b...); len(b) == 0 {
		c.out = nil // an idle connection has no buffer
	}
	return nil
}

// Read reads from the stream. An engine uses Next instead.
func (c *Conn) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		b, err := c.Next()
		if err != nil {
			return 0, err
		}
		c.rest = append(c.rest[:0], b.B...)
		b.Free()
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// writeTime is how long Write waits for a peer that takes nothing.
const writeTime = 10 * time.Second

// Write writes to the stream. An engine uses WriteBefore instead.
func (c *Conn) Write(p []byte) (int, error) {
	if err := c.WriteBefore(append([]byte(nil), p...), time.Now().Add(writeTime)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// SetReadDeadline makes a Next that is under way, and later ones, fail after t.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.late.set(t)
	return nil
}

// SetWriteDeadline does nothing: WriteBefore is told its deadline.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline is SetReadDeadline.
func (c *Conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// closeTime is how long the peer may take to confirm the end.
const closeTime = 500 * time.Millisecond

// CloseWrite says that no more will come, and waits for the peer to confirm it.
// The error says that nothing is to be read behind that.
func (c *Conn) CloseWrite() error {
	late := time.AfterFunc(closeTime, func() { c.end(); c.ws.CloseNow() })
	defer late.Stop()
	c.ws.Close(websocket.StatusNormalClosure, "")
	return io.EOF
}

// Close closes the socket without a word.
func (c *Conn) Close() error {
	c.end()
	c.late.set(time.Time{})
	c.ws.CloseNow()
	c.reader.Wait()
	return nil
}

// end wakes whoever waits.
func (c *Conn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.over = true
		close(c.closed)
	}
}
