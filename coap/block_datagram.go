package coap

// datagramTerms are the terms on which all peers take blocks in datagrams.
// Larger ones than 1,024 bytes there are not.
var datagramTerms = blockTerms{message: MaxDatagram, whole: 16 << maxSZX, szx: maxSZX, body: MaxBlockBody}

// blockTerms are the terms on which we fetch.
func (e *Endpoint) blockTerms() blockTerms {
	terms := datagramTerms
	terms.by = &e.fetched
	return terms
}

// transfers returns the block-wise transfers of the peer, and its terms.
func (r *remote) transfers() (*blocks, blockTerms) {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	if r.blocks == nil {
		r.blocks = &blocks{reserve: r.e.reserve, over: r.e.remotes[r.route] != r}
	}
	terms := datagramTerms
	terms.forget = !r.trusted()
	return r.blocks, terms
}

// reserve accounts for n bytes more, or less, of bodies in blocks.
func (e *Endpoint) reserve(n int) error {
	if total := e.unfinished.Add(int64(n)); n > 0 && total > maxUnfinished {
		e.unfinished.Add(int64(-n))
		return ErrOverloaded
	}
	return nil
}

// acceptDatagram takes a request that may be one of several blocks, and reports
// whether it is the whole now, for the handler. Who is not proved has to prove
// itself before anything is kept for it.
func (x *Exchange) acceptDatagram() bool {
	if !blockwise(&x.req) {
		return true
	}
	r := x.in.r
	b, terms := r.transfers()
	if block, _, err := x.req.Options.Block(Block1); err == nil && terms.forget && (block.More || block.Num > 0) {
		x.Reply(&Message{Code: Unauthorized, Options: Options{{Number: Echo, Value: r.e.echo.value(r.route.addr, r.e.now())}}})
		return false
	}
	p, answer := b.accept(&x.req, terms)
	if answer != nil {
		x.Reply(answer)
		return false
	}
	x.part = p
	return true
}

// inDatagrams returns what to send of an answer: it, or its first block, or the
// one that was asked for.
func (x *Exchange) inDatagrams(resp *Message) (*Message, error) {
	if x.part == nil && datagramTerms.fits(resp) {
		return resp, nil
	}
	b, terms := x.in.r.transfers()
	return b.finish(&x.req, x.part, resp, terms)
}
