package coap

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/farreach/farreach/internal/wire"
)

// PacketConn is a socket for datagrams. *net.UDPConn is one; package coap/dtls
// has another, over DTLS. Its methods may be called from several goroutines.
// After Close they fail with net.ErrClosed.
type PacketConn interface {
	ReadFromUDPAddrPort(b []byte) (n int, from netip.AddrPort, err error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (n int, err error)
	LocalAddr() net.Addr
	Close() error
}

// EndpointConfig says how an Endpoint behaves. Zero values work.
type EndpointConfig struct {
	Handler Handler               // answers requests; nil: 4.04 to all
	Accept  func(p *Peer) Handler // the Handler for one peer, asked for at its first request; nil: Handler for all
	Groups  []*GroupConn          // where requests to multicast groups arrive, of ListenGroups

	// Interfaces names those on which Ask asks groups; nil: all.
	Interfaces []string

	Leisure time.Duration // answers to multicast wait a random part of it; 0: 2 s; negative: none
	Closed  bool          // a closed network: source addresses count as proved, and large answers go to any
	Log     *slog.Logger  // nil: slog.Default()
}

// DefaultLeisure is what Leisure 0 stands for. RFC 7252, section 8.2 has 5 s if
// nothing is known of the network; on a LAN less will do.
const DefaultLeisure = 2 * time.Second

// Bounds of datagrams, and of whom they come from.
const (
	MaxDatagram  = 1472             // bytes that we send at most: an Ethernet frame
	maxTaken     = 8192             // bytes that we take at most
	maxRemotes   = 4096             // peers that we remember
	remoteIdle   = 60 * time.Second // for how long, if nothing is under way with them
	maxServing   = 1024             // requests of all peers in the hands of Exchange.Go
	amplify      = 3                // how many times its request an answer to an unproved source may be
	sweepEvery   = 10 * time.Second // to look for idle peers
	maxReadFails = 100              // errors of the socket in a row
	sendFor      = exchangeLifetime // to wait for an answer if the caller knows no end
)

// ErrReset says that the peer refused a message with a Reset: it lacks the
// context, because it restarted, for example (RFC 7252, section 4.2).
var ErrReset = errors.New("coap: reset by the peer")

// Endpoint is client and server on one socket for datagrams (RFC 7252), for any
// number of peers. All methods may be called from several goroutines.
//
// One goroutine for each socket reads and answers; one timer of the runtime
// serves all that waits. A peer costs some memory while something is under way
// with it and 60 s longer.
//
//	read ──▶ take ──▶ Parse ──┬─▶ request ──▶ seen before? ──▶ Handler
//	                          │                   │ same answer    │ Reply
//	                          │                   ▼                ▼
//	                          │                 write ◀──── ACK, or a message of its own
//	                          ├─▶ response ──▶ Do, Observe, Ask
//	                          └─▶ ACK, RST ──▶ outgoing: no more retransmission
//
// A source address can be forged. Until the peer has proved that it receives
// what is sent to its address, by the Echo option (RFC 9175) or by a response
// with a token of ours, it gets no answer longer than three times its request,
// and no notifications. What is too long is replaced by 4.01 with an Echo
// option; Do and Observe repeat a request that meets this.
type Endpoint struct {
	cfg   EndpointConfig
	socks []PacketConn // the first is our own, the others are those of groups
	echo  echo
	born  time.Time
	done  chan struct{} // closed when err is set
	tasks sync.WaitGroup

	unfinished atomic.Int64 // bytes in block-wise transfers
	fetched    fetches

	ticking sync.Mutex // held by tick

	mu       sync.Mutex // guards what follows, and all of remote, outgoing, timer
	remotes  map[route]*remote
	oldest   *remote // the list of remotes in the order of their last messages
	newest   *remote
	asks     map[Token]*ask
	timers   timers
	clock    *time.Timer
	sweep    timer
	rejoin   timer
	outbox   []packet // what unlock is to write
	calls    []func() // what unlock is to call
	serving  int      // requests in the hands of Exchange.Go
	leisure  int      // answers to multicast that wait
	parting  int      // requests under way that end observations
	parted   event    // of parting, when there are none
	sequence uint32   // of the last notification
	nextID   uint8    // of multicast requests
	running  bool
	err      error // why it ended
	ctx      context.Context
	cancel   context.CancelFunc
}

// route is where a peer is: on which of our sockets, at which address.
type route struct {
	via  uint8
	addr netip.AddrPort
}

type packet struct {
	to   route
	wire []byte
}

// NewEndpoint returns an Endpoint on pc. It does nothing on the network: Run
// does.
func NewEndpoint(pc PacketConn, cfg EndpointConfig) *Endpoint {
	e := &Endpoint{cfg: cfg, socks: []PacketConn{pc}, echo: newEcho(), born: time.Now(), done: make(chan struct{}),
		remotes: map[route]*remote{}, sequence: rand.Uint32(), nextID: uint8(rand.Uint32())}
	e.fetched.reserve = e.reserve
	for _, g := range cfg.Groups {
		e.socks = append(e.socks, g)
	}
	if e.cfg.Leisure == 0 {
		e.cfg.Leisure = DefaultLeisure
	}
	if e.cfg.Log == nil {
		e.cfg.Log = slog.Default()
	}
	e.sweep.do = e.sweepIdle
	e.ctx, e.cancel = context.WithCancel(context.Background())
	if s, ok := pc.(SecureConn); ok {
		s.OnEnd(e.sessionEnded)
	}
	return e
}

// Run reads and answers until ctx ends or a socket fails, closes the sockets,
// and returns why, after all goroutines of the endpoint have ended. Do, Observe
// and Ask get their answers while it runs. Run is called once.
func (e *Endpoint) Run(ctx context.Context) error {
	e.mu.Lock()
	if e.running {
		e.mu.Unlock()
		panic("coap: Endpoint.Run called twice")
	}
	e.running = true
	e.mu.Unlock()

	if len(e.cfg.Groups) > 0 {
		e.mu.Lock()
		e.rejoin.do = e.joinGroups
		e.set(&e.rejoin, rejoinEvery)
		e.mu.Unlock()
	}
	for via := range e.socks {
		e.tasks.Go(func() {
			if err := e.read(uint8(via)); err != nil {
				e.fail(err)
			}
		})
	}
	select {
	case <-ctx.Done():
		e.fail(ctx.Err())
	case <-e.done:
	}
	for _, pc := range e.socks {
		pc.Close()
	}
	e.tasks.Wait()
	e.ticking.Lock() // until the last tick has ended
	defer e.ticking.Unlock()
	return e.Err()
}

// Err is why the endpoint ended, nil before that.
func (e *Endpoint) Err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

// Done is closed when the endpoint has ended.
func (e *Endpoint) Done() <-chan struct{} { return e.done }

// LocalAddr is the address of the socket.
func (e *Endpoint) LocalAddr() net.Addr { return e.socks[0].LocalAddr() }

// closed reports whether the endpoint has ended. e.mu is held.
func (e *Endpoint) closed() bool { return e.err != nil }

// closedErr is what a call gets then. e.mu is held.
func (e *Endpoint) closedErr() error { return closedError{e.err} }

// fail ends the endpoint.
func (e *Endpoint) fail(err error) {
	e.mu.Lock()
	if e.err != nil {
		e.mu.Unlock()
		return
	}
	e.err = err
	close(e.done)
	if e.clock != nil {
		e.clock.Stop()
	}
	for _, t := range e.timers {
		t.place = 0
	}
	e.timers = nil
	for _, r := range e.remotes {
		r.end(closedError{err})
	}
	clear(e.remotes)
	e.cancel()
	e.unlock()
}

// unlock unlocks e.mu and does what was put off until then, because it may
// wait, or belongs to others.
func (e *Endpoint) unlock() {
	out, calls := e.outbox, e.calls
	e.outbox, e.calls = nil, nil
	e.mu.Unlock()
	for _, p := range out {
		e.write(p.to, p.wire)
	}
	for _, f := range calls {
		e.call(f)
	}
}

func (e *Endpoint) call(f func()) {
	defer e.rescue()
	f()
}

func (e *Endpoint) rescue() {
	if p := recover(); p != nil {
		e.cfg.Log.Error("coap handler panicked", "panic", p, "stack", string(debug.Stack()))
	}
}

// post has unlock write wire, which nobody changes any more. e.mu is held.
func (e *Endpoint) post(to route, wire []byte) {
	e.outbox = append(e.outbox, packet{to, wire})
}

// write sends a datagram. What goes wrong with it is like a lost datagram.
func (e *Endpoint) write(to route, wire []byte) {
	if _, err := e.socks[to.via].WriteToUDPAddrPort(wire, to.addr); err != nil && !errors.Is(err, net.ErrClosed) {
		e.cfg.Log.Debug("coap datagram not sent", "remote", to.addr, "bytes", len(wire), "error", err)
	}
}

// read takes what arrives on one of the sockets.
func (e *Endpoint) read(via uint8) error {
	pc := e.socks[via]
	group, _ := pc.(*GroupConn)
	buf := make([]byte, maxTaken+1)
	x := newExchange(nil)
	for fails := 0; ; {
		in := arrival{route: route{via: via}}
		var n int
		var err error
		if group != nil {
			n, in.addr, in.multicast, err = group.read(buf)
		} else {
			n, in.addr, err = pc.ReadFromUDPAddrPort(buf)
		}
		switch {
		case err == nil:
			fails = 0
		case errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF):
			return net.ErrClosed
		default: // of one peer: it does not listen, say
			if fails++; fails >= maxReadFails {
				return err
			}
			continue
		}
		if n > maxTaken || !in.addr.IsValid() || in.addr.Port() == 0 || in.addr.Addr().IsMulticast() {
			continue
		}
		in.addr = netip.AddrPortFrom(in.addr.Addr().Unmap(), in.addr.Port())
		in.size = n
		if in.multicast {
			in.via = 0 // answers to a group come from an address of our own
		}
		if e.take(x, in, buf[:n]); x.detached {
			x = newExchange(nil)
		} else {
			x.in = inbound{}
		}
	}
}

// arrival is what is known of a datagram beside its bytes.
type arrival struct {
	route
	multicast bool // it was sent to a group
	size      int  // bytes
}

// take hands one datagram to whom it concerns.
func (e *Endpoint) take(x *Exchange, in arrival, b []byte) {
	defer e.rescue()
	m := &x.req
	_, err := m.Parse(UDP, b, maxTaken)
	bad, _ := errors.AsType[*FormatError](err)
	if bad != nil && bad.Answer == 0 {
		e.cfg.Log.Debug("coap datagram dropped", "remote", in.addr, "bytes", in.size, "error", err)
		if m.Type == Confirmable {
			e.reset(in, m.ID)
		}
		return
	}
	switch code := m.Code; {
	case m.Type == Acknowledgement && (code == Empty || code.IsResponse()):
		e.acknowledged(in, m, err)
	case m.Type == Acknowledgement:
	case m.Type == Reset:
		if code == Empty {
			e.wasReset(in, m.ID)
		}
	case code.IsRequest():
		e.request(x, in, bad)
	case code.IsResponse():
		e.response(in, m, err)
	case m.Type == Confirmable: // a ping, or what has no meaning on datagrams
		e.reset(in, m.ID)
	}
}

// reset refuses a message (RFC 7252, section 4.2); one to a group silently.
func (e *Endpoint) reset(in arrival, id uint16) {
	if !in.multicast {
		e.bare(in.route, Reset, id)
	}
}

// bare sends a message without content.
func (e *Endpoint) bare(to route, t Type, id uint16) {
	b := wire.Borrow()
	b.B = appendBare(b.B, t, id)
	e.write(to, b.B)
	b.Free()
}

func appendBare(dst []byte, t Type, id uint16) []byte {
	return append(dst, 1<<6|byte(t)<<4, 0, byte(id>>8), byte(id))
}
