package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// maxAsks is how many requests and observations of other nodes are served at
// once. More are refused: each device has its own limit, far below.
const maxAsks = 16_384

var errBusy = errors.Join(oic.Errorf(oic.Unavailable, "the node of the device has too much to do; try again"), oic.ErrNotSent)

// asked serves a request of another node. It does not wait for the device.
func (n *Nodes) asked(m store.Message) {
	var q question
	if err := cbor.Unmarshal(m.Data, &q); err != nil {
		n.log.Warn("a question of no node", "err", err)
		n.answer(m, refusalOf(oic.Errorf(oic.BadRequest, "not understood")))
		return
	}
	if q.Stop {
		n.mu.Lock()
		defer n.mu.Unlock()
		if stop := n.watches[q.Inbox]; stop != nil {
			stop()
		}
		return
	}
	to := n.cfg.Serve(q.Device)
	switch {
	case to == nil:
		n.answer(m, refusalOf(errors.Join(oic.ErrOffline, oic.ErrNotSent)))
	case !n.asks.TryAcquire(1):
		n.answer(m, refusalOf(errBusy))
	case !n.begin(func() {
		defer n.asks.Release(1)
		n.serve(m, &q, to)
	}):
		n.asks.Release(1)
		n.answer(m, refusalOf(errors.Join(oic.ErrOffline, oic.ErrNotSent))) // else who asks could not know
	}
}

// begin runs a task, unless the node is being closed.
func (n *Nodes) begin(task func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.life.Err() != nil {
		return false
	}
	n.tasks.Go(task)
	return true
}

func (n *Nodes) serve(m store.Message, q *question, to oic.Observer) {
	if q.Inbox != "" {
		n.observe(m, q, to)
		return
	}
	ctx, cancel := context.WithTimeout(n.life, min(q.Timeout, askTime))
	defer cancel()
	resp, err := to.Handle(ctx, q.request())
	if err != nil {
		n.answer(m, refusalOf(err))
		return
	}
	n.answer(m, answerOf(resp))
}

func (q *question) request() *oic.Request {
	return &oic.Request{Op: q.Op, Href: q.Href, From: q.From, Accept: q.Accept, Format: q.Format, Body: q.Body, Whole: q.Whole}
}

// answer answers a question; who does not get it gives up by itself.
func (n *Nodes) answer(m store.Message, a answer) {
	err := n.cfg.Store.Answer(m, a.encode())
	if errors.Is(err, store.ErrTooLarge) { // the servers take less
		err = n.cfg.Store.Answer(m, tooLong.encode())
	}
	if err != nil {
		n.log.Debug("answer to another node lost", "err", err)
	}
}

// observe passes the notifications of a device on to the node that asked, until
// it takes them no more.
func (n *Nodes) observe(m store.Message, q *question, to oic.Observer) {
	ctx, cancel := context.WithCancel(n.life)
	defer cancel()
	n.mu.Lock()
	n.watches[q.Inbox] = cancel
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.watches, q.Inbox)
	}()
	n.answer(m, answer{Kind: isAccepted})
	var one sync.Mutex // notifications and signs of life: one at a time
	pass := func(a answer) {
		one.Lock()
		defer one.Unlock()
		op, done := context.WithTimeout(ctx, acceptTime)
		defer done()
		_, err := n.cfg.Store.Request(op, q.Inbox, a.encode())
		if errors.Is(err, store.ErrTooLarge) {
			_, err = n.cfg.Store.Request(op, q.Inbox, tooLong.encode())
			cancel()
		}
		if err != nil {
			cancel() // nobody is there any more
		}
	}
	var alive sync.WaitGroup
	alive.Go(func() {
		tick := time.NewTicker(aliveEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				pass(answer{Kind: isAlive})
			}
		}
	})
	err := to.Observe(ctx, q.request(), func(resp *oic.Response) { pass(answerOf(resp)) })
	if ctx.Err() == nil || n.life.Err() != nil {
		n.farewell(q, err)
	}
	cancel()
	alive.Wait()
}

// farewell says why an observation is over.
func (n *Nodes) farewell(q *question, err error) {
	if n.life.Err() != nil {
		err = oic.ErrOffline
	}
	op, cancel := context.WithTimeout(context.WithoutCancel(n.life), beatEvery)
	defer cancel()
	if _, err := n.cfg.Store.Request(op, q.Inbox, refusalOf(err).encode()); err != nil {
		n.log.Debug("the end of an observation was not told", "err", err)
	}
}

// box holds what came of an observation and has not been taken: the newest
// notification, and the end.
type box struct {
	wake chan struct{} // holds one if there is something, or a sign of life

	mu         sync.Mutex // guards what follows
	news, over *answer
}

func newBox() *box { return &box{wake: make(chan struct{}, 1)} }

func (b *box) put(a *answer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch a.Kind {
	case isResponse:
		b.news = a
	case isAlive:
	default:
		b.over = a
	}
	select {
	case b.wake <- struct{}{}:
	default: // it will come anyway
	}
}

func (b *box) take() (news, over *answer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	news, over, b.news = b.news, b.over, nil
	return news, over
}
