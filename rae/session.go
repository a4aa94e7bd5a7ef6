package rae

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/xmpp/ibb"
	"github.com/farreach/farreach/xmpp/jid"
)

// unfinishedTime is how long a document may take from its first byte to its last.
const unfinishedTime = 30 * time.Second

var (
	errUnfinished = errors.New("rae: a document was begun and not ended in time")
	errOverrun    = errors.New("rae: the peer asks faster than it is answered")
)

// carrier carries blocks to one peer. It is an *ibb.Conn, or a chat.
type carrier interface {
	Send(ctx context.Context, b []byte) error
	TrySend(b []byte) bool
	Block() int
	Peer() jid.JID
	Session() ibb.Session
	Keep()
	Leave()
	Fail(err error)
	Close() error
}

// session is one bytestream with a peer.
type session struct {
	x      *exchange
	conn   carrier
	ctx    context.Context // ends with the session
	cancel context.CancelFunc

	// Of Take, which runs once at a time.
	form    Form
	first   []byte // what came while the form was not known
	decoder Decoder
	doc     Document
	late    *time.Timer // runs while a document is not complete; nil: none ever was

	// exchange.mu guards what follows.
	p       *peer    // nil: not known to it yet
	ours    bool     // we opened it
	apart   bool     // for one observation, or one request in raw CoAP, alone
	over    bool     // nothing more comes or goes
	inOrder *pending // whose answer may come without a token
	lane    []job    // requests without tokens, which are served in order
	busy    bool     // the lane is being served
}

// receive makes a session of a bytestream.
func (x *exchange) receive(c *ibb.Conn) ibb.Receiver { return x.newSession(c) }

func (x *exchange) newSession(c carrier) *session {
	se := &session{x: x, conn: c}
	se.ctx, se.cancel = context.WithCancel(x.ctx)
	return se
}

// joinLocked makes the session one of those of its peer.
func (se *session) joinLocked() *peer {
	if se.p == nil {
		se.p = se.x.peerLocked(peerKey{se.conn.Session(), se.conn.Peer()})
	}
	p := se.p
	se.x.uses++
	p.used = se.x.uses
	if !se.over && !slices.Contains(p.sessions, se) {
		at := len(p.sessions)
		if se.ours {
			at = 0
		}
		p.sessions = slices.Insert(p.sessions, at, se)
	}
	return p
}

// Over says that the session is over.
func (se *session) Over(err error) {
	se.cancel()
	x := se.x
	x.mu.Lock()
	defer x.mu.Unlock()
	se.over = true
	for _, j := range se.lane {
		x.held -= j.size
	}
	se.lane = nil
	p := se.p
	if p == nil {
		return
	}
	p.sessions = slices.DeleteFunc(p.sessions, func(other *session) bool { return other == se })
	for _, w := range p.watches {
		if w.conn == se.conn {
			w.endLocked()
		}
	}
	for token, q := range p.waiting {
		if q.se == se {
			delete(p.waiting, token)
			q.settle(nil, fmt.Errorf("%w: %w", errLost, err))
		}
	}
	p.dropLocked()
}

// Take takes a block.
func (se *session) Take(block []byte) error {
	err := se.take(block)
	if err != nil {
		se.x.broken.Add(1)
		se.x.cfg.log.Warn("session ended because of what came", "peer", se.conn.Peer(), "err", err)
	}
	return err
}

func (se *session) take(block []byte) error {
	if se.form == Unknown {
		se.first = append(se.first, block...)
		se.form = Sniff(se.first)
		block, se.first = se.first, nil
	}
	switch se.form {
	case Unknown:
		se.first = block
		se.unfinished(true)
		return nil
	case Documents:
	case Doubly:
		se.decoder.Doubly = true
	case RawCoAP:
		return se.takeRaw(block)
	default:
		return &FormatError{"neither a document nor CoAP", "D20"}
	}
	se.decoder.Feed(block)
	for {
		err := se.decoder.Next(&se.doc)
		if err == ErrShort {
			se.unfinished(se.decoder.Pending())
			return nil
		}
		refusal, bad := err.(*oic.StatusError)
		if err != nil && !bad {
			return err
		}
		if err := se.document(&se.doc, refusal); err != nil {
			return err
		}
	}
}

// unfinished has the session end if what has begun does not.
func (se *session) unfinished(is bool) {
	switch {
	case !is && se.late != nil:
		se.late.Stop()
		se.late = nil
	case is && se.late == nil:
		se.late = time.AfterFunc(unfinishedTime, func() { se.conn.Fail(errUnfinished) })
	}
}

// document takes a document; refusal says that it means nothing.
func (se *session) document(d *Document, refusal *oic.StatusError) error {
	if d.IsAnswer() {
		se.answer(d, refusal)
		return nil
	}
	return se.request(d, refusal)
}

// answer hands an answer to whoever asked.
func (se *session) answer(d *Document, refusal *oic.StatusError) {
	q, p := se.find(d.Token())
	if q == nil {
		return
	}
	var a *Answer
	var err error = refusal
	if refusal == nil {
		a, err = ParseAnswer(d, q.call.Op, q.call.Accept)
	} else {
		err = oic.Errorf(oic.BadGateway, "the answer makes no sense: %s", refusal.Diag)
	}
	se.deliver(p, q, a, err)
}

// deliver hands a, or why there is none, to whoever waits for q.
func (se *session) deliver(p *peer, q *pending, a *Answer, err error) {
	x := se.x
	x.mu.Lock()
	defer x.mu.Unlock()
	if a != nil && a.MaxMessage > 0 {
		p.fragment = a.MaxMessage
	}
	if q.watch {
		p.notifyLocked(q, a, err)
		return
	}
	q.settle(a, err)
}

// find returns the request to which token, or its absence, belongs, and takes it
// from those that wait unless it is an observation; nil: there is none.
func (se *session) find(token string) (*pending, *peer) {
	x := se.x
	x.mu.Lock()
	defer x.mu.Unlock()
	p := se.joinLocked()
	q := p.waiting[token]
	if token == "" && se.inOrder != nil {
		if q = se.inOrder; p.waiting[q.call.Token] != q {
			q = nil
		}
	}
	if q == nil || q.se == nil {
		x.strays.Add(1)
		x.cfg.log.Debug("answer that nobody asked for", "from", p.jid)
		return nil, p
	}
	if p.manner == unknown {
		p.manner = tokens
		if token == "" {
			p.manner = plain
		}
		p.nextLocked()
	}
	if q.watch {
		return q, p
	}
	if q.se.inOrder == q {
		q.se.inOrder = nil
	}
	delete(p.waiting, q.call.Token)
	return q, p
}
