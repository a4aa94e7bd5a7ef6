package cloudlink

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
)

// watch is the server's observation of all that one device published: one
// GET with Observe for each resource, or one for all of them if the device
// offers that (batch.go). It has no goroutine. What comes in is reported to the
// Backend.
//
// Devices have small buffers, so only a few observations are begun at once;
// each first answer makes room for the next.
type watch struct {
	session *session

	mu       sync.Mutex // guards what follows, and the fields of each watched
	all      map[string]*watched
	added    int        // calls of add
	waiting  []*watched // in all, not begun
	asking   int        // begun, and not answered yet
	reserved int        // observations on behalf of others
	batch    batch
}

// watched is one resource of the device.
type watched struct {
	href     string
	ins      int64
	added    int               // watch.added when it was published last
	obs      *coap.Observation // nil: not begun
	asking   bool              // begun, and not answered yet
	patience *time.Timer       // ends the asking
	covered  bool              // by the batch
	over     bool
}

// askAtOnce is how many observations of one device are begun at once.
const askAtOnce = 8

// add begins to observe those of links that can be, and are not yet.
func (w *watch) add(links []oic.Link) {
	w.mu.Lock()
	if w.all == nil {
		w.all = map[string]*watched{}
	}
	w.added++
	for _, l := range links {
		if r := w.all[l.Href]; r != nil {
			r.ins, r.added = l.Instance, w.added
		} else if l.Observable() && len(w.all)+w.reserved < maxObserved {
			r = &watched{href: l.Href, ins: l.Instance, added: w.added}
			w.all[l.Href] = r
			w.waiting = append(w.waiting, r)
		}
	}
	ask := w.wantsBatch()
	w.mu.Unlock()
	if ask {
		w.session.reports.tasks.Go(w.askBatch)
	}
	w.fill()
}

// fill begins observations while there is room.
func (w *watch) fill() {
	for {
		w.mu.Lock()
		if len(w.waiting) == 0 || w.asking >= askAtOnce || w.batch.state == batchAsked {
			w.mu.Unlock()
			return
		}
		r := w.waiting[0]
		w.waiting = w.waiting[1:]
		r.asking = true
		w.asking++
		w.mu.Unlock()
		w.begin(r)
	}
}

// begin sends the request. w.mu is not held, for the answer may be heard
// before Observe has returned.
func (w *watch) begin(r *watched) {
	req := &coap.Message{Code: coap.GET}
	path, query := oic.SplitHref(r.href)
	req.SetPath(path)
	req.SetQuery(query)
	oiccoap.SetAccept(req, w.session.format())
	obs, err := w.session.conn.Observe(req, func(resp *coap.Message, err error) { w.heard(r, resp, err) })
	if err != nil {
		w.heard(r, nil, err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.over {
		obs.Cancel()
		return
	}
	r.obs = obs
	if r.asking {
		r.patience = time.AfterFunc(w.session.srv.cfg.Request, func() { w.unanswered(r) })
	}
}

// heard is called for each answer of the device, and once with an error at the
// end, on the connection's goroutine.
func (w *watch) heard(r *watched, resp *coap.Message, err error) {
	w.mu.Lock()
	over := r.over
	r.settle(w)
	if err != nil {
		r.obs = nil // over already
		w.remove(r)
	}
	w.mu.Unlock()
	switch {
	case over:
		return
	case err != nil:
		w.session.log().Debug("observation ended", "href", r.href, "err", err)
	case resp.Code == coap.Content:
		w.report(r.href, resp)
	default:
		w.session.log().Debug("cannot be observed", "href", r.href, "code", resp.Code)
	}
	w.fill()
}

// unanswered gives up a resource that the device keeps silent about.
func (w *watch) unanswered(r *watched) {
	w.mu.Lock()
	if r.asking {
		w.remove(r)
	}
	w.mu.Unlock()
	w.fill()
}

// report hands what the device says about href to the Backend.
func (w *watch) report(href string, m *coap.Message) {
	rep, err := oiccoap.FromResponse(m)
	if err != nil {
		w.session.log().Debug("no representation", "href", href, "err", err)
		return
	}
	rep.Body = bytes.Clone(rep.Body)
	w.session.report(href, rep)
}

// settle makes room for the next: r was answered, or will not be. w.mu is held.
func (r *watched) settle(w *watch) {
	if r.asking {
		r.asking = false
		w.asking--
	}
	if r.patience != nil {
		r.patience.Stop()
	}
}

// remove ends the observation of r. w.mu is held.
func (w *watch) remove(r *watched) {
	if r.over {
		return
	}
	r.over = true
	r.settle(w)
	delete(w.all, r.href)
	if i := slices.Index(w.waiting, r); i >= 0 {
		w.waiting = slices.Delete(w.waiting, i, i+1)
	}
	if r.obs != nil {
		r.obs.Cancel()
	}
}

// drop ends the observations of what was unpublished; no ins: of all.
func (w *watch) drop(ins []int64) {
	w.mu.Lock()
	if len(ins) == 0 {
		w.endBatch()
	}
	for _, r := range w.all {
		if len(ins) == 0 || slices.Contains(ins, r.ins) {
			w.remove(r)
		}
	}
	w.mu.Unlock()
	w.fill()
}

// published is the number of the latest publication.
func (w *watch) published() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.added
}

// lapsed ends the observation of a resource that is not published any more,
// unless it was again after the publication with the number asOf.
func (w *watch) lapsed(href string, asOf int) {
	w.mu.Lock()
	if r := w.all[href]; r != nil && r.added <= asOf {
		w.remove(r)
	}
	w.mu.Unlock()
	w.fill()
}

// reserve takes one of the device's observations for someone else, and reports
// false if there are too many. release gives it back.
func (w *watch) reserve() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.all)+w.reserved >= maxObserved {
		return false
	}
	w.reserved++
	return true
}

func (w *watch) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reserved--
}
