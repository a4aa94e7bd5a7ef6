package cloudlink

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/farreach/farreach/oic"
)

// reports is the way of representations from the connections of one listener
// to the Backend, which may take its time to keep one:
//
//	connection ── put ──▶ queue of the session ── drain ──▶ Backend.Report
//
// The reports of one session stay in order. When too many wait, of the session
// or in the process, put waits, which stops the reading from the device that
// sends.
type reports struct {
	backend Backend
	log     *slog.Logger
	room    chan struct{} // one for each report that waits in the process
	tasks   sync.WaitGroup
}

const (
	maxReports = 1024             // waiting in the process
	maxOutbox  = 64               // of these, of one session
	reportTime = 10 * time.Second // for the Backend to keep one
)

// wait returns when all that was put is kept or failed.
func (q *reports) wait() { q.tasks.Wait() }

// report is one representation of a resource of a device.
type report struct {
	who  oic.Identity
	href string
	rep  *oic.Response
}

// outbox is the queue of one session. A goroutine drains it while there is
// anything in it.
type outbox struct {
	room chan struct{} // one for each report that waits

	mu       sync.Mutex // guards what follows
	waiting  []report
	draining bool
}

// report hands a representation to the Backend, with its body. It is called on
// the connection's goroutine.
func (s *session) report(href string, rep *oic.Response) {
	who := s.identity()
	if who.Device == "" {
		return // signed out, or expired
	}
	q := s.reports
	for _, room := range []chan struct{}{s.outbox.room, q.room} {
		select {
		case room <- struct{}{}:
		case <-s.conn.Done():
			return // what it took of room goes with the session
		}
	}
	s.outbox.mu.Lock()
	defer s.outbox.mu.Unlock()
	s.outbox.waiting = append(s.outbox.waiting, report{who, href, rep})
	if !s.outbox.draining {
		s.outbox.draining = true
		q.tasks.Go(func() { q.drain(&s.outbox) })
	}
}

// drain reports what is in box until it is empty.
func (q *reports) drain(box *outbox) {
	for {
		box.mu.Lock()
		if len(box.waiting) == 0 {
			box.waiting, box.draining = nil, false
			box.mu.Unlock()
			return
		}
		r := box.waiting[0]
		box.waiting = box.waiting[1:]
		box.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), reportTime)
		err := q.backend.Report(ctx, r.who, r.href, r.rep)
		cancel()
		<-q.room
		<-box.room
		if err != nil {
			q.log.Warn("event lost", "device", r.who.Device, "href", r.href, "err", err)
		}
	}
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

// Handle implements oic.Handler.
func (e events) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
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
