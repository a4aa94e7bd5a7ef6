package xmpp

import (
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/farreach/farreach/internal/wire"
	"github.com/farreach/farreach/internal/wire/websocket"
	"github.com/farreach/farreach/xmpp/stream"
	"github.com/farreach/farreach/xmpp/stream/framing"
)

// conn is one connection to a server. One goroutine at a time calls next; send
// may be called from any.
type conn struct {
	nc   net.Conn
	link wire.Link
	sec  *wire.Secure    // nil: plain, or a WebSocket
	ws   *websocket.Conn // nc and link; nil: TCP
	out  *wire.Queue
	scan stream.Scanner

	rest    []byte       // read, and not yet scanned
	buf     *wire.Buffer // what rest is in; nil: partial
	partial []byte       // the beginning of an item

	born time.Time
	seen atomic.Int64 // when the last item came, since born

	tasks sync.WaitGroup

	mu     sync.Mutex // guards what follows
	err    error      // why it ends; nil: not yet
	closed bool       // no task may begin any more
}

func newConn(nc net.Conn) *conn {
	c := &conn{nc: nc, link: wire.New(nc), born: time.Now()}
	c.out = c.queue(c.link)
	return c
}

func (c *conn) queue(l wire.Link) *wire.Queue {
	return &wire.Queue{Link: l, Go: c.start, Failed: func(err error) { c.fail(err) }}
}

// start runs f on a goroutine that end waits for.
func (c *conn) start(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.tasks.Go(f)
	}
	return !c.closed
}

// secure turns the connection into one through TLS.
func (c *conn) secure(cfg *tls.Config) error {
	c.sec = wire.Client(c.nc, c.link, cfg)
	if err := c.sec.Handshake(tlsTime); err != nil {
		return err
	}
	c.out = c.queue(c.sec)
	c.scan.Reset()
	return nil
}

// tls is the TLS session; nil if there is none.
func (c *conn) tls() *tls.ConnectionState {
	switch {
	case c.ws != nil:
		return c.ws.TLS()
	case c.sec != nil:
		state := c.sec.State()
		return &state
	}
	return nil
}

// restart makes ready for another stream.
func (c *conn) restart(l stream.Limits) {
	c.scan.Reset()
	c.scan.Limits = l
	if c.ws != nil {
		framing.Restart(c.ws)
		framing.SetLimits(c.ws, l)
	}
}

// bottom is the link that items come over.
func (c *conn) bottom() wire.Link {
	if c.sec != nil {
		return c.sec
	}
	return c.link
}

// next waits for an item, which is good until the next call. While it waits it
// holds no memory but the beginning of an item.
func (c *conn) next() (stream.Item, error) {
	for {
		if len(c.rest) > 0 {
			it, n, err := c.scan.Next(c.rest)
			if err == nil {
				c.rest = c.rest[n:]
				return it, nil
			}
			if err != stream.ErrShort {
				return it, err
			}
		}
		if err := c.more(); err != nil {
			return stream.Item{}, err
		}
	}
}

// more reads more behind what is not yet scanned.
func (c *conn) more() error {
	switch {
	case len(c.rest) == 0:
		c.partial = nil
	case c.buf != nil:
		c.partial = append([]byte(nil), c.rest...)
	default:
		c.partial = c.rest // in itself, further back
	}
	c.buf.Free()
	c.buf, c.rest = nil, nil
	b, err := c.bottom().Next()
	switch {
	case err != nil:
		return c.because(err)
	case c.partial == nil:
		c.buf, c.rest = b, b.B
	default:
		c.rest = append(c.partial, b.B...)
		b.Free()
	}
	return nil
}

// send writes pieces of one item, and does not wait.
func (c *conn) send(pieces ...[]byte) {
	c.out.Add(pieces...)
	c.out.Flush()
}

// fail ends the connection because of err, from any goroutine: next returns
// err. Only the first counts.
func (c *conn) fail(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	c.mu.Unlock()
	c.nc.Close()
}

// because is why next failed: what fail was told, else err.
func (c *conn) because(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
	return c.err
}

// lastWords is how long what waits may take to be written when a connection
// ends.
const lastWords = time.Second

// end closes the connection and waits for its goroutines.
func (c *conn) end() {
	c.out.Close()
	c.nc.SetDeadline(time.Now().Add(lastWords))
	c.out.Flush()
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	switch {
	case c.ws != nil: // which cannot write without waiting
		c.awaitWritten(lastWords)
		c.ws.CloseWrite()
	case c.sec != nil:
		if items, _ := c.out.Size(); items == 0 {
			c.sec.CloseNotify()
		}
	}
	c.nc.Close()
	c.tasks.Wait()
	c.buf.Free()
	c.buf, c.rest, c.partial = nil, nil, nil
}

// awaitWritten waits until nothing is left to be written, but not for long.
func (c *conn) awaitWritten(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		changed := c.out.Changed()
		if items, _ := c.out.Size(); items == 0 {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			return
		}
	}
}

// sawItem notes a sign of life.
func (c *conn) sawItem() { c.seen.Store(int64(time.Since(c.born))) }

// silence is how long there was none.
func (c *conn) silence() time.Duration { return time.Since(c.born) - time.Duration(c.seen.Load()) }
