package device

import (
	"bytes"
	"context"

	"github.com/farreach/farreach/oic"
)

// watcher is one observation of one resource. Any number of changes are one
// wake-up, and so whoever is slow sees the newest representation and no queue
// grows.
type watcher struct{ wake chan struct{} } // has one after a change

// Changed tells those who observe the resource that it has a new
// representation. It does not wait for them.
func (h *Host) Changed(href string) {
	h.mu.RLock()
	e, batches := h.byHref[href], h.batches
	h.mu.RUnlock()
	if e != nil {
		e.wakeAll()
	}
	for _, b := range batches { // whoever observes it there
		if b != e {
			b.wakeAll()
		}
	}
}

func (e *entry) wakeAll() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for w := range e.watchers {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

func (e *entry) watch() *watcher {
	w := &watcher{wake: make(chan struct{}, 1)}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.watchers[w] = struct{}{}
	return w
}

func (e *entry) unwatch(w *watcher) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.watchers, w)
}

// Observe calls each with the representation as it is now and after every
// change of it. A change that leaves the representation as it was is none. With
// oic.if.b, what follows the first has only the items that have changed, unless
// req.Whole.
func (h *Host) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	return h.observe(ctx, req, false, each)
}

func (h *Host) observe(ctx context.Context, req *oic.Request, far bool, each func(*oic.Response)) error {
	if req.Op != oic.Retrieve {
		return oic.Errorf(oic.MethodNotAllowed, "%v cannot be observed", req.Op)
	}
	c, err := h.prepare(req, far)
	if err != nil {
		return err
	}
	if !c.e.link.Observable() {
		resp, err := c.retrieve(ctx)
		if err != nil {
			return err
		}
		resp.Last = true
		each(resp)
		return oic.ErrNotObservable
	}
	w := c.e.watch()
	defer c.e.unwatch(w)
	next := c.differing()
	for {
		resp, err := next(ctx)
		if err != nil {
			return err
		}
		if resp != nil {
			each(resp)
		}
		select {
		case <-w.wake:
		case <-c.e.gone:
			return oic.Errorf(oic.NotFound, "%s was deleted", c.e.link.Href)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// differing returns what reads a resource again and again: nil if it is as it
// was.
func (c *call) differing() func(context.Context) (*oic.Response, error) {
	if c.iface == oic.IfBatch {
		if b, ok := c.e.resource.(batched); ok {
			return c.differingItems(b)
		}
	}
	var last []byte
	return func(ctx context.Context) (*oic.Response, error) {
		resp, err := c.retrieve(ctx)
		if err != nil || last != nil && bytes.Equal(last, resp.Body) {
			return nil, err
		}
		last = resp.Body
		return resp, nil
	}
}

// differingItems is differing for a batch. An item that cannot be read is left
// out until it can be.
func (c *call) differingItems(b batched) func(context.Context) (*oic.Response, error) {
	var seen map[string][]byte // by href; nil at first
	return func(ctx context.Context) (*oic.Response, error) {
		now, items, changed := make(map[string][]byte), []item{}, seen == nil
		for _, m := range b.members(c) {
			body, err := c.readMember(ctx, m)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err != nil {
				continue
			}
			now[m.href] = body
			last, ok := seen[m.href]
			news := !ok || !bytes.Equal(last, body)
			if changed = changed || news; news || c.req.Whole {
				items = append(items, item{Href: m.href, Rep: encoded(body)})
			}
		}
		if seen = now; !changed {
			return nil, nil
		}
		body, err := oic.Encode(c.format(), items)
		return &oic.Response{Status: oic.Content, Format: c.format(), Body: body}, err
	}
}
