package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	pullMessages = 128              // records that wait in a reader's buffer, at most,
	pullBytes    = 2 << 20          // and bytes; more than one record of MaxValue
	idleRead     = time.Second      // silence after which a scan asks whether it is at the end
	inactive     = 60 * time.Second // after which the server forgets a reader that died
)

// reader reads the records of one stream, in order, by a consumer of its own.
// The server sends what the reader has asked for and no more.
type reader struct {
	s      *Store
	stream string
	filter string    // subject, may have wildcards
	seq    uint64    // where to start, or
	since  time.Time // when
	newest bool      // of each subject, the newest record only
	last   uint64    // if not 0: as many of the records, counted from the end
}

// message is one record as the server keeps it.
type message struct {
	subject string
	header  nats.Header
	data    []byte
	seq     uint64
	time    time.Time
}

// marker reports whether m only says that a key was deleted.
func (m *message) marker() bool {
	return m.header.Get("KV-Operation") != "" || m.header.Get(jetstream.MarkerReasonHeader) != ""
}

// errGap says that a record did not reach us: the connection was lost.
var errGap = errors.New("records were lost on the way")

func (r *reader) config() jetstream.ConsumerConfig {
	cfg := jetstream.ConsumerConfig{
		FilterSubject:     r.filter,
		AckPolicy:         jetstream.AckNonePolicy,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: inactive,
	}
	switch {
	case r.newest:
		cfg.DeliverPolicy = jetstream.DeliverLastPerSubjectPolicy
	case !r.since.IsZero():
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &r.since
	default:
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, max(r.seq, 1)
	}
	return cfg
}

// open makes the consumer. The caller calls stop when done with it.
func (r *reader) open(ctx context.Context) (cons jetstream.Consumer, stop func(), err error) {
	op, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	cons, err = r.s.js.CreateConsumer(op, r.stream, r.config())
	if err != nil {
		return nil, nil, failure(ctx, "read", err)
	}
	name := cons.CachedInfo().Name
	return cons, func() {
		op, cancel := context.WithTimeout(context.WithoutCancel(ctx), opTimeout)
		defer cancel()
		if err := r.s.js.DeleteConsumer(op, r.stream, name); err != nil {
			r.s.log.Debug("store: reader left behind", "stream", r.stream, "err", err)
		}
	}, nil
}

// scan calls each for the records that are there now, until it returns false.
func (r *reader) scan(ctx context.Context, each func(message) bool) error {
	cons, stop, err := r.open(ctx)
	if err != nil {
		return err
	}
	defer stop()
	pending := cons.CachedInfo().NumPending
	if pending == 0 {
		return nil
	}
	it, err := cons.Messages(jetstream.PullMaxMessagesWithBytesLimit(pullMessages, pullBytes))
	if err != nil {
		return failure(ctx, "read", err)
	}
	defer it.Stop()
	var skip uint64
	if r.last != 0 && pending > r.last {
		skip = pending - r.last
	}
	for n := uint64(1); ; n++ {
		m, left, err := r.next(ctx, cons, it, n)
		if err != nil || m.seq == 0 {
			return err
		}
		if n > skip && !each(m) {
			return nil
		}
		if left == 0 || n >= pending && !r.newest {
			return nil
		}
	}
}

// next returns the n-th record and how many are left after it. A record with
// sequence 0 says that the rest was removed while we read.
func (r *reader) next(ctx context.Context, cons jetstream.Consumer, it jetstream.MessagesContext, n uint64) (message, uint64, error) {
	for deadline := time.Now().Add(opTimeout); ; {
		op, cancel := context.WithTimeout(ctx, idleRead)
		msg, err := it.Next(jetstream.NextContext(op))
		cancel()
		if err == nil {
			return received(msg, n)
		}
		if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) || time.Now().After(deadline) {
			return message{}, 0, failure(ctx, "read", err)
		}
		op, cancel = context.WithTimeout(ctx, opTimeout)
		info, err := cons.Info(op)
		cancel()
		if err != nil {
			return message{}, 0, failure(ctx, "read", err)
		}
		if info.NumPending == 0 && info.Delivered.Consumer < n {
			return message{}, 0, nil
		}
	}
}

// received checks that msg is the n-th that the consumer sent.
func received(msg jetstream.Msg, n uint64) (message, uint64, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return message{}, 0, fmt.Errorf("read: %w: %w", ErrUnavailable, err)
	}
	if meta.Sequence.Consumer != n {
		return message{}, 0, fmt.Errorf("read: %w: %w", ErrUnavailable, errGap)
	}
	return message{
		subject: msg.Subject(),
		header:  msg.Headers(),
		data:    msg.Data(),
		seq:     meta.Sequence.Stream,
		time:    meta.Timestamp,
	}, meta.NumPending, nil
}

// follow calls each for the records from r.seq on, and for those to come. It
// returns when each does with an error, or with why the consumer ended; r.seq
// is then where to go on.
func (r *reader) follow(ctx context.Context, each func(message) error) (err error, stopped bool) {
	cons, stop, err := r.open(ctx)
	if err != nil {
		return err, false
	}
	defer stop()
	it, err := cons.Messages(jetstream.PullMaxMessagesWithBytesLimit(pullMessages, pullBytes))
	if err != nil {
		return failure(ctx, "follow", err), false
	}
	defer it.Stop()
	for n := uint64(1); ; n++ {
		msg, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return failure(ctx, "follow", err), false
		}
		m, _, err := received(msg, n)
		if err != nil {
			return err, false
		}
		if err := each(m); err != nil {
			return err, true
		}
		r.seq = m.seq + 1
	}
}
