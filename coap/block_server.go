package coap

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"sync"
	"time"
)

// blocks are the block-wise transfers of one peer at the side that answers. At
// most maxTransfers exist at once, none longer than transferLife.
type blocks struct {
	reserve func(delta int) error // accounts for memory, bytes; nil: need not

	mu    sync.Mutex // guards what follows
	list  []*transfer
	timer *time.Timer // when the oldest is due; nil: never was one
	seed  maphash.Seed
	over  bool
}

// transfer is a body that arrives in blocks, or one that is fetched in blocks.
type transfer struct {
	key  []byte
	born time.Time
	body []byte   // so far, if it arrives
	resp *Message // the whole answer, if it is fetched
}

func (t *transfer) size() int {
	if t.resp != nil {
		return len(t.resp.Payload)
	}
	return len(t.body)
}

// part is what a request said of blocks, for its answer.
type part struct {
	one   Block // the last block of the body, to be confirmed
	has1  bool
	two   Block // which block of the answer is wanted
	has2  bool
	first bool // two is not one to continue with
	key   []byte
}

// blockwise reports whether req has to do with blocks.
func blockwise(req *Message) bool {
	for _, o := range req.Options {
		if o.Number >= Block2 {
			return o.Number == Block2 || req.Options.Has(Block1)
		}
	}
	return false
}

// accept takes a request in which blockwise holds. If answer is not nil, the
// request is dealt with: it was one of several blocks, or wrong. Otherwise req
// has become the whole request, with its payload in memory of its own, and p is
// to be given to finish with the answer.
func (b *blocks) accept(req *Message, terms blockTerms) (p *part, answer *Message) {
	p = &part{first: true, key: keyOf(req)}
	var err1, err2 error
	p.one, p.has1, err1 = req.Options.Block(Block1)
	p.two, p.has2, err2 = req.Options.Block(Block2)
	for _, err := range []error{err1, err2} {
		if err != nil {
			return nil, refusal(err.(*FormatError))
		}
	}
	if p.has2 && p.two.SZX > terms.szx {
		return nil, refusal(&FormatError{Answer: BadRequest, Why: "block size 7 is reserved"})
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.has1 {
		if answer := b.gather(req, p, terms); answer != nil {
			return nil, answer
		}
	} else if p.two.Num > 0 {
		if answer := b.resume(req, p, terms); answer != nil {
			return nil, answer
		}
		p.first = false
	}
	req.without(func(n Number) bool {
		return ofBlocks(n) || n == RequestTag || n == Observe && !p.first
	})
	return p, nil
}

func refusal(e *FormatError) *Message {
	return &Message{Code: e.Answer, Payload: []byte(e.Why)}
}

// incomplete is the answer to a block whose predecessors are not there.
func incomplete(why string) *Message {
	return &Message{Code: RequestEntityIncomplete, Payload: []byte(why)}
}

// gather takes a block of a body. With the last one it returns nil, and
// req.Payload is all of it. b.mu is held.
func (b *blocks) gather(req *Message, p *part, terms blockTerms) (answer *Message) {
	one := p.one
	if err := one.check(len(req.Payload), terms.szx); err != nil {
		return refusal(err)
	}
	end := one.Offset() + len(req.Payload)
	t := b.find(p.key, false)
	if size, _ := req.Options.Uint(Size1); end > terms.body || one.Num == 0 && int64(size) > int64(terms.body) {
		b.drop(t)
		m := refusal(&FormatError{Answer: RequestEntityTooLarge, Why: "body too long"})
		m.AddUint(Size1, uint32(terms.body))
		return m
	}
	if one.Num == 0 {
		b.drop(t) // it begins again (RFC 7959, section 2.5)
		if !one.More {
			return nil
		}
		if t = b.begin(p.key); t == nil {
			return refusal(&FormatError{Answer: RequestEntityTooLarge, Why: "too many transfers at once"})
		}
	}
	switch {
	case t == nil:
		return incomplete("the first block is missing")
	case one.More && end <= len(t.body) && bytes.Equal(t.body[one.Offset():end], req.Payload):
		return confirm(one) // again
	case one.Offset() != len(t.body):
		b.drop(t)
		return incomplete("a block is missing or out of order")
	}
	if b.take(len(req.Payload)) != nil {
		b.drop(t)
		return refusal(&FormatError{Answer: RequestEntityTooLarge, Why: "too many transfers of all peers"})
	}
	t.body = append(t.body, req.Payload...)
	if one.More {
		return confirm(one)
	}
	body := t.body
	b.drop(t)
	req.Payload = body
	return nil
}

// confirm is the answer to a block that is not the last.
func confirm(one Block) *Message {
	m := &Message{Code: Continue}
	m.AddBlock(Block1, one)
	return m
}

// resume answers a request for a further block of an answer. Without it the
// handler has to answer again; where that could do something twice, the answer
// is 4.08. b.mu is held.
func (b *blocks) resume(req *Message, p *part, terms blockTerms) (answer *Message) {
	t := b.find(p.key, true)
	if t == nil {
		if req.Code == GET || req.Code == FETCH && len(req.Payload) > 0 {
			return nil
		}
		return incomplete("the answer is not kept any more")
	}
	m := t.resp.derive(func(Number) bool { return false })
	if err := cut(m, p.two, terms); err != nil {
		return &Message{Code: InternalServerError}
	}
	if two, _, _ := m.Options.Block(Block2); !two.More {
		b.drop(t)
	}
	return m
}

// finish makes the answer to req ready to be sent: with the blocks that p asks
// for and confirms, or the first block if resp is too long for one message; p
// is nil if req was no block. What is left is kept, to be fetched. resp is not
// changed, and returned if nothing is to be done.
func (b *blocks) finish(req *Message, p *part, resp *Message, terms blockTerms) (*Message, error) {
	if resp.Options.Has(Block2) {
		return resp, nil // in blocks already
	}
	if p == nil {
		if terms.fits(resp) {
			return resp, nil
		}
		p = &part{first: true, key: keyOf(req)}
	}
	m := resp.derive(func(n Number) bool { return n == Observe && !p.first })
	if p.has1 && !m.Options.Has(Block1) {
		m.AddBlock(Block1, Block{Num: p.one.Num, SZX: p.one.SZX})
	}
	if !p.has2 && terms.fits(m) {
		return m, nil
	}
	two := p.two
	if !p.has2 {
		two.SZX = terms.szx
	}
	if p.first && p.has1 {
		two.Num = 0
	}
	if two.Num > 0 || len(m.Payload) > two.Size() {
		b.mark(m)
	}
	whole := m.derive(func(n Number) bool { return n == Observe || n == Block1 })
	if err := cut(m, two, terms); err != nil {
		return nil, err
	}
	if two, _, _ := m.Options.Block(Block2); two.More && two.Num == 0 && !terms.forget {
		b.keep(p.key, whole)
	}
	return m, nil
}

// cut leaves of m's payload the block that is wanted, or a smaller one at the
// same place.
func cut(m *Message, want Block, terms blockTerms) error {
	szx, size, err := terms.piece(m, want.SZX)
	if err != nil {
		return err
	}
	offset, whole := want.Offset(), len(m.Payload)
	if offset > 0 && offset >= whole {
		*m = Message{Code: BadRequest, Payload: []byte("no such block")}
		return nil
	}
	end := min(offset+size, whole)
	m.Payload = m.Payload[offset:end]
	m.AddBlock(Block2, Block{SZX: szx}.at(offset, end < whole))
	if offset == 0 && end < whole {
		m.AddUint(Size2, uint32(whole))
	}
	return nil
}

// mark gives a representation an ETag, so that its blocks are told from those
// of the next one (RFC 7959, section 2.4).
func (b *blocks) mark(m *Message) {
	if m.Code != Content || m.Options.Has(ETag) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	tag := binary.BigEndian.AppendUint64(nil, maphash.Bytes(b.secret(), m.Payload))
	m.Add(ETag, tag)
}

// secret is the seed of the ETags: as long as the peer is known, equal bodies
// have equal ones. b.mu is held.
func (b *blocks) secret() maphash.Seed {
	if b.seed == (maphash.Seed{}) {
		b.seed = maphash.MakeSeed()
	}
	return b.seed
}

// keep keeps an answer of which the peer will fetch the rest, unless there is
// no room.
func (b *blocks) keep(key []byte, whole *Message) {
	if len(whole.Payload) > MaxBlockBody {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop(b.find(key, true))
	if t := b.begin(key); t != nil {
		t.resp = &Message{}
		if b.take(len(whole.Payload)) != nil {
			b.drop(t)
			return
		}
		t.resp = whole.Clone()
	}
}

// find returns the transfer with that key, of a body that is fetched or that
// arrives; nil if there is none. b.mu is held.
func (b *blocks) find(key []byte, fetched bool) *transfer {
	b.expire(time.Now())
	for _, t := range b.list {
		if (t.resp != nil) == fetched && bytes.Equal(t.key, key) {
			return t
		}
	}
	return nil
}

// begin begins a transfer. If there are too many, the oldest that is fetched
// has to go: it can be asked for again. b.mu is held.
func (b *blocks) begin(key []byte) *transfer {
	if b.over {
		return nil
	}
	for i := 0; len(b.list) >= maxTransfers; i++ {
		if i == len(b.list) {
			return nil
		}
		if b.list[i].resp != nil {
			b.drop(b.list[i])
			break
		}
	}
	t := &transfer{key: key, born: time.Now()}
	b.list = append(b.list, t)
	if len(b.list) == 1 {
		b.watch(t)
	}
	return t
}

// watch has t dropped when its time is over. b.mu is held.
func (b *blocks) watch(t *transfer) {
	wait := time.Until(t.born.Add(transferLife))
	if b.timer == nil {
		b.timer = time.AfterFunc(wait, b.sweep)
	} else {
		b.timer.Reset(wait)
	}
}

func (b *blocks) sweep() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire(time.Now())
	if len(b.list) > 0 {
		b.watch(b.list[0])
	}
}

// expire drops what is too old. The oldest stand first. b.mu is held.
func (b *blocks) expire(now time.Time) {
	for len(b.list) > 0 && now.Sub(b.list[0].born) >= transferLife {
		b.drop(b.list[0])
	}
}

// drop ends t, which may be nil. b.mu is held.
func (b *blocks) drop(t *transfer) {
	for i := range b.list {
		if b.list[i] == t {
			b.list = append(b.list[:i], b.list[i+1:]...)
			b.take(-t.size())
			break
		}
	}
	if len(b.list) == 0 {
		b.list = nil
		if b.timer != nil {
			b.timer.Stop()
		}
	}
}

// take accounts for n bytes more. b.mu is held.
func (b *blocks) take(n int) error {
	if b.reserve == nil || n == 0 {
		return nil
	}
	return b.reserve(n)
}

// close drops everything, for good.
func (b *blocks) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	for len(b.list) > 0 {
		b.drop(b.list[0])
	}
}
