package event

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// The store takes some µs to hand out each event: too long for a plot of the
// 86,400 of a day. So what the events of a resource say in numbers is kept a
// second time, 1,024 events in one record of a log of blocks:
//
//	events   ···── 1,024 ──┬── 1,024 ──┬── 1,024 ──┬─ fewer ─▶
//	blocks         block ◀─┘   block ◀─┘   block ◀─┘
//	series         block       block       block     events
//
// Blocks are worth no more than the time that they save. They are made behind
// the events, in any process, and each is stored after the one before it or not
// at all: of two that make the same, one does. A series takes from them what
// they have, and from the events all else, so that it is the same whether there
// are all blocks or none.
//
// A block goes with the first of its events: by its age at the same time, when
// a device or account is deleted together with them, and if they go for want of
// room when the resource's next block is made. Until then nobody sees it, for
// what comes before the oldest event of a resource does not count. Nor do
// blocks of events that the store has lost, as in a loss of power: then the last
// event of the newest block is not where it was.
const (
	blockShare = 10               // of so many parts of its time the maker works one
	maxRest    = 10 * time.Second // a reader of the store is forgotten after a minute
	maxCounted = 1 << 16          // resources whose events are counted; beyond, others are forgotten
	maxWanted  = 1 << 12          // resources whose blocks are to be made; beyond, none is

	// blockParts is how much larger events are than their blocks, at least,
	// where the size of the log is limited.
	blockParts = 8
)

// blocks is the log of blocks, and what is known of those to make.
type blocks struct {
	*store.Log
	wake chan struct{} // holds one if some are wanted

	mu      sync.Mutex // guards what follows
	counted map[key]int
	wanted  map[key]bool
}

func openBlocks(ctx context.Context, s *store.Store, cfg Config) (*blocks, error) {
	log, err := store.OpenLog(ctx, s, "block", store.LogConfig{Tokens: 3, MaxAge: cfg.MaxAge, MaxBytes: cfg.MaxBytes / blockParts, Lives: true})
	return &blocks{Log: log, wake: make(chan struct{}, 1), counted: map[key]int{}, wanted: map[key]bool{}}, err
}

// count counts events that were appended, and wants blocks of them once there
// are enough for one.
func (b *blocks) count(events []Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range events {
		if ev := &events[i]; ev.Seq > 0 {
			b.add(resource(ev), 1)
		}
	}
}

// add counts n events more. b.mu is held.
func (b *blocks) add(k key, n int) {
	if n += b.counted[k]; n >= blockEvents {
		delete(b.counted, k)
		b.want(k)
		return
	}
	if len(b.counted) >= maxCounted {
		for some := range b.counted {
			delete(b.counted, some)
			break
		}
	}
	b.counted[k] = n
}

// want has blocks made of what there is. b.mu is held.
func (b *blocks) want(k key) {
	if len(b.wanted) >= maxWanted {
		return // it is wanted again when it is read, or there are more events
	}
	b.wanted[k] = true
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take returns one of those wanted, if there is any.
func (b *blocks) take() (k key, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k = range b.wanted {
		delete(b.wanted, k)
		return k, true
	}
	return k, false
}

// makeBlocks makes the blocks that are wanted, until ctx ends.
func (e *Events) makeBlocks(ctx context.Context) {
	for {
		k, ok := e.blocks.take()
		if !ok {
			select {
			case <-e.blocks.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		m := blockMaker{e: e, key: k, tokens: k.tokens(), start: time.Now()}
		err := m.run(ctx, func(took time.Duration) error { return backoff.Sleep(ctx, restAfter(took)) })
		if err != nil && ctx.Err() == nil {
			e.log.Debug("blocks are not made for now", "device", k.device, "href", k.href, "err", err)
		}
		if backoff.Sleep(ctx, restAfter(time.Since(m.start))) != nil {
			return
		}
	}
}

// restAfter is how long the maker rests after work.
func restAfter(took time.Duration) time.Duration { return min(took*(blockShare-1), maxRest) }

func (k key) tokens() []string { return []string{k.account, k.device, k.href} }

// blockMaker makes the blocks of a resource that are missing.
type blockMaker struct {
	e      *Events
	key    key
	tokens []string
	start  time.Time // of the block under way

	newest uint64 // sequence of the newest block; 0: none
	writer blockWriter
	began  time.Time // when the store took the first event of the block under way
}

// run does it. rest is called after each with how long that took.
func (m *blockMaker) run(ctx context.Context, rest func(took time.Duration) error) error {
	c, err := m.e.chain(ctx, m.tokens)
	if err == nil {
		err = m.sweep(ctx, c)
	}
	if err != nil || c.oldest == 0 {
		return err
	}
	m.newest, m.writer.first = c.newest, c.next
	m.e.blocks.forget(m.key) // what comes from now on is counted
	var failed error
	err = m.e.records.Read(ctx, store.Start{Seq: c.next}, m.tokens, func(r store.Record) bool {
		m.add(r)
		if m.writer.events < blockEvents {
			return true
		}
		if failed = m.keep(ctx); failed == nil {
			failed = rest(time.Since(m.start))
		}
		m.start = time.Now()
		return failed == nil
	})
	m.e.blocks.left(m.key, m.writer.events)
	return errors.Join(err, failed)
}

// forget begins to count the events of a resource anew.
func (b *blocks) forget(k key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.counted, k)
}

// left counts what was too little for a block.
func (b *blocks) left(k key, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(k, n)
}

// chain is what there is of a resource: sequences.
type chain struct {
	oldest uint64 // its oldest event; 0: it has none
	newest uint64 // its newest block, if that can be trusted; 0: none
	next   uint64 // what comes after the last event of that; without it, oldest
	wrong  uint64 // its newest block, if that cannot be trusted; 0: none
}

// chain looks for the blocks of a resource. It looks at the events last: what it
// finds wrong is not right because of what was done meanwhile.
func (e *Events) chain(ctx context.Context, tokens []string) (c chain, err error) {
	r, err := e.blocks.Last(ctx, tokens)
	none := errors.Is(err, store.ErrNotFound)
	if err != nil && !none {
		return c, err
	}
	oldest, err := e.records.First(ctx, tokens, 0)
	if errors.Is(err, store.ErrNotFound) {
		return chain{wrong: r.Seq}, nil
	}
	c = chain{oldest: oldest.Seq, next: oldest.Seq, wrong: r.Seq}
	if err != nil || none {
		return c, err
	}
	b, err := parseBlock(r.Data, "", nil)
	if err != nil || b.last < c.oldest {
		return c, nil
	}
	last, err := e.records.First(ctx, tokens, b.last)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return c, nil
	case err == nil && last.Seq == b.last && last.Time.Equal(b.taken):
		c.newest, c.next, c.wrong = r.Seq, b.last+1, 0
	}
	return c, err
}

// sweep removes the blocks whose first events have gone, and all that cannot be
// trusted.
func (m *blockMaker) sweep(ctx context.Context, c chain) error {
	if c.wrong > 0 {
		return m.e.blocks.PurgeUpTo(ctx, m.tokens, c.wrong)
	}
	for c.newest > 0 {
		r, err := m.e.blocks.First(ctx, m.tokens, 0)
		if errors.Is(err, store.ErrNotFound) {
			return errGone
		}
		if err != nil {
			return err
		}
		if b, err := parseBlock(r.Data, "", nil); err == nil && b.first >= c.oldest || r.Seq > c.newest {
			return nil
		}
		if err := m.e.blocks.PurgeUpTo(ctx, m.tokens, r.Seq); err != nil {
			return err
		}
	}
	return nil
}

// add adds an event to the block under way.
func (m *blockMaker) add(r store.Record) {
	if m.writer.events == 0 {
		m.began = r.Time
	}
	ev, err := parseRecord(r)
	if err != nil {
		m.e.broken(r, err)
		m.writer.pass(r.Seq, r.Time)
		return
	}
	m.writer.add(&ev, r.Time)
}

// keep stores the block under way, and begins another.
func (m *blockMaker) keep(ctx context.Context) error {
	b := m.writer.append(nil)
	last := m.writer.last
	m.writer = blockWriter{first: last + 1}
	life := m.e.cfg.MaxAge - time.Since(m.began)
	if life < time.Second {
		return nil // its events are about to go
	}
	seq, err := m.e.blocks.AppendFor(ctx, m.tokens, b, m.newest, life)
	if err != nil {
		return err
	}
	m.newest = seq
	// A block of events that were purged meanwhile is purged by whoever is later.
	r, err := m.e.records.First(ctx, m.tokens, 0)
	if err == nil && r.Seq <= last {
		return nil
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return errors.Join(errGone, m.e.blocks.PurgeUpTo(ctx, m.tokens, seq))
}

var errGone = errors.New("the events or blocks have gone")

// values calls each for the values of a property that f, of one resource,
// selects, in the order in which they came.
func (e *Events) values(ctx context.Context, f Filter, property string, each func(Value)) error {
	s, err := f.selection()
	if err != nil {
		return err
	}
	p := plotter{ranged: ranged{e: e, f: f, which: s, prefix: s[0].prefix()}, property: property, each: each}
	if err := p.find(ctx); err != nil || p.from >= p.to {
		return err
	}
	if p.to-p.from > dense {
		if err := p.readBlocks(ctx); err != nil {
			return err
		}
	}
	n, err := p.readEvents(ctx, p.to)
	if n >= 2*blockEvents {
		e.blocks.mu.Lock()
		defer e.blocks.mu.Unlock()
		e.blocks.want(s[0])
	}
	return err
}

// plotter reads values: those from sequence from on are still to be read.
type plotter struct {
	ranged
	property string
	each     func(Value)
}

// readBlocks reads the values as far as there are blocks.
func (p *plotter) readBlocks(ctx context.Context) error {
	c, err := p.e.chain(ctx, p.prefix)
	if err != nil {
		return err
	}
	if c.oldest == 0 {
		p.from = p.to
		return nil
	}
	p.from = max(p.from, c.oldest)
	if c.newest == 0 || c.next <= p.from {
		return nil
	}
	room := make([]point, 0, blockEvents)
	var failed error
	err = p.e.blocks.Read(ctx, store.Start{Time: p.f.Since}, p.prefix, func(r store.Record) bool {
		b, err := parseBlock(r.Data, p.property, room)
		if err != nil {
			p.e.log.Error("block is unreadable and left out", "seq", r.Seq, "err", err)
			return true
		}
		failed = p.add(ctx, b)
		return failed == nil && p.from < p.to
	})
	return errors.Join(err, failed)
}

// add reads what b has, and before it the events for which there is no block.
func (p *plotter) add(ctx context.Context, b block) error {
	if b.last < p.from || b.first >= p.to || !b.whole {
		return nil
	}
	if _, err := p.readEvents(ctx, b.first); err != nil {
		return err
	}
	for _, v := range b.points {
		if v.seq >= p.from && v.seq < p.to && p.within(v.time) {
			p.each(Value{time.Unix(0, v.when).UTC(), v.number})
		}
	}
	p.from = b.last + 1
	return nil
}

// within reports whether what was received at t, ns since 1970, is selected.
func (p *plotter) within(t int64) bool {
	ev := Event{Time: time.Unix(0, t)}
	return p.selects(&ev)
}

// readEvents reads the values of the events up to a sequence, and says how many
// events that were.
func (p *plotter) readEvents(ctx context.Context, to uint64) (n int, err error) {
	if p.from >= to {
		return 0, nil
	}
	from := p.from
	p.from = to
	err = p.read(ctx, from, to, func(ev Event) bool {
		n++
		if v := oic.Property(ev.Format, ev.Body, p.property); v.Kind == oic.Number || v.Kind == oic.Bool {
			p.each(Value{ev.When(), v.Number})
		}
		return true
	})
	return n, err
}
