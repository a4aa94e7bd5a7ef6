package coap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/farreach/farreach/internal/wire"
	"github.com/farreach/farreach/internal/wire/websocket"
)

// Config says how one end of a connection behaves. Zero values work.
type Config struct {
	Handler    Handler       // answers the peer's requests; nil: 4.04 to all
	TLS        *tls.Config   // nil: plain. No NextProtos means {ALPN}, at the cost of a copy for each connection
	MaxMessage int           // options and payload taken, bytes, announced in the CSM; 0: 262,144
	BlockWise  bool          // longer bodies go in blocks if the peer's CSM allows it too, up to MaxBlockBody; from one that is not Vouched for, up to MaxMessage
	KeepAlive  time.Duration // silence from the peer before a Ping; 0: 20 s; negative: never
	Patience   time.Duration // further silence before the connection counts as lost; 0: 10 s
	Log        *slog.Logger  // nil: slog.Default()

	// Settle is called when the peer asks, by a Ping with Custody, whether all
	// that it sent is dealt with, on Run's goroutine; then is to be called once
	// as soon as that is so, from whatever goroutine, or with false when it will
	// not be. It is about notifications that the application keeps in a queue:
	// requests of the peer are waited for anyway. nil: there are none.
	Settle func(c *Conn, then func(done bool))

	// Introduce is called for the first of several blocks of a body, where
	// Handler.Serve will be called for the whole, while the peer is not Vouched
	// for: the proof may be in it, and the body be too long without. nil: it is
	// not looked at.
	Introduce func(c *Conn, first *Message)

	// Ended is called once, on Run's goroutine, as soon as the connection is
	// over because of err; handlers may still be under way. nil: nobody is told.
	Ended func(c *Conn, err error)
}

// What the zero values of Config stand for.
const (
	DefaultMaxMessage = 262144
	DefaultKeepAlive  = 20 * time.Second
	DefaultPatience   = 10 * time.Second
)

var (
	// ErrClosed is in the chain of every error that says: this connection is
	// over, or was closed from this side. Conn.Err tells why.
	ErrClosed = errors.New("coap: connection closed")

	// ErrNotSent is in the chain of an error of Do beside what else it says: the
	// connection took no new requests, and nothing of this one was sent.
	ErrNotSent = errors.New("coap: not sent")

	// ErrSilent ends a connection whose peer gave no sign of life for
	// Config.KeepAlive and Config.Patience together.
	ErrSilent = errors.New("coap: no sign of life from the peer")

	// ErrUnfinished ends a connection on which a message was begun and not
	// completed within 20 s.
	ErrUnfinished = errors.New("coap: message unfinished for too long")

	// ErrPanic ends a connection whose handler panicked.
	ErrPanic = errors.New("coap: handler panicked")
)

// closedError is what open calls get when their connection ends.
type closedError struct{ cause error }

func (e closedError) Error() string   { return ErrClosed.Error() + ": " + e.cause.Error() }
func (e closedError) Unwrap() []error { return []error{ErrClosed, e.cause} }

// Conn is one end of a connection over TCP or TLS (RFC 8323). Both ends may
// ask: Do and Observe send requests, Config.Handler answers the peer's. All
// methods may be called from several goroutines.
//
// One goroutine, the one that calls Run, reads and answers; under Serve there is
// none during a silence, if the connection can be parked (wire.Lot). Nobody
// holds a buffer while waiting. Whoever sends writes to the socket himself; only
// while the socket is full another goroutine waits for it.
//
//	link.Next ──▶ step ──▶ Parse ──▶ dispatch ──▶ Handler
//	  (waits)                           │            │ Reply
//	                                    ▼            ▼
//	         Do, Observe, Ping ──▶ queue of frames ──▶ link.Try
type Conn struct {
	cfg    Config
	nc     net.Conn
	client bool
	link   wire.Link
	sec    *wire.Secure // nil: plain

	born  time.Time
	seen  atomic.Int64 // when the peer last sent anything, since born
	busy  atomic.Bool  // a step is under way, or reading is stopped by us
	limit atomic.Int64 // of the body of messages from the peer, bytes
	load  atomic.Int32 // len(open), to be read without mu

	server *server // nil: not run by Serve

	partial []byte // the beginning of a message; only Run's goroutine uses it

	openedAt time.Duration // when ready was closed, since born

	ready   chan struct{} // closed when our CSM is in the queue and writing may begin
	done    chan struct{} // closed when err is set
	tasks   sync.WaitGroup
	changed event // of anything below

	mu          sync.Mutex   // guards what follows, and changed
	out         *wire.Buffer // frames not yet given to the socket; nil: none
	queued      int          // how many frames are in out
	inHand      int          // how many are just being written
	inHandBytes int          // and how long they are
	writing     bool         // someone writes, or writing must not begin yet

	peer     peer
	blocks   *blocks          // nil: there were none
	fetched  *fetches         // nil: there were none
	waiting  map[Token]waiter // requests of ours without their last response
	pings    []*pingCall
	open     []openItem // the peer's requests under way in x.Go, and Pings with Custody behind them
	next     uint64     // the next token
	released error      // *ReleaseError or ErrClosed: no new requests
	farewell bool       // the peer has sent a Release
	parting  error      // why it will have ended when the peer closes; nil: as it then seems
	running  bool       // Run was called
	opened   bool       // our CSM is in the queue
	linger   bool       // the end is orderly: let the last frames arrive
	finished bool       // no task may begin any more
	parked   bool       // nobody waits in link.Next: see wake
	err      error      // why it ended
	ctx      context.Context
	cancel   context.CancelFunc
	keep     keepAlive
}

// Client returns the end of nc that opened the connection. It does nothing on
// the network: Run does.
func Client(nc net.Conn, cfg Config) *Conn { return newConn(nc, cfg, true) }

// Server returns the end of nc that accepted the connection. It does nothing
// on the network: Run does.
func Server(nc net.Conn, cfg Config) *Conn { return newConn(nc, cfg, false) }

func newConn(nc net.Conn, cfg Config, client bool) *Conn {
	c := &Conn{cfg: cfg, nc: nc, client: client, link: wire.New(nc), born: time.Now(),
		ready: make(chan struct{}), done: make(chan struct{}), next: rand.Uint64(), writing: true}
	if c.cfg.MaxMessage <= 0 {
		c.cfg.MaxMessage = DefaultMaxMessage
	}
	if c.cfg.KeepAlive == 0 {
		c.cfg.KeepAlive = DefaultKeepAlive
	}
	if c.cfg.Patience <= 0 {
		c.cfg.Patience = DefaultPatience
	}
	if c.cfg.Log == nil {
		c.cfg.Log = slog.Default()
	}
	c.limit.Store(int64(c.cfg.MaxMessage))
	c.limitLink(c.cfg.MaxMessage)
	if cfg.TLS != nil {
		c.secure(cfg.TLS)
	}
	return c
}

// Run shakes hands (at most 15 s with TLS), sends the CSM, and then reads and
// answers until the connection ends. It returns why, after all goroutines of
// the connection have ended:
//
//	ctx.Err()      ctx ended; the peer got a Release
//	ErrClosed      Close, Shutdown or Abort was called
//	io.EOF         the peer closed without a word
//	*ReleaseError  the peer asked for an orderly end
//	*AbortError    the peer found us at fault
//	*FormatError   we found the peer at fault
//	ErrSilent, ErrUnfinished, ErrPanic, or an error of the network or of TLS
//
// Run is called once.
func (c *Conn) Run(ctx context.Context) error {
	c.begin(ctx)
	if ctx.Done() != nil {
		ended := make(chan struct{})
		stop := context.AfterFunc(ctx, func() { defer close(ended); c.leave(ctx.Err()) })
		defer func() {
			if !stop() {
				<-ended
			}
		}()
	}
	if c.start() {
		for c.loop() {
		}
	}
	return c.end()
}

// begin notes that the connection is being run.
func (c *Conn) begin(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running {
		panic("coap: Conn.Run called twice")
	}
	c.running = true
	c.ctx = context.WithoutCancel(ctx)
}

// end clears up after the connection is over, and returns why it is.
func (c *Conn) end() error {
	err := c.Err()
	if c.cfg.Ended != nil {
		c.cfg.Ended(c, err)
	}
	c.finish()
	return err
}

// start makes the connection usable, and reports whether it is.
func (c *Conn) start() bool {
	if err := c.connect(); err != nil {
		c.fail(err)
		return false
	}
	return true
}

// connect shakes hands and puts the CSM in front of whatever waits in the queue.
func (c *Conn) connect() error {
	if c.sec != nil {
		if err := c.sec.Handshake(handshakeTimeout); err != nil {
			return fmt.Errorf("coap: %w", err)
		}
	}
	c.seen.Store(int64(time.Since(c.born)))
	if err := c.openQueue(); err != nil {
		return err
	}
	c.startKeepAlive()
	c.openedAt = time.Since(c.born)
	close(c.ready)
	return nil
}

// quiet is the silence after which a connection counts as idle.
const quiet = time.Second

// loop waits for bytes and takes them, until the connection is over. The frames
// that stay on the stack while it waits are this one's and those of link.Next.
//
// Taking bytes needs more stack than waiting does, and a stack that has grown
// stays so. So loop also returns, and then reports true, after bytes that ended
// a silence: likely another follows, and whoever called may park the connection,
// or go on with a fresh goroutine, whose stack is half as large. Busy
// connections do not come by here.
func (c *Conn) loop() (again bool) {
	for {
		b, err := c.link.Next()
		if err != nil {
			c.fail(c.readError(err))
			return false
		}
		now := int64(time.Since(c.born))
		silent := now-c.seen.Swap(now) >= int64(quiet)
		err = c.step(b.B)
		b.Free()
		switch {
		case err != nil:
			c.fail(err)
			return false
		case silent:
			return true
		}
	}
}

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err is why the connection ended, as Run returns it; nil before that.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Ready is closed when the handshake is done and our CSM is on its way. Do and
// Observe may be called before: their requests wait.
func (c *Conn) Ready() <-chan struct{} { return c.ready }

// LastSeen is when the peer last sent anything: before the first bytes, when
// the connection was made.
func (c *Conn) LastSeen() time.Time { return c.born.Add(time.Duration(c.seen.Load())) }

// LocalAddr is the address of this end.
func (c *Conn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// RemoteAddr is the address of the peer.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// Transport is what carries the messages: TCP or WebSocket.
func (c *Conn) Transport() Transport {
	if _, ok := c.nc.(*websocket.Conn); ok {
		return WebSocket
	}
	return TCP
}

// TLS describes the TLS session; nil if the connection is plain or the
// handshake is not done.
func (c *Conn) TLS() *tls.ConnectionState {
	if w, ok := c.nc.(*websocket.Conn); ok {
		return w.TLS()
	}
	if c.sec == nil {
		return nil
	}
	select {
	case <-c.ready:
		state := c.sec.State()
		return &state
	default:
		return nil
	}
}

// closed is what a call gets that came too late. c.mu is held.
func (c *Conn) closed() error {
	if c.err == nil || c.err == ErrClosed {
		return c.err
	}
	return closedError{c.err}
}

// event is a condition that can be waited for together with other channels.
// It costs nothing while nobody waits. A mutex guards it.
type event struct{ ch chan struct{} }

// wait returns a channel that the next broadcast closes.
func (e *event) wait() <-chan struct{} {
	if e.ch == nil {
		e.ch = make(chan struct{})
	}
	return e.ch
}

func (e *event) broadcast() {
	if e.ch != nil {
		close(e.ch)
		e.ch = nil
	}
}
