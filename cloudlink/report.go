package cloudlink

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
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

// report hands a representation to the Backend. It is called on the
// connection's goroutine.
func (s *session) report(href string, m *coap.Message) {
	who := s.identity()
	if who.Device == "" {
		return // signed out, or expired
	}
	rep, err := oiccoap.FromResponse(m)
	if err != nil {
		s.log.Debug("no representation", "href", href, "err", err)
		return
	}
	rep.Body = bytes.Clone(rep.Body)
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
