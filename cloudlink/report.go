package cloudlink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
)

// reports is the way of representations from the connections of one listener
// to the Backend, which may take its time to keep one:
//
//	connection ── add ──▶ queue of the session ── drain ──▶ Backend.Report
//
// The reports of one session stay in order. add does not wait, for the Pings of
// a device that reports more than the Backend takes are to be answered, and its
// answers to commands to be heard: of what it reports too fast, the newest state
// of each resource is kept. Only when all that waits takes too much memory is
// the device not read until some of it is kept.
type reports struct {
	backend Backend
	log     *slog.Logger
	room    *semaphore.Weighted // bytes of all that waits in the process
	tasks   sync.WaitGroup
}

const (
	maxOutbox      = 64               // reports of one session that wait before states are merged
	maxBatch       = 16               // of these, handed to the Backend together
	maxOutboxBytes = 1 << 20          // of what waits of one session
	maxReportBytes = 64 << 20         // of what waits in the process
	reportOverhead = 256              // bytes of a report beside its body
	reportTime     = 10 * time.Second // for the Backend to keep those that wait
)

// wait returns when all that was put is kept or failed.
func (q *reports) wait() { q.tasks.Wait() }

// report is one representation of a resource of a device, with who sent it.
type report struct {
	who oic.Identity
	Report
}

// weight is the memory that r takes, bytes.
func (r *report) weight() int64 { return int64(len(r.Rep.Body) + reportOverhead) }

// outbox is the queue of one session. A goroutine drains it while there is
// anything in it.
type outbox struct {
	mu       sync.Mutex // guards what follows
	waiting  []report
	weight   int64         // of what waits, bytes
	changed  chan struct{} // closed when there is less; nil: nobody waits for that
	merged   int           // states replaced by newer ones since it was empty
	draining bool

	put, over int       // how many came to wait, and how many of those do not any more
	lost      int       // of those, since somebody was told
	settling  []settler // in order

	device string        // whose; "": not signed in yet
	before chan struct{} // closed when what the connection before brought is dealt with; nil: it is
	closed bool          // takes no more; see succession
}

// settler is told when all that was put before it is kept, or not.
type settler struct {
	after int // outbox.put
	then  func(kept bool)
}

// report hands a representation to the Backend, with its body. It is called on
// the connection's goroutine.
func (s *session) report(href string, rep *oic.Response) {
	r := report{s.identity(), Report{href, rep}}
	if r.who.Device == "" {
		return // signed out, or expired
	}
	q, box, gone := s.reports, &s.outbox, s.conn.Done()
	n := r.weight()
	if !q.room.TryAcquire(n) && q.room.Acquire(lasting{context.Background(), gone}, n) != nil {
		return // the connection is over
	}
	box.mu.Lock()
	for box.weight > 0 && box.weight+n > maxOutboxBytes { // alone, the longest goes too
		if !box.await(gone) {
			box.mu.Unlock()
			q.room.Release(n)
			return
		}
	}
	if box.closed { // there is a newer connection, or soon will be
		box.mu.Unlock()
		q.room.Release(n)
		return
	}
	if old, ok := box.add(r); ok {
		q.room.Release(old.weight())
	}
	begin := !box.draining
	box.draining = true
	box.mu.Unlock()
	if begin {
		q.tasks.Go(func() {
			box.turn()
			q.drain(box, &s.watch)
			if device, empty := box.left(); empty {
				s.srv.succession.forget(device, box)
			}
		})
	}
}

// await waits until less waits, and reports false when done is closed first.
// b.mu is held.
func (b *outbox) await(done <-chan struct{}) bool {
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	changed := b.changed
	b.mu.Unlock()
	defer b.mu.Lock()
	select {
	case <-changed:
		return true
	case <-done:
		return false
	}
}

// add appends r. With many waiting it replaces the newest of the same resource
// instead, and returns what it replaced; there are only so many resources. b.mu
// is held.
func (b *outbox) add(r report) (old report, replaced bool) {
	b.weight += r.weight()
	if len(b.waiting) >= maxOutbox {
		for i := len(b.waiting) - 1; i >= 0; i-- {
			if b.waiting[i].Href == r.Href && b.waiting[i].who == r.who {
				old, b.waiting[i] = b.waiting[i], r
				b.weight -= old.weight()
				b.merged++
				return old, true
			}
		}
	}
	b.waiting = append(b.waiting, r)
	b.put++
	return report{}, false
}

// next takes the oldest ones of one sender, none of them put after somebody
// asked to be told. When there is none, draining is over; merged is then how
// many were replaced since the last time.
func (b *outbox) next() (some []report, merged int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		merged = b.merged
		b.waiting, b.merged, b.draining = nil, 0, false
		return nil, merged
	}
	n, most := 1, min(len(b.waiting), maxBatch)
	if len(b.settling) > 0 {
		most = min(most, b.settling[0].after-b.over)
	}
	for n < most && b.waiting[n].who == b.waiting[0].who {
		n++
	}
	some, b.waiting = b.waiting[:n:n], b.waiting[n:]
	return some, 0
}

// dealt notes that so many reports of n bytes do not wait any more: they are
// kept, but for those that are lost.
func (b *outbox) dealt(reports int, n int64, lost int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.weight -= n
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
	b.over += reports
	b.lost += lost
	for len(b.settling) > 0 && b.settling[0].after <= b.over {
		b.settling[0].then(b.lost == 0)
		b.settling, b.lost = b.settling[1:], 0
	}
}

// settle calls then when all that was put is kept, or lost: at once if nothing
// waits.
func (b *outbox) settle(then func(kept bool)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over < b.put {
		b.settling = append(b.settling, settler{b.put, then})
		return
	}
	then(b.lost == 0)
	b.lost = 0
}

// custody is coap.Config.Settle: what the device reported is dealt with when it
// is in the store.
func (s *session) custody(_ *coap.Conn, then func(done bool)) { s.outbox.settle(then) }

// lasting is a context that ends with something that has a channel for it.
type lasting struct {
	context.Context
	done <-chan struct{}
}

func (l lasting) Done() <-chan struct{} { return l.done }

func (l lasting) Err() error {
	if done(l.done) {
		return context.Canceled
	}
	return nil
}

// drain reports what is in box until it is empty. from is where it comes from.
func (q *reports) drain(box *outbox, from *watch) {
	var last oic.Identity
	for {
		some, merged := box.next()
		if len(some) == 0 {
			if merged > 0 {
				q.log.Warn("device reports too fast: only its newest states are kept", "device", last.Device, "left out", merged)
			}
			return
		}
		last = some[0].who
		var n int64
		batch := make([]Report, 0, len(some))
		for _, r := range some {
			n += r.weight()
			batch = append(batch, r.Report)
		}
		lost := q.keep(last, batch, from)
		q.room.Release(n)
		box.dealt(len(some), n, lost)
	}
}

// keep hands reports of one sender to the Backend, and says how many it did not
// take. What is not published any more is not watched any more, either: links
// have a time to live, and are removed by others.
func (q *reports) keep(who oic.Identity, batch []Report, from *watch) (lost int) {
	ctx, cancel := context.WithTimeout(context.Background(), reportTime)
	defer cancel()
	asOf := from.published()
	for i, err := range q.backend.Report(ctx, who, batch) {
		if err == nil {
			continue
		}
		lost++
		q.log.Warn("event lost", "device", who.Device, "href", batch[i].Href, "err", err)
		if e, ok := errors.AsType[*oic.StatusError](err); ok && e.Status == oic.NotFound {
			from.lapsed(batch[i].Href, asOf)
		}
	}
	return lost
}

// Report tells the cloud that something happened at a resource of the device
// that is signed in: for events that are no state to be observed, as a button
// that is pressed. It returns nil once the cloud has kept it. One that is told
// again after an error may be kept twice; those told at the same time, in any
// order.
func (l *Link) Report(ctx context.Context, href string, rep *oic.Response) error {
	in := l.login()
	if in.Device == "" {
		return fmt.Errorf("report %s: %w", href, oic.ErrOffline)
	}
	_, err := l.peer.Handle(ctx, &oic.Request{
		Op: oic.Update, Href: "/" + in.Device + href, Format: rep.Format, Body: rep.Body,
	})
	if err != nil {
		return fmt.Errorf("report %s: %w", href, err)
	}
	return nil
}

// events is where a device sends what Link.Report tells: its own resources, as
// the cloud shows them.
type events struct{ to *session }

// maxEvents is how many events a device may tell at once. They take their time
// when it tells more than it may, and must not take all the places for requests
// of the connection: when those are gone it is not read, and none of its Pings.
const maxEvents = 32

// Handle implements oic.Handler.
func (e events) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	if e.to.events.Add(1) > maxEvents {
		e.to.events.Add(-1)
		return nil, &oic.StatusError{Status: oic.TooMany, Diag: "too many events at once", Retry: time.Second}
	}
	defer e.to.events.Add(-1)
	ctx, cancel := context.WithTimeout(ctx, reportTime)
	defer cancel()
	path, query := oic.SplitHref(req.Href)
	if query != "" {
		return nil, oic.Errorf(oic.BadRequest, "an event of %s has no query", path)
	}
	if len(req.Body) == 0 {
		return nil, oic.Errorf(oic.BadRequest, "no payload")
	}
	rep := &oic.Response{Status: oic.Content, Format: format(req), Body: bytes.Clone(req.Body)}
	if err := e.to.srv.cfg.Backend.Event(ctx, req.From, path, rep); err != nil {
		return nil, err
	}
	return &oic.Response{Status: oic.Changed}, nil
}

// Observe implements oic.Observer. It is not called: an Observe is a GET.
func (e events) Observe(context.Context, *oic.Request, func(*oic.Response)) error {
	return oic.ErrNotObservable
}
