package cloudlink

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
)

// A device that offers an observable /oic/res with the interface oic.if.b is
// observed by one request for all its resources (rule 30):
//
//	GET /oic/res?if=oic.if.ll             ──▶ device: does it offer that?
//	GET /oic/res?if=oic.if.b, Observe 0   ──▶ device
//	[{href, rep}, …]                      ◀── all at first, then what changed
//
// What was published and is not in the first answer is observed by itself. So
// is everything when the batch ends.

// batch is the part of a watch that concerns this. watch.mu guards it.
type batch struct {
	state    batchState
	obs      *coap.Observation // nil: none
	patience *time.Timer       // ends the asking; nil: not begun
}

type batchState uint8

const (
	batchNone  batchState = iota // not asked for yet
	batchAsked                   // the device is being asked; nothing else is begun meanwhile
	batchOn                      // it is observed
	batchOff                     // the device does not offer it, or it has ended
)

// worthBatch is how many resources it takes for the question to pay.
const worthBatch = 2

// wantsBatch reports whether the device is to be asked for a batch, which is
// then being done. w.mu is held.
func (w *watch) wantsBatch() bool {
	if w.batch.state != batchNone || len(w.waiting) < worthBatch || w.session.classic.Load() {
		return false
	}
	w.batch.state = batchAsked
	return true
}

// askBatch finds out whether the device offers a batch, and begins it.
func (w *watch) askBatch() {
	ctx, cancel := context.WithTimeout(context.Background(), w.session.srv.cfg.Request)
	defer cancel()
	if !w.offersBatch(ctx) {
		w.batchOver()
		return
	}
	req := &coap.Message{Code: coap.GET}
	req.SetPath(pathRes)
	req.SetQuery("if=" + oic.IfBatch)
	oiccoap.SetAccept(req, oic.OCF)
	obs, err := w.session.conn.Observe(req, w.heardBatch)
	if err != nil {
		w.batchOver()
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch w.batch.state {
	case batchOff:
		obs.Cancel()
		return
	case batchAsked:
		w.batch.patience = time.AfterFunc(w.session.srv.cfg.Request, w.batchUnanswered)
	}
	w.batch.obs = obs
}

// batchUnanswered gives up a batch that the device keeps silent about.
func (w *watch) batchUnanswered() {
	w.mu.Lock()
	if w.batch.state == batchAsked {
		w.endBatch()
	}
	w.mu.Unlock()
	w.fill()
}

// offersBatch asks the device for its links.
func (w *watch) offersBatch(ctx context.Context) bool {
	req := &coap.Message{Code: coap.GET}
	req.SetPath(pathRes)
	req.SetQuery("if=" + oic.IfLinkList)
	oiccoap.SetAccept(req, oic.OCF)
	m, err := w.session.conn.Do(ctx, req)
	if err != nil || m.Code != coap.Content {
		return false
	}
	resp, err := oiccoap.FromResponse(m)
	if err != nil {
		return false
	}
	sets, err := oic.ParseLinks(resp.Format, resp.Body)
	if err != nil {
		w.session.log().Debug("links not understood", "err", err)
		return false
	}
	for _, set := range sets {
		for _, l := range set.Links {
			if l.Href == pathRes && l.Observable() && slices.Contains(l.Interfaces, oic.IfBatch) {
				return true
			}
		}
	}
	return false
}

// batchItem is one resource in a batch.
type batchItem struct {
	Href string  `json:"href"` // "ocf://<di>/<path>", or the path alone
	Rep  rawCBOR `json:"rep"`
}

// rawCBOR is a value as it came.
type rawCBOR []byte

// UnmarshalCBOR keeps a copy of b.
func (r *rawCBOR) UnmarshalCBOR(b []byte) error {
	*r = bytes.Clone(b)
	return nil
}

// heardBatch is called for each answer of the device, and once with an error at
// the end, on the connection's goroutine.
func (w *watch) heardBatch(m *coap.Message, err error) {
	if err != nil {
		w.session.log().Debug("batch ended", "err", err)
		w.mu.Lock()
		w.batch.obs = nil // over already
		w.mu.Unlock()
		w.batchOver()
		return
	}
	if m.Code != coap.Content {
		return // the error follows
	}
	resp, err := oiccoap.FromResponse(m)
	var items []batchItem
	if err == nil {
		err = oic.Decode(resp.Format, resp.Body, &items)
	}
	if err != nil {
		w.session.log().Debug("no batch", "err", err)
		w.batchOver()
		return
	}
	for _, item := range w.cover(items) {
		w.session.report(item.Href, &oic.Response{Status: oic.Content, Format: resp.Format, Body: item.Rep})
	}
	w.fill()
}

// cover notes what a batch tells of, and returns that of it which was
// published, with the hrefs as they were published.
func (w *watch) cover(items []batchItem) (known []batchItem) {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := w.batch.state == batchAsked
	if first {
		w.batch.state = batchOn
		w.batch.settle()
	}
	for _, item := range items {
		href := item.Href
		if rest, ok := strings.CutPrefix(href, "ocf://"); ok {
			if i := strings.IndexByte(rest, '/'); i >= 0 {
				href = rest[i:]
			}
		}
		r := w.all[href]
		if r == nil || len(item.Rep) == 0 {
			continue
		}
		if first {
			r.covered = true
		}
		known = append(known, batchItem{href, item.Rep})
	}
	if first {
		w.waiting = slices.DeleteFunc(w.waiting, func(r *watched) bool { return r.covered })
	}
	return known
}

// settle ends the asking. watch.mu is held.
func (b *batch) settle() {
	if b.patience != nil {
		b.patience.Stop()
	}
}

// batchOver observes each resource by itself.
func (w *watch) batchOver() {
	w.mu.Lock()
	w.endBatch()
	w.mu.Unlock()
	w.fill()
}

// endBatch: w.mu is held.
func (w *watch) endBatch() {
	if w.batch.state == batchOff {
		return
	}
	w.batch.state = batchOff
	w.batch.settle()
	if w.batch.obs != nil {
		w.batch.obs.Cancel()
		w.batch.obs = nil
	}
	for _, r := range w.all {
		if r.covered {
			r.covered = false
			w.waiting = append(w.waiting, r)
		}
	}
}
