package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	batch      = 128     // records asked for at once, at most,
	batchBytes = 2 << 20 // and bytes; more than one record of MaxValue
	control    = 8       // messages without a record that may come with a batch
	waitFor    = 30 * time.Second
	heartbeat  = 2 * time.Second
	deadAfter  = 3 * heartbeat // a server of a cluster that has taken a reader with it is not waited for

	// The other servers of a cluster hear of a new consumer a moment after it was
	// made; until then a request for its records finds nobody.
	mostUnknown  = 50
	unknownPause = 20 * time.Millisecond
)

var (
	errEnd  = errors.New("no more records")
	errGap  = errors.New("records were lost on the way")
	errLost = errors.New("connection lost")
	errDead = errors.New("the server has fallen silent")
)

// puller takes records from a consumer: one batch is asked for, and the next
// when all of it was taken. So a slow reader costs a batch of memory and no
// more. It needs no goroutine.
type puller struct {
	s        *Store
	stream   string
	consumer string
	in       chan *nats.Msg
	inbox    string
	sub      *nats.Subscription
	asked    int             // requests so far; each has an inbox of its own
	epoch    context.Context // ends when the connection is lost
	timer    *time.Timer
	unknown  int    // requests that no server has taken, one after the other
	open     int    // records that were asked for and have not come
	taken    uint64 // records so far
}

// pullRequest is the body of a request for records (NATS ADR-13).
type pullRequest struct {
	Batch     int           `json:"batch"`
	MaxBytes  int           `json:"max_bytes"`
	NoWait    bool          `json:"no_wait,omitempty"`
	Expires   time.Duration `json:"expires,omitempty"`
	Heartbeat time.Duration `json:"idle_heartbeat,omitempty"`
}

func (s *Store) pull(stream, consumer string) (*puller, error) {
	p := &puller{
		s: s, stream: stream, consumer: consumer,
		in:    make(chan *nats.Msg, batch+control),
		inbox: s.nc.NewInbox() + ".",
		epoch: s.epoch(),
		timer: time.NewTimer(0),
	}
	var err error
	p.sub, err = s.nc.ChanSubscribe(p.inbox+"*", p.in)
	return p, err
}

// close gives the consumer back. ctx may have ended.
func (p *puller) close(ctx context.Context) {
	p.timer.Stop()
	_ = p.sub.Unsubscribe() // only if the connection is closed
	op, cancel := context.WithTimeout(context.WithoutCancel(ctx), opTimeout)
	defer cancel()
	if err := p.s.js.DeleteConsumer(op, p.stream, p.consumer); err != nil {
		p.s.log.Debug("store: reader left behind", "stream", p.stream, "err", err)
	}
}

// next returns the next record. If there is none it waits for one, or returns
// errEnd if wait is false.
func (p *puller) next(ctx context.Context, wait bool) (message, error) {
	for {
		if p.open == 0 {
			if ctx.Err() != nil { // receive prefers what is there
				return message{}, ctx.Err()
			}
			if err := p.ask(wait); err != nil {
				return message{}, err
			}
		}
		msg, err := p.receive(ctx)
		if err != nil {
			return message{}, err
		}
		if !strings.HasPrefix(msg.Subject, p.inbox) {
			return p.take(msg)
		}
		if err := p.status(ctx, msg, wait); err != nil {
			return message{}, err
		}
	}
}

// ask asks for a batch.
func (p *puller) ask(wait bool) error {
	req := pullRequest{Batch: batch, MaxBytes: batchBytes, NoWait: !wait}
	if wait {
		req.Expires, req.Heartbeat = waitFor, heartbeat
	}
	b, err := json.Marshal(req)
	if err != nil {
		return err
	}
	p.open, p.asked = batch, p.asked+1
	return p.s.nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+p.stream+"."+p.consumer, p.reply(), b)
}

// reply is the subject to which the server tells how the last request goes.
func (p *puller) reply() string { return p.inbox + strconv.Itoa(p.asked) }

// receive returns the next message, with a record or without.
func (p *puller) receive(ctx context.Context) (*nats.Msg, error) {
	select {
	case msg := <-p.in:
		return msg, nil
	default:
	}
	p.timer.Reset(deadAfter)
	select {
	case msg := <-p.in:
		return msg, nil
	case <-p.timer.C:
		return nil, errDead
	case <-p.epoch.Done():
		return nil, errLost
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// status takes note of a message that says how a request goes.
func (p *puller) status(ctx context.Context, msg *nats.Msg, wait bool) error {
	code := msg.Header.Get("Status")
	switch {
	case msg.Subject != p.reply():
		return nil // an earlier request is done: that is known
	case code == "100":
		return nil // a sign of life
	case code == "503" && p.taken == 0 && p.unknown < mostUnknown:
		p.unknown++
		p.open = 0
		return sleep(ctx, unknownPause)
	case !wait && (code == "404" || code == "408"):
		return errEnd
	case code == "404", code == "408", code == "409" && msg.Header.Get("Nats-Pending-Messages") != "":
		p.open = 0 // the rest of the batch will not come: ask again
		return nil
	}
	return fmt.Errorf("%s %s", code, msg.Header.Get("Description"))
}

// take checks that msg is the record after the last.
func (p *puller) take(msg *nats.Msg) (message, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return message{}, err
	}
	p.open--
	if p.taken++; meta.Sequence.Consumer != p.taken {
		return message{}, errGap
	}
	return message{
		subject: msg.Subject, header: msg.Header, data: msg.Data,
		seq: meta.Sequence.Stream, time: meta.Timestamp, left: meta.NumPending,
	}, nil
}
