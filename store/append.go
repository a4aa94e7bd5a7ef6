package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// acks is the way of the server's acknowledgements to the calls of Append that
// wait for them, any number at once:
//
//	Append ── records, reply to inbox.<slot>-<use> ──▶ server ── {"seq":7} to there ──▶ take ──▶ Append
//
// One subscription, one timer and no goroutine per record: this is where the
// events of all devices pass. A slot serves the next record as soon as it was
// answered, so that the server meets few subjects, whose way it remembers. The
// answer to one that was given up may come later: that slot gets a new name.
type acks struct {
	nc     *nats.Conn // acks' own
	inbox  string     // prefix of the subjects to which the server answers
	health *breaker

	mu      sync.Mutex // guards what follows
	slots   []*slot
	free    []*slot     // the one used last at the end
	waiting int         // slots that are not free
	timer   *time.Timer // runs while there are such; nil: none yet
}

// slot is where one answer is awaited.
type slot struct {
	index int
	use   int    // counts the answers that were given up
	reply string // the subject of this use; "": not made yet

	record *sent // nil: free
	call   *call
	until  time.Time
	heard  uint64 // how many answers had come before
}

// call is records on their way to the server, together.
type call struct {
	records []sent

	left int           // records without an answer; acks.mu guards it
	done chan struct{} // holds one when left is 0
}

// sent is one of them. Whoever takes it out of its slot answers it.
type sent struct {
	index   int // among those of Append
	subject string
	data    []byte
	at      *place // nil: behind all others
	reply   string // where the answer is awaited; its slot may have another name since
	acked

	tail *tail // of the log; nil: it has none
	era  int
	key  []string
}

// publish sends r to the server.
func (r *sent) publish(nc *nats.Conn) error {
	if r.at == nil {
		return nc.PublishRequest(r.subject, r.reply, r.data)
	}
	m := nats.NewMsg(r.subject)
	m.Reply, m.Data = r.reply, r.data
	m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(r.at.after, 10))
	if r.at.life > 0 {
		m.Header.Set(jetstream.MsgTTLHeader, max(r.at.life.Truncate(time.Second), time.Second).String())
	}
	return nc.PublishMsg(m)
}

type acked struct {
	seq uint64
	err error
}

// unknown reports whether the record may be in the log although there is an
// error: it is not the server's answer.
func (a acked) unknown() bool {
	if a.err == nil || errors.Is(a.err, nats.ErrNoResponders) {
		return false
	}
	_, answer := errors.AsType[*jetstream.APIError](a.err)
	return !answer
}

var errSilence = errors.New("no answer")

// idle calls are used again: nothing refers to one that its Append has left.
var idle = sync.Pool{New: func() any { return &call{done: make(chan struct{}, 1)} }}

func newCall() *call { return idle.Get().(*call) }

func (c *call) recycle() {
	clear(c.records)
	c.records = c.records[:0]
	idle.Put(c)
}

// untaken reports whether nobody was there to take any of the records: they can
// be sent again, in their order.
func (c *call) untaken() bool {
	return len(c.records) > 0 && !slices.ContainsFunc(c.records, func(r sent) bool { return r.err != nats.ErrNoResponders })
}

// early reports whether the record that the one of c shall follow is not yet
// done: nothing was written.
func (c *call) early() bool {
	return len(c.records) == 1 && beingWritten(c.records[0].err)
}

func newAcks(nc *nats.Conn, health *breaker) (*acks, error) {
	a := &acks{nc: nc, inbox: nc.NewInbox() + ".", health: health}
	sub, err := nc.Subscribe(a.inbox+"*", a.take)
	if err != nil {
		return nil, err
	}
	return a, sub.SetPendingLimits(-1, -1) // there are no more than there are slots in use
}

// publish sends the records of c in order, and waits until each has an answer.
func (a *acks) publish(ctx context.Context, c *call) {
	if len(c.records) == 0 {
		return
	}
	var few [8]*slot
	slots := a.occupy(c, few[:0])
	for i, s := range slots {
		if err := c.records[i].publish(a.nc); err != nil {
			a.giveUp(s, c, err)
		}
	}
	select {
	case <-c.done:
		return
	case <-ctx.Done():
	}
	for _, s := range slots {
		a.giveUp(s, c, ctx.Err()) // unless the server was faster
	}
	<-c.done
}

// occupy takes a slot for each record of c.
func (a *acks) occupy(c *call, slots []*slot) []*slot {
	until, heard := time.Now().Add(opTimeout), a.health.heard.Load()
	a.mu.Lock()
	defer a.mu.Unlock()
	c.left = len(c.records)
	for i := range c.records {
		s := a.slot()
		s.record, s.call, s.until, s.heard = &c.records[i], c, until, heard
		s.record.reply = s.reply
		slots = append(slots, s)
	}
	if a.waiting += c.left; a.waiting > c.left {
		return slots // the timer runs
	}
	if a.timer == nil {
		a.timer = time.AfterFunc(opTimeout, a.expire)
	} else {
		a.timer.Reset(opTimeout)
	}
	return slots
}

// slot returns a free one, with a name. a.mu is held.
func (a *acks) slot() *slot {
	n := len(a.free) - 1
	if n < 0 {
		a.slots = append(a.slots, &slot{index: len(a.slots)})
		a.free, n = append(a.free, a.slots[len(a.slots)-1]), 0
	}
	s := a.free[n]
	a.free = a.free[:n]
	if s.reply == "" {
		s.reply = a.inbox + strconv.Itoa(s.index) + "-" + strconv.Itoa(s.use)
	}
	return s
}

// answer frees a slot. a.mu is held.
func (a *acks) answer(s *slot, with acked) {
	c := s.call
	s.record.acked = with
	s.record.acknowledged(with)
	s.record, s.call = nil, nil
	a.free = append(a.free, s)
	if a.waiting--; a.waiting == 0 {
		a.timer.Stop()
	}
	if c.left--; c.left == 0 {
		c.done <- struct{}{}
	}
}

// giveUp answers a record of c, if that has no answer yet.
func (a *acks) giveUp(s *slot, c *call, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.call == c {
		a.rename(s)
		a.answer(s, acked{err: err})
	}
}

// rename makes sure that nobody takes the answer to what was given up for an
// answer to something else. a.mu is held.
func (a *acks) rename(s *slot) { s.use, s.reply = s.use+1, "" }

// take is called with each message of the server, one at a time.
func (a *acks) take(m *nats.Msg) {
	index, use, _ := strings.Cut(strings.TrimPrefix(m.Subject, a.inbox), "-")
	i, err1 := strconv.Atoi(index)
	n, err2 := strconv.Atoi(use)
	if err1 != nil || err2 != nil {
		return
	}
	a.health.answered()
	got := parseAck(m)
	a.mu.Lock()
	defer a.mu.Unlock()
	if i >= 0 && i < len(a.slots) && a.slots[i].use == n && a.slots[i].call != nil {
		a.answer(a.slots[i], got)
	}
}

// parseAck reads an acknowledgement. Nearly all have one form, which needs no
// JSON decoder.
func parseAck(m *nats.Msg) acked {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return acked{err: nats.ErrNoResponders}
	}
	if _, tail, ok := bytes.Cut(m.Data, []byte(`","seq":`)); ok && len(tail) > 1 && tail[len(tail)-1] == '}' {
		if seq, ok := digits(bytes.TrimRight(tail[:len(tail)-1], " ")); ok && seq > 0 && bytes.HasPrefix(m.Data, []byte(`{"stream":"`)) {
			return acked{seq: seq}
		}
	}
	var doc struct {
		Seq   uint64              `json:"seq"`
		Error *jetstream.APIError `json:"error"`
	}
	switch err := json.Unmarshal(m.Data, &doc); {
	case err != nil:
		return acked{err: fmt.Errorf("strange answer: %w", err)}
	case doc.Error != nil:
		return acked{err: doc.Error}
	case doc.Seq == 0:
		return acked{err: errors.New("strange answer: no sequence")}
	}
	return acked{seq: doc.Seq}
}

// digits reads a number of digits alone.
func digits[T string | []byte](text T) (n uint64, ok bool) {
	for i := range len(text) {
		c := text[i]
		if c < '0' || c > '9' || n > 1<<60 {
			return 0, false
		}
		n = 10*n + uint64(c-'0')
	}
	return n, len(text) > 0
}

// expire ends the waiting for answers that have not come in time.
func (a *acks) expire() {
	now := time.Now()
	next := now.Add(opTimeout)
	a.end(errSilence, func(s *slot) bool {
		if s.until.After(now) {
			if s.until.Before(next) {
				next = s.until
			}
			return false
		}
		a.health.silent(s.heard)
		return true
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting > 0 {
		a.timer.Reset(time.Until(next))
	}
}

// fail ends all waiting: the connection is lost, and the answers with it.
func (a *acks) fail(err error) { a.end(err, func(*slot) bool { return true }) }

// end gives up those of which over is true.
func (a *acks) end(err error, over func(*slot) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.slots {
		if s.call != nil && over(s) {
			a.rename(s)
			a.answer(s, acked{err: err})
		}
	}
}
