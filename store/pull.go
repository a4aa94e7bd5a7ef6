package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	firstBatch = 128     // records asked for at once in the beginning,
	mostBatch  = 1024    // and at most,
	batchBytes = 2 << 20 // and bytes; more than one record of MaxValue
	control    = 8       // messages without a record that may come with the records
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

// puller takes records from a consumer, by batches. One that waits for new
// records asks for the next batch when all of the last was taken. One that reads
// what there is asks when half of it was, for more each time, so that the server
// never waits for it:
//
//	ask 128 ── 64 taken ──▶ ask 256 ── 128 left ──▶ ask 512 ── 256 left ──▶ ask 1,024 …
//
// So a slow reader costs two batches of memory and no more. It needs no
// goroutine.
type puller struct {
	s        *Store
	stream   string
	consumer string
	in       chan *nats.Msg
	inbox    string
	ack      string // what precedes the numbers of a record
	sub      *nats.Subscription
	asked    int             // requests so far; each has an inbox of its own
	epoch    context.Context // ends when the connection is lost
	timer    *time.Timer
	unknown  int // requests that no server has taken, one after the other

	batch    int     // of the next request
	requests []batch // those under way, which are served in their order
	open     int     // records that were asked for and have not come
	left     uint64  // records there are after the last one taken
	taken    uint64  // records so far
}

// batch is one request for records.
type batch struct {
	number int // puller.asked
	open   int // records that have not come
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
		in:    make(chan *nats.Msg, mostBatch+mostBatch/2+control),
		inbox: s.nc.NewInbox() + ".",
		ack:   "$JS.ACK." + stream + "." + consumer + ".",
		epoch: s.epoch(),
		timer: time.NewTimer(0),
		batch: firstBatch,
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
			m, err := p.take(msg)
			if err == nil && !wait && p.open <= p.batch/4 && p.left > uint64(p.open) {
				err = p.ask(wait)
			}
			return m, err
		}
		if err := p.status(ctx, msg, wait); err != nil {
			return message{}, err
		}
	}
}

// ask asks for a batch. The next one will be longer, unless it is waited for.
func (p *puller) ask(wait bool) error {
	req := pullRequest{Batch: p.batch, MaxBytes: batchBytes, NoWait: !wait}
	if wait {
		req.Expires, req.Heartbeat = waitFor, heartbeat
	}
	b, err := json.Marshal(req)
	if err != nil {
		return err
	}
	p.asked++
	p.requests = append(p.requests, batch{p.asked, p.batch})
	p.open += p.batch
	if !wait {
		p.batch = min(2*p.batch, mostBatch)
	}
	return p.s.nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+p.stream+"."+p.consumer, p.reply(p.asked), b)
}

// reply is the subject to which the server tells how a request goes.
func (p *puller) reply(number int) string { return p.inbox + strconv.Itoa(number) }

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
	i := slices.IndexFunc(p.requests, func(b batch) bool { return msg.Subject == p.reply(b.number) })
	switch {
	case i < 0:
		return nil // that request is done, as is known
	case code == "100":
		return nil // a sign of life
	case code == "503" && p.taken == 0 && p.unknown < mostUnknown:
		p.unknown++
		p.drop(i)
		return sleep(ctx, unknownPause)
	case !wait && code == "404", !wait && code == "408" && len(p.requests) == 1:
		return errEnd
	case code == "404", code == "408", code == "409" && msg.Header.Get("Nats-Pending-Messages") != "":
		p.drop(i) // the rest of the batch will not come: ask again
		return nil
	}
	return fmt.Errorf("%s %s", code, msg.Header.Get("Description"))
}

// drop forgets a request.
func (p *puller) drop(i int) {
	p.open -= p.requests[i].open
	p.requests = slices.Delete(p.requests, i, i+1)
}

// take checks that msg is the record after the last.
func (p *puller) take(msg *nats.Msg) (message, error) {
	m := message{subject: msg.Subject, header: msg.Header, data: msg.Data}
	n, ok := p.numbers(msg.Reply)
	if !ok {
		meta, err := msg.Metadata()
		if err != nil {
			return message{}, err
		}
		n = numbers{meta.Sequence.Stream, meta.Sequence.Consumer, uint64(meta.Timestamp.UnixNano()), meta.NumPending}
	}
	if p.taken++; n.taken != p.taken || p.open == 0 {
		return message{}, errGap
	}
	p.open--
	if p.requests[0].open--; p.requests[0].open == 0 {
		p.drop(0)
	}
	p.left = n.left
	m.seq, m.time, m.left = n.seq, time.Unix(0, int64(n.time)), n.left
	return m, nil
}

// numbers is what the server says of a record.
type numbers struct{ seq, taken, time, left uint64 }

// numbers reads them where the server acknowledges, in the form that nearly all
// servers give it (NATS ADR-15):
//
//	$JS.ACK.<stream>.<consumer>.<delivered>.<seq>.<taken>.<time>.<left>
func (p *puller) numbers(reply string) (n numbers, ok bool) {
	rest, ok := strings.CutPrefix(reply, p.ack)
	if !ok {
		return n, false
	}
	var delivered uint64
	for _, to := range [...]*uint64{&delivered, &n.seq, &n.taken, &n.time, &n.left} {
		text, more, _ := strings.Cut(rest, ".")
		if *to, ok = digits(text); !ok {
			return n, false
		}
		rest = more
	}
	return n, rest == ""
}
