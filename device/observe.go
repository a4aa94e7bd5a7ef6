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
	e, all := h.byHref[href], h.byHref[hrefDirectory]
	h.mu.RUnlock()
	if e != nil {
		e.wakeAll()
	}
	if all != nil && all != e {
		all.wakeAll() // whoever observes everything as a batch
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
// change of it. A change that leaves the representation as it was is none.
func (h *Host) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	if req.Op != oic.Retrieve {
		return oic.Errorf(oic.MethodNotAllowed, "%v cannot be observed", req.Op)
	}
	path, _ := oic.SplitHref(req.Href)
	e, err := h.find(path)
	if err != nil {
		return err
	}
	if !e.link.Observable() {
		resp, err := h.Handle(ctx, req)
		if err != nil {
			return err
		}
		resp.Last = true
		each(resp)
		return oic.ErrNotObservable
	}
	w := e.watch()
	defer e.unwatch(w)
	var last []byte
	for {
		resp, err := h.handle(ctx, req)
		if err != nil {
			return err
		}
		if last == nil || !bytes.Equal(last, resp.Body) {
			last = resp.Body
			each(resp)
		}
		select {
		case <-w.wake:
		case <-e.gone:
			return oic.Errorf(oic.NotFound, "%s was deleted", path)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
