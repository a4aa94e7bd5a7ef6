package rae

import (
	"errors"
	"fmt"
)

// fragmentsLocked is a session over which n bytes may go in several blocks: the
// peer must have said that it puts so many together.
func (p *peer) fragmentsLocked(n int) *session {
	if p.fragment < n {
		return nil
	}
	return p.pickLocked(0)
}

// sendAnswer sends the answer to c. One that is too large for the session goes
// over a larger one that we open if c has a token, else in several blocks if
// the peer can put them together, else not at all: then the peer hears that
// (IBB rule 9).
func (se *session) sendAnswer(a *Answer, c *Call) error {
	x := se.x
	buf := x.buffer()
	defer x.recycleBuffer(buf)
	if se.tells() {
		a.MaxMessage = maxDocument
	}
	if err := se.writeAnswer(buf, a, c); err != nil {
		return err
	}
	if len(*buf) <= se.conn.Block() {
		return se.conn.Send(se.ctx, *buf)
	}
	if larger := se.larger(len(*buf), c.Token != ""); larger != nil {
		return larger.conn.Send(se.ctx, *buf)
	}
	if most := se.fragment(); most >= len(*buf) {
		a.MaxMessage = maxDocument
		if err := se.writeAnswer(buf, a, c); err != nil {
			return err
		}
		if len(*buf) <= most {
			return se.conn.Send(se.ctx, *buf)
		}
	}
	small := TooLarge(Meta{Token: c.Token})
	if err := se.writeAnswer(buf, small, c); err != nil {
		return err
	}
	if err := se.conn.Send(se.ctx, *buf); err != nil {
		return err
	}
	return fmt.Errorf("rae: %s was told that the answer is too large", se.conn.Peer())
}

// sendPromptly sends a, the answer to j, without waiting: if it cannot go at
// once, in one block, it waits its turn like a request.
func (se *session) sendPromptly(a *Answer, j job) error {
	x := se.x
	buf := x.buffer()
	defer x.recycleBuffer(buf)
	if se.tells() {
		a.MaxMessage = maxDocument
	}
	if err := se.writeAnswer(buf, a, j.call); err != nil {
		return err
	}
	if se.conn.TrySend(*buf) {
		return nil
	}
	j.answer, j.size = a, j.size+len(*buf)
	err := se.schedule(j)
	if err != nil {
		se.conn.Fail(err)
	}
	return err
}

// tells reports, once, that the peer is to hear how much we can put together: it
// has said how much it can.
func (se *session) tells() bool {
	se.x.mu.Lock()
	defer se.x.mu.Unlock()
	p := se.joinLocked()
	tells := p.fragment > 0 && !p.told
	p.told = p.told || tells
	return tells
}

// fragment is how many bytes the peer can put together.
func (se *session) fragment() int {
	se.x.mu.Lock()
	defer se.x.mu.Unlock()
	return se.joinLocked().fragment
}

// writeAnswer writes a, or why it cannot be written.
func (se *session) writeAnswer(buf *[]byte, a *Answer, c *Call) error {
	doc, err := a.Document(c.Op)
	if err != nil {
		a = Refuse(err, Meta{Token: c.Token})
		if doc, err = a.Document(c.Op); err != nil {
			return err
		}
	}
	*buf, err = doc.Append((*buf)[:0], 0)
	if _, ok := errors.AsType[*SizeError](err); ok {
		if doc, err = TooLarge(Meta{Token: c.Token}).Document(c.Op); err != nil {
			return err
		}
		*buf, err = doc.Append((*buf)[:0], 0)
	}
	return err
}

// larger is a session that takes n bytes in one block; nil: there is none, and
// none can be opened.
func (se *session) larger(n int, mayOpen bool) *session {
	if !mayOpen {
		return nil
	}
	se.x.mu.Lock()
	p := se.joinLocked()
	for _, other := range p.sessions {
		if !other.apart && other.conn.Block() >= n {
			se.x.mu.Unlock()
			return other
		}
	}
	hopeless := p.largest > 0 && p.largest < n
	se.x.mu.Unlock()
	if hopeless {
		return nil
	}
	other, err := p.open(se.ctx)
	if err != nil {
		return nil
	}
	if other.conn.Block() < n {
		other.conn.Close()
		return nil
	}
	return other
}

// maxKept is the largest buffer that is kept for the next document, bytes.
const maxKept = 16 << 10

func (x *exchange) buffer() *[]byte {
	if b, ok := x.bufs.Get().(*[]byte); ok {
		return b
	}
	return new([]byte)
}

func (x *exchange) recycleBuffer(b *[]byte) {
	if cap(*b) <= maxKept {
		x.bufs.Put(b)
	}
}
