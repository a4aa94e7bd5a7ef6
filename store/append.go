package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
//	Append ── record, reply to inbox.<call> ──▶ server ── {"seq":7} to inbox.<call> ──▶ take ──▶ Append
//
// One subscription, one timer and no goroutine per record: this is where the
// events of all devices pass.
type acks struct {
	nc    *nats.Conn
	inbox string // prefix of the subjects to which the server answers

	mu    sync.Mutex // guards what follows
	calls map[uint64]*call
	last  uint64
	timer *time.Timer // runs while there are calls; nil: none yet
}

// call is a record on its way. Whoever takes it out of acks.calls answers it.
type call struct {
	until  time.Time
	answer chan acked // holds one
}

type acked struct {
	seq uint64
	err error
}

var errSilence = errors.New("no answer")

// idle calls are used again: nothing refers to one that its Append has left.
var idle = sync.Pool{New: func() any { return &call{answer: make(chan acked, 1)} }}

func newAcks(nc *nats.Conn) (*acks, error) {
	a := &acks{nc: nc, inbox: nc.NewInbox() + ".", calls: map[uint64]*call{}}
	sub, err := nc.Subscribe(a.inbox+"*", a.take)
	if err != nil {
		return nil, err
	}
	return a, sub.SetPendingLimits(-1, -1) // there are no more than there are calls
}

// publish sends a record and waits until the server has it.
func (a *acks) publish(ctx context.Context, subject string, data []byte) (seq uint64, err error) {
	c := idle.Get().(*call)
	defer idle.Put(c)
	c.until = time.Now().Add(opTimeout)
	id := a.add(c)
	if err := a.nc.PublishRequest(subject, a.inbox+strconv.FormatUint(id, 36), data); err != nil {
		a.answer(id, acked{err: err})
	}
	select {
	case got := <-c.answer:
		return got.seq, got.err
	case <-ctx.Done():
		a.answer(id, acked{err: ctx.Err()}) // unless the server was faster
		got := <-c.answer
		return got.seq, got.err
	}
}

func (a *acks) add(c *call) (id uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last++
	if a.calls[a.last] = c; len(a.calls) > 1 {
		return a.last
	}
	if a.timer == nil {
		a.timer = time.AfterFunc(opTimeout, a.expire)
	} else {
		a.timer.Reset(opTimeout)
	}
	return a.last
}

// answer ends a call, if that has not ended yet.
func (a *acks) answer(id uint64, with acked) {
	a.mu.Lock()
	c := a.calls[id]
	if delete(a.calls, id); len(a.calls) == 0 && a.timer != nil {
		a.timer.Stop()
	}
	a.mu.Unlock()
	if c != nil {
		c.answer <- with
	}
}

// take is called with each message of the server, one at a time.
func (a *acks) take(m *nats.Msg) {
	id, err := strconv.ParseUint(strings.TrimPrefix(m.Subject, a.inbox), 36, 64)
	if err != nil {
		return
	}
	a.answer(id, parseAck(m))
}

// parseAck reads an acknowledgement. Nearly all have one form, which needs no
// JSON decoder.
func parseAck(m *nats.Msg) acked {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return acked{err: nats.ErrNoResponders}
	}
	if _, tail, ok := bytes.Cut(m.Data, []byte(`","seq":`)); ok && len(tail) > 1 && tail[len(tail)-1] == '}' {
		if seq, ok := number(bytes.TrimRight(tail[:len(tail)-1], " ")); ok && bytes.HasPrefix(m.Data, []byte(`{"stream":"`)) {
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

// number reads a positive number of digits alone.
func number(b []byte) (n uint64, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' || n > 1<<59 {
			return 0, false
		}
		n = 10*n + uint64(c-'0')
	}
	return n, n > 0
}

// expire ends the calls that have waited for too long.
func (a *acks) expire() {
	now := time.Now()
	next := now.Add(opTimeout)
	a.end(errSilence, func(c *call) bool {
		if c.until.After(now) && c.until.Before(next) {
			next = c.until
		}
		return !c.until.After(now)
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.calls) > 0 {
		a.timer.Reset(time.Until(next))
	}
}

// fail ends all calls: the connection is lost, and with it their answers.
func (a *acks) fail(err error) { a.end(err, func(*call) bool { return true }) }

// end ends those calls of which over is true.
func (a *acks) end(err error, over func(*call) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, c := range a.calls {
		if over(c) {
			delete(a.calls, id)
			c.answer <- acked{err: err}
		}
	}
}
