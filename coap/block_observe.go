package coap

import (
	"context"
	"sync"
)

// gathering stands between an observation and its observer, and completes the
// notifications of which only the first block came: the rest is fetched with
// GET (RFC 7959, section 2.6). A newer notification ends the fetching of an
// older one, which the observer then never hears of, as with any that is lost.
type gathering struct {
	req     *Message
	each    func(*Message, error)
	terms   func() blockTerms
	do      exchange
	start   func(f func()) // runs f on a goroutine that somebody waits for
	abandon func()         // ends the observation

	turn sync.Mutex // held while each is called

	mu      sync.Mutex // guards what follows
	latest  *Message   // the first block of what is to be fetched; nil: nothing
	cancel  context.CancelFunc
	newest  int   // counts notifications, so that none is told after a newer one
	running bool  // fetchAll
	end     error // what each is to be told at last
	over    bool  // each is not called any more
}

// newGathering returns the gathering for an observation with req. The owner
// gives take to it as its observer, and calls stop when it is cancelled.
func newGathering(req *Message, each func(*Message, error), terms func() blockTerms, do exchange, start func(f func())) *gathering {
	return &gathering{req: req.Clone(), each: each, terms: terms, do: do, start: start, abandon: func() {}}
}

// gather makes o put together notifications that come in blocks, for each.
func (o *Observation) gather(req *Message, each func(*Message, error), terms func() blockTerms, do exchange, start func(f func())) {
	o.gathering = newGathering(req, each, terms, do, start)
	o.gathering.abandon = o.Cancel
	o.each = o.gathering.take
}

// take is the observer of the observation.
func (g *gathering) take(m *Message, err error) {
	if err == nil {
		if block, has, wrong := m.Options.Block(Block2); wrong != nil {
			err = wrong
		} else if has && block.More {
			g.begin(m.Clone())
			return
		} else if has {
			m = m.derive(ofBlocks)
		}
	}
	g.mu.Lock()
	if err != nil && g.running {
		g.end = err
		g.mu.Unlock()
		return
	}
	n := g.supersede(nil)
	g.mu.Unlock()
	g.tell(m, err, n)
}

// supersede makes m the notification to be fetched, or none, and returns its
// number. g.mu is held.
func (g *gathering) supersede(m *Message) (n int) {
	g.latest = m
	g.newest++
	if g.cancel != nil {
		g.cancel()
	}
	return g.newest
}

// begin has the rest of a notification fetched.
func (g *gathering) begin(m *Message) {
	g.mu.Lock()
	g.supersede(m)
	begin := !g.running && !g.over
	g.running = g.running || begin
	g.mu.Unlock()
	if begin {
		g.start(g.fetchAll)
	}
}

// fetchAll fetches until nothing is left to be fetched.
func (g *gathering) fetchAll() {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), transferLife)
		first, n := g.next(cancel)
		if first == nil {
			cancel()
			return
		}
		m, err := fetch(ctx, g.req, first, g.terms(), g.do)
		cancel()
		if err == nil {
			g.tell(m, nil, n)
		} else if g.failed(n) {
			g.tell(nil, err, n)
			g.abandon()
		}
	}
}

// next is the notification to be fetched, which cancel gives up, and its
// number. Without one fetchAll is over, and what ended the observation is told.
func (g *gathering) next(cancel context.CancelFunc) (first *Message, n int) {
	g.mu.Lock()
	if g.latest != nil && !g.over {
		defer g.mu.Unlock()
		first, g.latest, g.cancel = g.latest, nil, cancel
		return first, g.newest
	}
	g.running, g.cancel = false, nil
	end := g.end
	n = g.newest
	g.mu.Unlock()
	if end != nil {
		g.tell(nil, end, n)
	}
	return nil, 0
}

// failed reports whether it matters that notification n could not be fetched:
// neither is there a newer one nor has the observation ended by itself.
func (g *gathering) failed(n int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return n == g.newest && g.end == nil && !g.over
}

// tell calls each for notification n, unless there was a newer one. An error is
// the last that it hears.
func (g *gathering) tell(m *Message, err error, n int) {
	g.turn.Lock()
	defer g.turn.Unlock()
	g.mu.Lock()
	stale := g.over || err == nil && n != g.newest
	g.over = g.over || err != nil
	g.mu.Unlock()
	if !stale {
		g.each(m, err)
	}
}

// stop makes sure that each is not called any more, except that a call may be
// under way.
func (g *gathering) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.over = true
	g.supersede(nil)
}
