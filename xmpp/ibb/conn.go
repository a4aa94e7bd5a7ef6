package ibb

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stanza"
)

// Conn is one session: a net.Conn whose peer is a full address. Its methods may
// be called from several goroutines.
type Conn struct {
	key
	e     *Endpoint
	form  Form
	block int // largest that the peer takes, bytes
	limit int // largest that we send, bytes

	readBy, writeBy deadline
	writing         chan struct{} // holds one token: whoever has it writes
	done            chan struct{} // closed when the session is over
	idle            *time.Timer   // nil: never
	receiver        Receiver      // nil: Read takes what comes

	next  uint16 // to be sent; of whoever writes, as what follows
	buf   []byte
	frame frame

	// Endpoint.mu guards what follows.
	want   uint16        // next to come
	blocks [][]byte      // that came and were not read
	size   int           // of those, bytes, and perBlock for each
	later  []*stanza.IQ  // to be answered when there is room
	came   chan struct{} // closed and replaced when blocks come
	active time.Time
	kept   int   // for how many reasons it may be silent
	err    error // why it is over
}

// perBlock is what a block that waits to be read takes besides its bytes.
const perBlock = 64

// errClosedByPeer says that the peer closed the session: readers get io.EOF.
var errClosedByPeer = errors.New("ibb: closed by the peer")

func (e *Endpoint) newConn(s Session, peer jid.JID, sid string, form Form, block int) *Conn {
	c := &Conn{
		key: key{s, peer, sid}, e: e, form: form, block: block, limit: block,
		writing: make(chan struct{}, 1), done: make(chan struct{}), came: make(chan struct{}), active: time.Now(),
	}
	if s.Terms().Limits.Stanza > 0 {
		c.limit = min(block, fits(s, peer))
	}
	c.readBy, c.writeBy = newDeadline(), newDeadline()
	if e.cfg.Receive != nil {
		c.receiver = e.cfg.Receive(c)
	}
	return c
}

// checkIdle closes a session over which nothing has gone for long.
func (c *Conn) checkIdle() {
	c.e.mu.Lock()
	left := c.e.cfg.Idle - time.Since(c.active)
	if c.kept > 0 {
		left = c.e.cfg.Idle
	}
	over := c.err != nil
	if left > 0 && !over {
		c.idle.Reset(left)
	}
	c.e.mu.Unlock()
	if left <= 0 && !over {
		c.end(ErrIdle, true)
	}
}

// Keep keeps the session for one reason more however silent it is, until Leave
// is called as often: an observation may have nothing to say for days.
func (c *Conn) Keep() {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	c.kept++
}

// Leave takes a reason of Keep away.
func (c *Conn) Leave() {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	c.kept--
	c.active = time.Now()
}

// take takes the text of a block that came, with its number, in iq if that is not nil; later says that the
// answer to that will be sent when there is room. An error ends the session.
func (c *Conn) take(number, text []byte, iq *stanza.IQ) (later bool, err error) {
	seq, serr := strconv.ParseUint(string(number), 10, 16)
	block, berr := decode(text)
	c.e.mu.Lock()
	switch {
	case c.err != nil:
		err = refuse(stanza.ItemNotFound)
	case serr != nil || berr != nil || len(block) > c.block:
		err = refuse(stanza.BadRequest)
	case uint16(seq) != c.want:
		err = refuse(stanza.UnexpectedRequest)
	case c.receiver != nil:
		c.want++ // 65535 is followed by 0
		c.active = time.Now()
		c.e.mu.Unlock()
		return false, c.hand(block, iq != nil)
	case c.size+len(block) > c.e.cfg.Buffer+c.block || c.e.held+len(block)+perBlock > c.e.cfg.Memory:
		err = &stanza.Error{Type: "cancel", Condition: stanza.ResourceConstraint}
	default:
		later = c.keepLocked(block, iq)
	}
	c.e.mu.Unlock()
	if refusal, ok := errors.AsType[*stanza.Error](err); ok && refusal.Condition != stanza.ItemNotFound {
		why := ErrBroken
		if refusal.Condition == stanza.ResourceConstraint {
			why = ErrOverrun
		}
		c.end(why, false) // the peer hears err
	}
	return later, err
}

// hand hands a block to the receiver. asked says that the peer hears the error as
// the answer to its request.
func (c *Conn) hand(block []byte, asked bool) error {
	if err := c.receiver.Take(block); err != nil {
		c.end(err, !asked)
		if asked {
			return refuse(stanza.BadRequest)
		}
	}
	return nil
}

// keepLocked keeps a block for the reader. e.mu is held.
func (c *Conn) keepLocked(block []byte, iq *stanza.IQ) (later bool) {
	c.want++ // 65535 is followed by 0
	c.active = time.Now()
	if len(block) > 0 {
		c.blocks = append(c.blocks, block)
		c.holdLocked(len(block) + perBlock)
		close(c.came)
		c.came = make(chan struct{})
	}
	if later = iq != nil && !c.roomLocked(); later {
		c.later = append(c.later, iq)
	}
	return later
}

// holdLocked counts n more bytes that wait. e.mu is held.
func (c *Conn) holdLocked(n int) {
	c.size += n
	c.e.held += n
}

// roomLocked reports whether the peer may send one more block.
func (c *Conn) roomLocked() bool {
	return c.size == 0 || c.size+c.block+perBlock <= c.e.cfg.Buffer
}

// Read reads what came: the rest of one block at most, so that with room for a
// whole one each call returns what one Write of the peer sent, if that fitted
// into a block. It returns io.EOF when the peer has closed the session.
func (c *Conn) Read(b []byte) (int, error) {
	for {
		if c.readBy.passed() {
			return 0, os.ErrDeadlineExceeded
		}
		c.e.mu.Lock()
		n, answers := c.readLocked(b)
		came, err := c.came, c.err
		c.e.mu.Unlock()
		for _, iq := range answers {
			c.e.send(c.s, iq.Result(nil))
		}
		switch {
		case n > 0 || len(b) == 0:
			return n, nil
		case err == errClosedByPeer:
			return 0, io.EOF
		case err != nil:
			return 0, err
		}
		select {
		case <-came:
		case <-c.done:
		case <-c.readBy.wait():
		}
	}
}

// readLocked moves bytes from the first block to b, and returns the requests
// that can be answered now. e.mu is held.
func (c *Conn) readLocked(b []byte) (n int, answers []*stanza.IQ) {
	if len(c.blocks) == 0 {
		return 0, nil
	}
	n = copy(b, c.blocks[0])
	c.holdLocked(-n)
	if c.blocks[0] = c.blocks[0][n:]; len(c.blocks[0]) == 0 {
		c.blocks[0] = nil
		c.blocks = c.blocks[1:]
		c.holdLocked(-perBlock)
	}
	c.active = time.Now()
	if len(c.later) > 0 && c.roomLocked() {
		answers, c.later = c.later, nil
	}
	return n, answers
}

// Write sends b, in one block if it fits. In the iq form it waits until the
// peer has taken each block, in the message form until it is on its way to the
// server. After an error other than a deadline before the first block the
// session is over.
func (c *Conn) Write(b []byte) (n int, err error) {
	select {
	case c.writing <- struct{}{}:
		defer func() { <-c.writing }()
	case <-c.done:
		return 0, c.writeErr()
	case <-c.writeBy.wait():
		return 0, os.ErrDeadlineExceeded
	}
	for n < len(b) && err == nil {
		block := b[n:min(len(b), n+c.limit)]
		if err = c.writeBlock(block); err == nil {
			n += len(block)
		}
	}
	return n, err
}

// Send is Write that waits until ctx ends, and for no deadline. Unless ctx ended
// before the first block, the session is over after an error. The error is
// ctx.Err(), or why the session is over, with ErrNotBegun in the chain if nothing
// has gone.
func (c *Conn) Send(ctx context.Context, b []byte) error {
	select {
	case c.writing <- struct{}{}:
		defer func() { <-c.writing }()
	case <-c.done:
		return notBegun(c.writeErr())
	case <-ctx.Done():
		return ctx.Err()
	}
	if c.form == IQ {
		var stop func()
		ctx, stop = c.untilOver(ctx)
		defer stop()
	}
	for begun := false; len(b) > 0; begun = true {
		block := b[:min(len(b), c.limit)]
		if c.touch() {
			return c.stopped(begun)
		}
		if err := c.carry(ctx, block); err != nil {
			if c.form == Message && !begun && ctx.Err() != nil {
				return ctx.Err() // nothing has gone
			}
			c.end(err, !refused(err))
			return c.stopped(begun || c.form == IQ)
		}
		c.next++
		b = b[len(block):]
	}
	return nil
}

// stopped is why what was being sent is not; begun says that the peer may have
// some of it.
func (c *Conn) stopped(begun bool) error {
	if begun {
		return c.writeErr()
	}
	return notBegun(c.writeErr())
}

func notBegun(err error) error { return fmt.Errorf("%w: %w", ErrNotBegun, err) }

// TrySend sends b if that can be done without waiting: in one block, in the
// message form, with nobody else writing and with room on the way to the server.
// It reports false if nothing was sent.
func (c *Conn) TrySend(b []byte) bool {
	if c.form != Message || len(b) > c.limit {
		return false
	}
	select {
	case c.writing <- struct{}{}:
		defer func() { <-c.writing }()
	default:
		return false
	}
	if c.touch() || c.carry(c.e.atOnce, b) != nil {
		return false
	}
	c.next++
	return true
}

// untilOver is ctx, but that it ends with the session.
func (c *Conn) untilOver(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-c.done:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		cancel()
		watch.Wait()
	}
}

// touch notes that the session is used, and reports whether it is over.
func (c *Conn) touch() (over bool) {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	c.active = time.Now()
	return c.err != nil
}

// writeBlock sends one block.
func (c *Conn) writeBlock(block []byte) error {
	switch {
	case c.touch():
		return c.writeErr()
	case c.writeBy.passed():
		return os.ErrDeadlineExceeded
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	var watch sync.WaitGroup
	defer watch.Wait()
	sent := make(chan struct{})
	defer close(sent)
	watch.Go(func() {
		select {
		case <-c.done:
			cancel(io.ErrClosedPipe) // no Close of ours: what came can be read
		case <-c.writeBy.wait():
			cancel(os.ErrDeadlineExceeded)
		case <-sent:
		}
	})
	err := c.carry(ctx, block)
	if err == nil {
		c.next++
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	c.end(err, !refused(err)) // what the peer has got is not known any more
	return c.writeErr()
}

// carry sends one block in the form of the session.
func (c *Conn) carry(ctx context.Context, block []byte) error {
	if c.form == Message {
		if c.frame.before == nil {
			c.frame = newFrame(c.peer, c.sid)
		}
		c.buf = c.frame.append(c.buf[:0], c.next, block)
		return c.s.SendRaw(ctx, c.buf)
	}
	_, err := c.s.Ask(ctx, stanza.IQ{To: c.peer, Payload: &stanza.Element{
		NS: NS, Name: "data", Text: base64.StdEncoding.EncodeToString(block),
		Attrs: []stanza.Attr{{Name: "sid", Value: c.sid}, {Name: "seq", Value: strconv.Itoa(int(c.next))}},
	}})
	return err
}

// writeErr is why nothing can be written.
func (c *Conn) writeErr() error {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	if c.err == errClosedByPeer {
		return io.ErrClosedPipe
	}
	return c.err
}

// Close ends the session and tells the peer. What came and was not read is
// lost.
func (c *Conn) Close() error {
	c.end(net.ErrClosed, true)
	return nil
}

// Fail is Close because of err, which whoever waits for the session hears.
func (c *Conn) Fail(err error) { c.end(err, true) }

// end ends the session because of err, and tells the peer if tell is set. Only
// the first call counts, but that Close also forgets what was not read.
func (c *Conn) end(err error, tell bool) {
	c.e.mu.Lock()
	first := c.endLocked(err, tell)
	c.e.mu.Unlock()
	if first && c.receiver != nil {
		if err == errClosedByPeer {
			err = io.EOF
		}
		c.receiver.Over(err)
	}
}

func (c *Conn) endLocked(err error, tell bool) (first bool) {
	if err == net.ErrClosed {
		c.dropLocked()
	}
	if c.err != nil {
		return false
	}
	c.err = err
	delete(c.e.conns, c.key)
	close(c.done)
	if c.idle != nil {
		c.idle.Stop()
	}
	c.e.cfg.Log.Debug("bytestream over", "peer", c.peer, "sid", c.sid, "err", err)
	if later := c.later; tell || len(later) > 0 {
		c.later = nil
		c.e.tasks.Go(func() { c.farewell(later, tell) }) // before Endpoint.Close waits, which takes the mutex first
	}
	return true
}

// dropLocked forgets what was not read. e.mu is held.
func (c *Conn) dropLocked() {
	c.holdLocked(-c.size)
	c.blocks = nil
}

// farewell refuses the blocks that were not taken, and closes the session.
func (c *Conn) farewell(later []*stanza.IQ, tell bool) {
	for _, iq := range later {
		c.e.send(c.s, iq.Refuse(&stanza.Error{Type: "cancel", Condition: stanza.ItemNotFound}))
	}
	if tell {
		c.e.send(c.s, stanza.IQ{To: c.peer, Type: "set", ID: newSID(), Payload: &stanza.Element{
			NS: NS, Name: "close", Attrs: []stanza.Attr{{Name: "sid", Value: c.sid}},
		}})
	}
}

// Receiver is who takes what comes, nil if Read does.
func (c *Conn) Receiver() Receiver { return c.receiver }

// SID is the name of the session.
func (c *Conn) SID() string { return c.sid }

// Peer is who is at the other end.
func (c *Conn) Peer() jid.JID { return c.peer }

// Session is the session on the server that carries this one.
func (c *Conn) Session() Session { return c.s }

// Block is how many bytes one Write may have to be sent as one block.
func (c *Conn) Block() int { return c.limit }

// Done is closed when the session is over.
func (c *Conn) Done() <-chan struct{} { return c.done }

// LocalAddr returns our address.
func (c *Conn) LocalAddr() net.Addr { return Addr{c.s.JID()} }

// RemoteAddr returns the peer's address.
func (c *Conn) RemoteAddr() net.Addr { return Addr{c.peer} }

// Addr is an address of XMPP as a net.Addr.
type Addr struct{ jid.JID }

// Network returns "xmpp".
func (Addr) Network() string { return "xmpp" }
