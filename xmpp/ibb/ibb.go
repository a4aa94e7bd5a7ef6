// Package ibb carries streams of bytes in stanzas (In-Band Bytestreams,
// XEP-0047), for where nothing but the XMPP servers connects two peers.
//
//	Endpoint.Open ── <open/> ──▶ peer: Config.Allow? ──▶ Config.Serve
//	Conn.Write ── block ── base64 ── <data seq/> in an iq or a message ──▶ peer ── checked ──▶ Conn.Read or a Receiver
//	   │                                 ◀── result: the block has room (iq form alone)
//	Conn.Close ── <close/> ──▶ peer
//
// In the iq form each block is acknowledged when it has been read or there is
// room for more: Write waits for that. In the message form nothing is
// acknowledged, and a reader that falls behind loses the session. In both, a
// block that is missing, comes twice or is no base64 ends the session: what is
// read is what was written, in that order, or nothing.
package ibb

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
)

// NS is the namespace of bytestreams, and the feature that says they are
// understood.
const NS = "http://jabber.org/protocol/ibb"

// nsHints is the namespace of hints for servers (XEP-0334).
const nsHints = "urn:xmpp:hints"

// Sizes of blocks, bytes before base64.
const (
	maxBlock     = 65_535 // XEP-0047, section 2.1; RA-073
	minOffer     = 2_048  // no smaller one is offered
	unknownBlock = 6_144  // what fits into the 10,000 bytes that every server takes
	maxSID       = 128    // bytes of a sid
)

// Form says which stanzas carry the blocks.
type Form string

// The forms of XEP-0047, section 2.1.
const (
	IQ      Form = "iq"
	Message Form = "message"
)

// Session is what an Endpoint needs of an *xmpp.Session.
type Session interface {
	JID() jid.JID
	Terms() xmpp.Terms
	SendRaw(ctx context.Context, stanza []byte) error // tries once even if ctx has ended
	Ask(ctx context.Context, iq stanza.IQ) (*stanza.Element, error)
	Done() <-chan struct{}
}

// Config says who may open sessions with us, and what they get. The zero
// Config refuses everybody.
type Config struct {
	Serve func(c *Conn)                      // called for each session that a peer opened, on a goroutine of its own; the session is closed when it returns. nil: nobody is served
	Allow func(s Session, peer jid.JID) bool // who may open sessions; nil: the own account

	// Receive says who takes the blocks of a session, whoever opened it; then
	// Serve is not called. nil: they are read.
	Receive func(c *Conn) Receiver

	Block   int           // largest block that is offered and taken, bytes; 0: 65,535
	PerPeer int           // sessions with one peer; 0: 4
	Total   int           // sessions in all; 0: 256
	Buffer  int           // bytes that one session holds for its reader; 0: 262,144
	Memory  int           // bytes that all sessions hold; 0: 4 MiB
	Idle    time.Duration // silence after which a session is closed; 0: 300 s, negative: never
	Log     *slog.Logger  // nil: slog.Default()
}

var (
	// ErrGone says that the peer is not available any more, or that the own
	// session on the server is over.
	ErrGone = errors.New("ibb: the peer is gone")

	// ErrNotBegun is in the chain of an error of Conn.Send after which the peer has
	// certainly got nothing of what was to be sent.
	ErrNotBegun = errors.New("ibb: nothing was sent")

	// ErrIdle says that nothing came or went for Config.Idle.
	ErrIdle = errors.New("ibb: idle for too long")

	// ErrOverrun says that the peer sent more than there was room for.
	ErrOverrun = errors.New("ibb: more came than was read")

	// ErrTooMany says that no more sessions are possible, in all or with this
	// peer.
	ErrTooMany = errors.New("ibb: too many sessions")

	// ErrBroken says that the peer sent a block that was not next, or no base64.
	ErrBroken = errors.New("ibb: a block is missing or broken")
)

// Receiver takes the blocks of one session as they come, for who has documents
// and no streams: no goroutine waits for them.
type Receiver interface {
	// Take takes the next block, which belongs to it. Calls come one after
	// another and return soon, since what else comes waits. An error ends the
	// session, and the peer is told.
	Take(block []byte) error

	// Over says, once, why the session is over or was never opened: io.EOF when
	// the peer has closed it. Take may not have returned yet.
	Over(err error)
}

// Endpoint is this end of all bytestreams. Its methods may be called from
// several goroutines.
type Endpoint struct {
	cfg    Config
	atOnce context.Context // has ended: who gets it does not wait
	quit   chan struct{}   // closed by Close
	tasks  sync.WaitGroup

	mu      sync.Mutex // guards what follows, and what Conns have in it
	conns   map[key]*Conn
	watched map[Session]bool
	told    map[jid.JID]time.Time // when a peer last heard that a session is unknown
	held    int                   // bytes that readers have not taken
	closed  bool
}

// key says which session: sids are chosen by whoever opens.
type key struct {
	s    Session
	peer jid.JID
	sid  string
}

// New returns an Endpoint. Handle connects it with sessions on a server.
func New(cfg Config) *Endpoint {
	cfg.Block = min(cmp.Or(cfg.Block, maxBlock), maxBlock)
	cfg.PerPeer = cmp.Or(cfg.PerPeer, 4)
	cfg.Total = cmp.Or(cfg.Total, 256)
	cfg.Buffer = cmp.Or(cfg.Buffer, 262_144)
	cfg.Memory = cmp.Or(cfg.Memory, 4<<20)
	cfg.Idle = cmp.Or(cfg.Idle, 300*time.Second)
	cfg.Log = cmp.Or(cfg.Log, slog.Default())
	atOnce, cancel := context.WithCancel(context.Background())
	cancel()
	return &Endpoint{
		cfg: cfg, atOnce: atOnce, quit: make(chan struct{}),
		conns: map[key]*Conn{}, watched: map[Session]bool{}, told: map[jid.JID]time.Time{},
	}
}

// Handle has e take what belongs to bytestreams from the sessions of h.
func (e *Endpoint) Handle(h *xmpp.Handlers) {
	h.IQ(NS, "open", func(s *xmpp.Session, iq *stanza.IQ) (*stanza.Element, error) { return nil, e.opened(s, iq) })
	h.IQ(NS, "data", func(s *xmpp.Session, iq *stanza.IQ) (*stanza.Element, error) { return nil, e.asked(s, iq) })
	h.IQ(NS, "close", func(s *xmpp.Session, iq *stanza.IQ) (*stanza.Element, error) { return nil, e.closes(s, iq) })
	h.PromptMessage(NS, "data", func(s *xmpp.Session, from jid.JID, it *stream.Item) bool { return e.prompt(s, from, it) })
	h.Message(NS, "data", func(s *xmpp.Session, m *stanza.Message) { e.message(s, m) })
	h.MessageError(func(s *xmpp.Session, m *stanza.Message) bool { return e.bounced(s, m) })
	h.Presence(func(s *xmpp.Session, p *stanza.Presence) { e.presence(s, p) })
}

// Close ends all sessions, tells the peers, and waits until nobody serves one
// any more.
func (e *Endpoint) Close() error {
	e.mu.Lock()
	if !e.closed {
		e.closed = true
		close(e.quit)
	}
	e.mu.Unlock()
	e.endAll(func(key) bool { return true }, net.ErrClosed, true)
	e.tasks.Wait()
	return nil
}

// Open opens a session with peer, which is a full address. When the peer wants
// smaller blocks, they are halved down to 2,048 bytes (IBB rule 6).
//
// The error is ErrTooMany, a *stanza.Error if the peer or a server refuses, or
// one of Session.Ask.
func (e *Endpoint) Open(ctx context.Context, s Session, peer jid.JID, form Form) (*Conn, error) {
	for block := min(e.cfg.Block, fits(s, peer)); ; block /= 2 {
		c, err := e.Offer(ctx, s, peer, newSID(), form, block)
		refusal, ok := errors.AsType[*stanza.Error](err)
		if !ok || refusal.Condition != stanza.ResourceConstraint || block/2 < minOffer-1 {
			return c, err
		}
	}
}

// Offer opens a session of that name, with blocks of that size and no smaller
// ones. Open is right unless a foreign peer wants names of its own kind.
func (e *Endpoint) Offer(ctx context.Context, s Session, peer jid.JID, sid string, form Form, block int) (*Conn, error) {
	c := e.newConn(s, peer, sid, form, block)
	e.mu.Lock()
	err := e.addLocked(c) // before the peer knows, since it may send at once
	e.mu.Unlock()
	if err != nil {
		return nil, err
	}
	_, err = s.Ask(ctx, stanza.IQ{To: peer, Payload: &stanza.Element{NS: NS, Name: "open", Attrs: []stanza.Attr{
		{Name: "sid", Value: c.sid}, {Name: "block-size", Value: strconv.Itoa(block)}, {Name: "stanza", Value: string(form)},
	}}})
	if err != nil {
		c.end(err, !refused(err))
		return nil, err
	}
	return c, nil
}

// newSID returns a name that nobody guesses: 128 random bits. All are of one
// length, so that none is the beginning of another.
func newSID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// fits is how large a block may be on its way to peer, as far as the own server
// says.
func fits(s Session, peer jid.JID) int {
	limit := s.Terms().Limits.Stanza
	if limit <= 0 {
		return unknownBlock
	}
	const markup = 512
	addresses := len(stream.AppendEscaped(nil, s.JID().String())) + len(stream.AppendEscaped(nil, peer.String()))
	return min(maxBlock, max(minOffer, (limit-markup-addresses)/4*3))
}

// addLocked makes c one of the sessions. e.mu is held.
func (e *Endpoint) addLocked(c *Conn) error {
	if e.closed || e.conns[c.key] != nil || len(e.conns) >= e.cfg.Total {
		return ErrTooMany
	}
	same := 0
	for k := range e.conns {
		if k.s == c.s && k.peer == c.peer {
			same++
		}
	}
	if same >= e.cfg.PerPeer {
		return ErrTooMany
	}
	e.conns[c.key] = c
	if e.cfg.Idle > 0 {
		c.idle = time.AfterFunc(e.cfg.Idle, c.checkIdle)
	}
	if !e.watched[c.s] {
		e.watched[c.s] = true
		e.tasks.Go(func() { e.watch(c.s) })
	}
	return nil
}

// watch ends the sessions over s when that is over.
func (e *Endpoint) watch(s Session) {
	select {
	case <-s.Done():
	case <-e.quit:
		return // and Close ends them
	}
	e.mu.Lock()
	delete(e.watched, s)
	e.mu.Unlock()
	e.endAll(func(k key) bool { return k.s == s }, ErrGone, false)
}

// endAll ends the sessions that which chooses, as Conn.end does.
func (e *Endpoint) endAll(which func(key) bool, err error, tell bool) {
	var all []*Conn
	e.mu.Lock()
	for k, c := range e.conns {
		if which(k) {
			all = append(all, c)
		}
	}
	e.mu.Unlock()
	for _, c := range all {
		c.end(err, tell)
	}
}
