package xmppd

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/farreach/farreach/internal/wire"
	"github.com/farreach/farreach/internal/wire/websocket"
	"github.com/farreach/farreach/xmpp/stream"
)

// conn is one stream over one connection.
type conn struct {
	srv     *Server
	nc      net.Conn
	link    wire.Link
	sec     *wire.Secure    // nil: plain
	ws      *websocket.Conn // below the stream; nil: TCP is
	direct  bool            // TLS from the first byte on
	tasksOf *sync.WaitGroup // of the Serve that it belongs to

	born time.Time
	seen atomic.Int64 // when the peer last sent anything, since born
	busy atomic.Bool  // it is we who do not read

	// Only the goroutine that reads uses these.
	scan    stream.Scanner
	partial *wire.Buffer // the beginning of an item; nil: none
	setup   *setup       // what there is to negotiate; nil: it is bound
	rate    rate
	young   int      // how often loop shall still begin anew
	lang    []byte   // xml:lang of the header, as it stands there; nil: none
	user    *user    // nil: not bound; what follows too
	session *session // mu guards it against others

	queue wire.Queue
	tasks sync.WaitGroup // that write, or wait
	over  chan struct{}  // closed when no more is read
	done  chan struct{}  // closed when err is set

	mu       sync.Mutex // guards what follows
	err      error      // why it ended; nil: it has not
	linger   bool       // the end is orderly: let the last words arrive
	shaking  bool       // a TLS handshake is under way: nothing may be written
	opened   bool       // our header was sent
	finished bool       // no task may begin any more
	parked   bool       // nobody waits in link.Next: see wake
	watch    watch
}

func newConn(s *Server, nc net.Conn, direct bool, tasks *sync.WaitGroup) *conn {
	c := &conn{srv: s, nc: nc, direct: direct, tasksOf: tasks, born: time.Now(), over: make(chan struct{}), done: make(chan struct{})}
	c.link = wire.New(nc)
	c.ws, _ = nc.(*websocket.Conn)
	c.scan.Limits = stream.BeforeAuth()
	c.setup = &setup{}
	if in, ok := nc.(*insider); ok {
		c.setup.user, c.setup.pass = in.user, in.pass
	}
	c.young = 4 // binding, roster, presence
	c.queue = wire.Queue{Link: c.link, Go: c.task, Failed: c.writeFailed, MaxItems: maxQueued}
	return c
}

// maxQueued is how many stanzas may wait to be written; in bytes it is 1 MiB.
const maxQueued = 1000

// LastSeen is when the peer last sent anything.
func (c *conn) LastSeen() time.Time { return c.born.Add(time.Duration(c.seen.Load())) }

// Close ends the connection at once and without a word.
func (c *conn) Close() error {
	c.fail(net.ErrClosed)
	return nil
}

// begin runs the connection, on one goroutine after the other: that of the
// log-in ends with it, and a silence needs none (see loop).
func (c *conn) begin() {
	c.startWatch()
	if c.direct && !c.handshake(c.srv.direct) {
		c.end()
		return
	}
	c.carryOn()
}

func (c *conn) carryOn() {
	switch {
	case !c.loop():
		c.end()
	case !c.park():
		go c.carryOn()
	}
}

// parked is a connection that nobody waits on: a poller has it carried on when
// something arrives.
type parked conn

// park has the connection wait without a goroutine, and reports whether it does.
func (c *conn) park() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parked = c.err == nil && c.srv.idle.Park(c.link, (*parked)(c))
	return c.parked
}

// Wake implements wire.Waker.
func (p *parked) Wake() {
	c := (*conn)(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wake()
}

// wake gives the connection a goroutine again, if it is parked. c.mu is held.
func (c *conn) wake() {
	if !c.parked {
		return
	}
	c.parked = false
	c.srv.idle.Forget(c.link, (*parked)(c))
	go c.carryOn()
}

// handshake puts TLS over the connection and reports whether that went well.
func (c *conn) handshake(cfg *tls.Config) bool {
	c.setShaking(true)
	leave, ok := c.srv.shaking.enter(c.done)
	if !ok {
		return false
	}
	defer leave()
	sec := wire.Server(c.nc, c.link, cfg)
	if err := sec.Handshake(handshakeTime); err != nil {
		c.fail(err)
		return false
	}
	c.sec, c.link, c.queue.Link = sec, sec, sec
	return c.setShaking(false)
}

// handshakeTime is how long a TLS handshake may take.
const handshakeTime = 15 * time.Second

// setShaking notes whether a handshake is under way, and reports whether the
// connection is not over.
func (c *conn) setShaking(is bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shaking = is
	return c.err == nil
}

// quiet is the silence after which a connection counts as idle.
const quiet = time.Second

// loop waits for bytes and takes them, until the connection is over. The frames
// that stay on the stack while it waits are this one's and those of link.Next.
//
// Taking bytes needs more stack than waiting does, and a stack that has grown
// stays so. So loop also returns, and then reports true, a few times when the
// session is young, and after bytes that ended a silence: likely another
// follows, and whoever called may park the connection, or go on with a fresh
// goroutine. Busy connections do not come by here.
func (c *conn) loop() (again bool) {
	for {
		b, err := c.link.Next()
		if err != nil {
			c.unread(err)
			return false
		}
		now := int64(time.Since(c.born))
		silent := now-c.seen.Swap(now) >= int64(quiet)
		if !c.step(b) {
			return false
		}
		if c.young > 0 && c.setup == nil {
			c.young--
			return true
		}
		if silent {
			return true
		}
	}
}

// unread ends the connection because reading failed. On a WebSocket that may be
// the client's fault, which it is told.
func (c *conn) unread(err error) {
	if bad, ok := errors.AsType[*stream.Error](err); ok {
		c.conclude(bad, bad)
	} else {
		c.fail(err)
	}
}

// step takes the bytes that one read brought, answers and routes what is in
// them, and reports whether the connection goes on.
func (c *conn) step(b *wire.Buffer) bool {
	c.busy.Store(true)
	defer c.busy.Store(false)
	x := newBatch(c)
	size := len(b.B)
	err := c.take(b, x)
	x.done()
	c.queue.Flush()
	if err == nil && c.setup == nil {
		c.slowDown(x.stanzas, size)
	}
	x.free()
	c.stop(err)
	return err == nil && c.alive()
}

// stop ends the connection because of err, which handling an item gave.
func (c *conn) stop(err error) {
	if err == nil {
		return
	}
	if bad, ok := errors.AsType[*stream.Error](err); ok {
		c.conclude(bad, bad)
	} else {
		c.conclude(err, nil)
	}
}

func (c *conn) alive() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err == nil
}

// take takes the items in b, which continues the stream, and keeps what is left
// over of an unfinished one.
func (c *conn) take(b *wire.Buffer, x *batch) (err error) {
	defer c.rescue(&err)
	had := c.partial != nil
	if had {
		c.partial.B = append(c.partial.B, b.B...)
		b.Free()
		b, c.partial = c.partial, nil
	}
	rest, err := c.items(b.B, x)
	if err != nil || len(rest) == 0 {
		b.Free()
		if had {
			c.endUnfinished()
		}
		return err
	}
	if !had || len(rest) < len(b.B) {
		c.beginUnfinished()
	}
	b.B = b.B[:copy(b.B, rest)]
	c.partial = b
	return nil
}

// items takes the whole items at the beginning of b and returns what is behind
// them.
func (c *conn) items(b []byte, x *batch) (rest []byte, err error) {
	for len(b) > 0 {
		var n int
		x.item, n, err = c.scan.Next(b)
		if err == stream.ErrShort {
			return b, nil
		}
		if err != nil {
			return nil, err
		}
		b = b[n:]
		if err := c.item(&x.item, x, len(b) > 0); err != nil {
			return nil, err
		}
		if !c.alive() {
			return nil, nil
		}
	}
	return nil, nil
}

// item handles one item. more says that bytes came behind it.
func (c *conn) item(it *stream.Item, x *batch, more bool) error {
	switch it.Kind {
	case stream.Space:
		return c.rate.space(time.Since(c.born), len(it.Raw), c.setup == nil)
	case stream.Closing:
		return errClosed
	case stream.Opening:
		return c.open(it)
	}
	if c.setup != nil {
		return c.negotiate(it, more)
	}
	return c.stanza(it, x)
}

// send writes what is no stanza.
func (c *conn) send(b []byte) {
	c.queue.Add(b)
	c.queue.Flush()
}

// rescue turns a panic into the end of this connection.
func (c *conn) rescue(err *error) {
	if p := recover(); p != nil {
		c.srv.log.Error("xmppd panicked", "remote", c.nc.RemoteAddr(), "panic", p, "stack", string(debug.Stack()))
		*err = &stream.Error{Condition: stream.InternalServerError, Text: errPanic.Error()}
	}
}

// A connection ends in one of two ways. After fail it is over at once. After
// conclude what is queued still leaves, and the peer gets the time to read it.
// Either way the goroutine that reads clears up.

// fail ends the connection at once, and because of err if this is the first
// reason.
func (c *conn) fail(err error) {
	c.mu.Lock()
	linger := c.linger
	c.setErr(err)
	c.wake()
	c.mu.Unlock()
	if !linger {
		c.nc.Close()
	}
}

// conclude ends the stream because of err, in good order: with what is queued,
// the stream error if there is one, and the closing tag.
func (c *conn) conclude(err error, bad *stream.Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.setErr(err)
	if c.shaking {
		c.nc.Close()
		return
	}
	c.linger = true
	c.queue.Add(c.farewell(bad))
	c.queue.Close()
	c.nc.SetReadDeadline(time.Unix(1, 0)) // wakes whoever reads, who goes on in end
	c.wake()
}

// farewell is the last that is said on a stream. An error may come before the
// stream was opened from this side (RFC 6120, section 4.9.1.2). c.mu is held.
func (c *conn) farewell(bad *stream.Error) (b []byte) {
	if !c.opened {
		if bad == nil {
			return nil
		}
		h := stream.Header{From: c.srv.domain.String(), ID: newID(), Version: "1.0", Lang: "en"}
		b = h.Append(b)
	}
	if bad != nil {
		b = bad.Append(b, false)
	}
	return stream.AppendClose(b, false)
}

// setErr records the first reason for the end. c.mu is held.
func (c *conn) setErr(err error) {
	if c.err == nil {
		c.err = err
		c.watch.stop()
		close(c.done)
	}
}

func (c *conn) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// writeFailed ends the connection. If the peer has closed it, what it sent
// before is still to be read, and reading finds out by itself; that gets a
// moment.
func (c *conn) writeFailed(err error) {
	if !isGone(err) {
		c.fail(err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.nc.SetReadDeadline(time.Now().Add(lingerTime))
		c.wake()
	}
}

// task runs f, if the connection is not over.
func (c *conn) task(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finished {
		return false
	}
	c.tasks.Go(f)
	return true
}

// end ends everything that belongs to the connection, on the goroutine that
// read.
func (c *conn) end() {
	defer c.tasksOf.Done()
	err := c.reason()
	close(c.over)
	if c.session != nil {
		c.session.lost(c, err)
	}
	c.abandonSetup()
	if c.linger {
		c.queue.Flush()
		c.lingerClose()
	}
	c.nc.Close()
	c.mu.Lock()
	c.finished = true
	c.mu.Unlock()
	c.queue.Close()
	c.tasks.Wait()
	c.partial.Free()
	c.partial = nil
	c.srv.forget(c)
	if c.user != nil {
		c.srv.registry.part(c.user)
	} else {
		c.srv.log.Debug("xmpp connection ended", "remote", c.nc.RemoteAddr(), "reason", err)
	}
}

// Times and bounds of an orderly end.
const (
	lingerTime  = 500 * time.Millisecond // for the last words to leave, and again for the peer to take them
	lingerBytes = 256 << 10              // taken and thrown away meanwhile
)

// lingerClose lets the last words leave, says that no more will come, and takes
// what the peer still sends for a short while: closing a socket with unread
// bytes would reset it, and the peer might never see them.
func (c *conn) lingerClose() {
	if c.awaitWritten(lingerTime) && c.sec != nil {
		c.sec.CloseNotify()
	}
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	bottom := c.link
	if c.sec != nil {
		bottom = c.sec.Inner()
	}
	c.nc.SetReadDeadline(time.Now().Add(lingerTime))
	for taken := 0; taken < lingerBytes; {
		b, err := bottom.Next()
		if err != nil {
			return
		}
		taken += len(b.B)
		b.Free()
	}
}

// awaitWritten waits until nothing is left to be written, and reports whether
// that is so.
func (c *conn) awaitWritten(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		changed := c.queue.Changed()
		if items, bytes := c.queue.Size(); items == 0 && bytes == 0 {
			return true
		}
		select {
		case <-changed:
		case <-timer.C:
			return false
		}
	}
}

func isGone(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.ErrClosedPipe)
}
