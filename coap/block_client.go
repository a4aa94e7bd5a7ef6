package coap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
)

// ErrChanged says that a representation changed each time while its blocks were
// fetched.
var ErrChanged = errors.New("coap: representation changed while it was fetched")

// maxRestarts is how often a fetch begins again because the representation
// changed.
const maxRestarts = 3

// turn is held by some at a time, and costs nothing until somebody has to take
// it.
type turn struct {
	most int // how many; 0: one

	mu   sync.Mutex    // guards held
	held chan struct{} // has one for each who holds it; nil: nobody ever did
}

func (t *turn) take(ctx context.Context) error {
	t.mu.Lock()
	if t.held == nil {
		t.held = make(chan struct{}, max(t.most, 1))
	}
	held := t.held
	t.mu.Unlock()
	select {
	case held <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *turn) give() { <-t.held }

// fetches is what those who fetch bodies in blocks from a peer have in common.
type fetches struct {
	reserve func(delta int) error // accounts for memory, bytes; nil: need not
	places  *turn                 // held while a body is put together; nil: by as many as there are

	// again is held by who fetches a second time, because the peer may know one
	// transfer of a resource alone: two at once would disturb each other for
	// ever.
	again turn
}

// fetcher is who has them: they are made when they are needed.
type fetcher interface{ fetching() *fetches }

func (f *fetches) fetching() *fetches { return f }

// grow accounts for n bytes more of a body.
func (f *fetches) grow(n int) error {
	if f.reserve == nil {
		return nil
	}
	return f.reserve(n)
}

// exchange sends a request and returns its response, which is the caller's.
type exchange func(ctx context.Context, req *Message) (*Message, error)

// blockDo does req with as many exchanges as bodies in both directions need. A
// request that has a Block option already is left to the caller.
func blockDo(ctx context.Context, req *Message, terms blockTerms, do exchange) (*Message, error) {
	if blockwise(req) {
		return do(ctx, req)
	}
	resp, err := upload(ctx, &req, terms, do)
	if err != nil {
		return nil, err
	}
	return fetch(ctx, req, resp, terms, do)
}

// upload sends req, in blocks if it is too long, and returns the response to
// all of it. *req becomes what names the transfer.
func upload(ctx context.Context, req **Message, terms blockTerms, do exchange) (*Message, error) {
	if terms.fits(*req) {
		return do(ctx, *req)
	}
	m := (*req).derive(func(n Number) bool { return n == RequestTag })
	m.AddUint(RequestTag, rand.Uint32())
	*req = m
	szx := terms.szx
	for {
		resp, smaller, err := uploadBlocks(ctx, m, terms, szx, do)
		if err != nil || smaller == szx {
			return resp, err
		}
		szx = smaller
	}
}

// uploadBlocks sends the blocks of m, none larger than szx, and follows the
// peer to smaller ones. If the peer refuses the first for its size, it returns
// the one to begin again with (RFC 7959, section 2.9.3); szx otherwise.
func uploadBlocks(ctx context.Context, m *Message, terms blockTerms, szx uint8, do exchange) (_ *Message, smaller uint8, _ error) {
	limit := szx
	for offset := 0; ; {
		used, size, err := terms.piece(m, limit)
		if err != nil {
			return nil, szx, err
		}
		limit = used
		end := min(offset+size, len(m.Payload))
		block := Block{SZX: used}.at(offset, end < len(m.Payload))
		if offset/block.Size() > maxBlockNum {
			return nil, szx, fmt.Errorf("%w: %d bytes in blocks of %d", ErrTooLarge, len(m.Payload), block.Size())
		}
		part := m.derive(func(Number) bool { return false })
		part.Payload = m.Payload[offset:end]
		part.AddBlock(Block1, block)
		if offset == 0 {
			part.AddUint(Size1, uint32(len(m.Payload)))
		}
		resp, err := do(ctx, part)
		if err != nil {
			return nil, szx, err
		}
		theirs, has, err := resp.Options.Block(Block1)
		switch {
		case err != nil:
			return nil, szx, err
		case resp.Code == RequestEntityTooLarge && offset == 0 && has && theirs.SZX < used:
			return resp, theirs.SZX, nil
		case resp.Code.Class() != 2 || !block.More:
			return resp, szx, nil
		case !has || theirs.Offset() != block.Offset() || theirs.SZX > used:
			return nil, szx, &FormatError{Spec: "RFC 7959, section 2.3", Why: fmt.Sprintf("block %v confirmed as %v", block, theirs)}
		}
		offset, limit = end, theirs.SZX
	}
}

// fetch returns the whole response to req, of which first is the first block or
// already all.
func fetch(ctx context.Context, req, first *Message, terms blockTerms, do exchange) (*Message, error) {
	for restarts := range maxRestarts {
		m, err := fetchBlocks(ctx, req, first, terms, do)
		if err != ErrChanged || req.Code != GET {
			return m, err
		}
		if restarts == 0 {
			again := &terms.by.fetching().again
			if err := again.take(ctx); err != nil {
				return nil, err
			}
			defer again.give()
		}
		again := req.derive(func(n Number) bool { return n == Observe })
		if first, err = do(ctx, again); err != nil {
			return nil, err
		}
	}
	return nil, ErrChanged
}

// fetchBlocks gets what follows first. The error is ErrChanged if that belongs
// to another representation.
func fetchBlocks(ctx context.Context, req, first *Message, terms blockTerms, do exchange) (*Message, error) {
	block, has, err := first.Options.Block(Block2)
	if err != nil || !has && !first.Options.Has(Block1) {
		return first, err
	}
	whole := first.derive(ofBlocks)
	if !has || !block.More && block.Num == 0 {
		return whole, nil
	}
	if size, ok := first.Options.Uint(Size2); ok && int64(size) > int64(terms.body) {
		return nil, fmt.Errorf("%w: a response of %d bytes, at most %d are taken", ErrTooLarge, size, terms.body)
	}
	shared := terms.by.fetching()
	if shared.places != nil {
		if err := shared.places.take(ctx); err != nil {
			return nil, err
		}
		defer shared.places.give()
	}
	reserved := 0
	defer func() { shared.grow(-reserved) }()
	next := req.derive(func(n Number) bool { return ofBlocks(n) || n == Observe })
	if req.Code != FETCH {
		next.Payload = nil
	}
	body, resp, want := bytes.Clone(first.Payload), first, block
	for want.Num = 0; ; {
		if err := follows(resp, first, block, want, terms); err != nil {
			return nil, err
		}
		if len(body) > terms.body {
			return nil, fmt.Errorf("%w: a response of more than %d bytes", ErrTooLarge, terms.body)
		}
		if !block.More {
			whole.Payload = body
			return whole, nil
		}
		want = block.at(len(body), false)
		ask := next.derive(func(Number) bool { return false })
		ask.AddBlock(Block2, want)
		if resp, err = do(ctx, ask); err != nil {
			return nil, err
		}
		if resp.Code != first.Code {
			return nil, changed(resp)
		}
		if block, _, err = resp.Options.Block(Block2); err != nil {
			return nil, err
		}
		if err := shared.grow(len(resp.Payload)); err != nil {
			return nil, err
		}
		reserved += len(resp.Payload)
		body = append(body, resp.Payload...)
	}
}

// changed is the error of a fetch that got another answer than it began with.
func changed(resp *Message) error {
	if resp.Code.Class() == 2 || resp.Code == RequestEntityIncomplete {
		return ErrChanged
	}
	return fmt.Errorf("coap: fetching the next block: %v %.100q", resp.Code, resp.Payload)
}

// follows checks that resp carries the block that was wanted, of the
// representation that first begins.
func follows(resp, first *Message, block, want Block, terms blockTerms) error {
	if block.Offset() != want.Offset() || block.SZX > want.SZX {
		return &FormatError{Spec: "RFC 7959, section 2.4", Why: fmt.Sprintf("block %v for %v", block, want)}
	}
	if err := block.check(len(resp.Payload), terms.szx); err != nil {
		return err
	}
	if !sameETag(resp, first) {
		return ErrChanged
	}
	return nil
}
