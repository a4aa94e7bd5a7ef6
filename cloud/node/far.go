package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// Times of a request to another node.
const (
	askTime    = 60 * time.Second // longest, whatever the asker would wait
	acceptTime = 10 * time.Second // for an observation to be taken, and a notification
	aliveEvery = 5 * time.Second  // of an observation without news
	deadAfter  = 3 * aliveEvery
)

// Far is a device that is connected to another node. It is an oic.Observer as
// if it were here.
type Far struct {
	n    *Nodes
	di   string
	node string // id
	seen time.Time
	life context.Context // of the node
}

// Session returns the way to a device that is connected to another node, or nil.
func (n *Nodes) Session(di string) *Far {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.claims[di]
	if c == nil || c.Gone || c.Node == n.self.ID {
		return nil
	}
	p := n.peers[c.Node]
	if p == nil || !p.lost.IsZero() {
		return nil
	}
	return &Far{n, di, c.Node, c.Seen, p.life}
}

// LastSeen is the last sign of life that the other node told.
func (f *Far) LastSeen() time.Time { return f.seen }

// Close does nothing: the connection is the other node's to close, which knows
// of every right that is lost by itself.
func (f *Far) Close(string) {}

// Handle implements oic.Handler.
func (f *Far) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	a, err := f.ask(ctx, req, askTime, "")
	if err != nil {
		return nil, err
	}
	if err := a.err(); err != nil {
		return nil, err
	}
	return a.response(), nil
}

// ask sends a request and returns the first answer.
func (f *Far) ask(ctx context.Context, req *oic.Request, timeout time.Duration, inbox string) (*answer, error) {
	if end, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(end))
	}
	b, err := cbor.Marshal(question{
		Device: f.di, Op: req.Op, Href: req.Href, From: req.From, Accept: req.Accept, Format: req.Format,
		Body: req.Body, Whole: req.Whole, Timeout: timeout, Inbox: inbox,
	})
	if err != nil {
		return nil, err
	}
	op, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer context.AfterFunc(f.life, cancel)()
	b, err = f.n.cfg.Store.Request(op, subjectAsk(f.node), b)
	switch {
	case err == nil:
		return parseAnswer(b)
	case errors.Is(err, store.ErrNotFound): // it has just gone
		return nil, errors.Join(oic.ErrOffline, oic.ErrNotSent)
	case errors.Is(err, store.ErrTooLarge):
		return nil, errors.Join(oic.Errorf(oic.TooLarge, "too long to be carried from node to node"), oic.ErrNotSent)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case f.life.Err() != nil, errors.Is(err, store.ErrUnavailable):
		return nil, fmt.Errorf("%w: the way to its node was lost", oic.ErrOffline)
	}
	return nil, err
}

// stop ends an observation. If the other node does not get to know, it learns it
// with the next notification or sign of life.
func (f *Far) stop(inbox string, end func()) {
	end()
	b, err := cbor.Marshal(question{Inbox: inbox, Stop: true})
	if err == nil {
		err = f.n.cfg.Store.Publish(subjectAsk(f.node), b)
	}
	if err != nil {
		f.n.log.Debug("the end of an observation was not told", "err", err)
	}
}

// Observe implements oic.Observer.
//
//	Subscribe inbox ── question ──▶ asked ── isAccepted ──▶ ok
//	                  inbox ◀── answer, each acknowledged ── the device's notifications
//	                        ◀── isAlive, each 5 s ──
//
// While each takes its time, only the newest notification waits.
func (f *Far) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	inbox, box := f.n.cfg.Store.Inbox(), newBox()
	end, err := f.n.cfg.Store.Subscribe(ctx, inbox, func(m store.Message) {
		if a, err := parseAnswer(m.Data); err == nil {
			box.put(a)
		}
		_ = f.n.cfg.Store.Answer(m, nil) // else it comes again, or the other node ends it
	})
	if err != nil {
		return fmt.Errorf("%w: %w", oic.ErrOffline, err)
	}
	defer f.stop(inbox, end)
	a, err := f.ask(ctx, req, acceptTime, inbox)
	if err != nil {
		return err
	}
	if a.Kind != isAccepted {
		return a.err()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lost := func() { cancel(fmt.Errorf("%w: the way to its node was lost", oic.ErrOffline)) }
	defer context.AfterFunc(f.life, lost)()
	defer context.AfterFunc(f.n.cfg.Store.Connected(), lost)()
	silence := time.AfterFunc(deadAfter, lost)
	defer silence.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-box.wake:
		}
		silence.Reset(deadAfter)
		news, over := box.take()
		if news != nil {
			each(news.response())
		}
		if over != nil {
			return over.err()
		}
	}
}
