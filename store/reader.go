package store

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// inactive is the time after which the server forgets a reader that died.
const inactive = 60 * time.Second

// reader reads the records of one stream, in order, by a consumer of its own.
// The server sends what the reader has asked for and no more.
type reader struct {
	s      *Store
	stream string
	filter string    // subject, may have wildcards; empty: all, at no cost for each record
	seq    uint64    // where to start, or
	since  time.Time // when
	last   uint64    // if not 0: as many of the records, counted from the end

	// newest is of each subject the newest record only. If that was replaced
	// since, which removes the older one, it may come later than was announced:
	// such a scan ends when nothing is left.
	newest, replaced bool
}

// message is one record as the server keeps it.
type message struct {
	subject string
	header  nats.Header
	data    []byte
	seq     uint64
	time    time.Time
	left    uint64 // records of this reader after it
}

// marker reports whether m only says that a key was deleted.
func (m *message) marker() bool {
	return m.header.Get("KV-Operation") != "" || m.header.Get(jetstream.MarkerReasonHeader) != ""
}

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

// open makes the consumer and says how many records it will find. The caller
// closes the puller.
func (r *reader) open(ctx context.Context) (p *puller, pending uint64, err error) {
	return r.openAt(ctx, "")
}

// openAt is open at the server of this name; "": at any.
func (r *reader) openAt(ctx context.Context, server string) (p *puller, pending uint64, err error) {
	op, cancel := r.s.op(ctx)
	defer cancel()
	var info *jetstream.ConsumerInfo
	for range mostTries {
		cons, err := r.s.js.CreateConsumer(op, r.stream, r.config())
		if err != nil {
			return nil, 0, failure(ctx, "read", err)
		}
		info = cons.CachedInfo()
		if server == "" || info.Cluster == nil || info.Cluster.Leader == server {
			break
		}
		if err := r.s.js.DeleteConsumer(op, r.stream, info.Name); err != nil {
			r.s.log.Debug("store: reader left behind", "stream", r.stream, "err", err)
		}
	}
	p, err = r.s.pull(r.stream, info.Name)
	return p, info.NumPending, failure(ctx, "read", err)
}

// mostTries is how often a consumer is made that is to be at one server, of
// three: the cluster puts it anywhere.
const mostTries = 32

// openNow is open for who is to find all that was acknowledged before: at the
// server that leads, for replicas may be behind.
func (r *reader) openNow(ctx context.Context) (p *puller, pending uint64, err error) {
	if r.s.replicas < 2 {
		return r.open(ctx)
	}
	op, cancel := r.s.op(ctx)
	defer cancel()
	stream, err := r.s.js.Stream(op, r.stream)
	if err != nil {
		return nil, 0, failure(ctx, "read", err)
	}
	var leader string
	if c := stream.CachedInfo().Cluster; c != nil {
		leader = c.Leader
	}
	return r.openAt(ctx, leader)
}

// scan calls each for the records that are there now, until it returns false.
func (r *reader) scan(ctx context.Context, each func(message) bool) error {
	p, pending, err := r.openNow(ctx)
	if err != nil {
		return err
	}
	defer p.close(ctx)
	return r.read(ctx, p, pending, each)
}

// read is scan with a puller that is open.
func (r *reader) read(ctx context.Context, p *puller, pending uint64, each func(message) bool) error {
	var skip uint64
	if r.last != 0 && pending > r.last {
		skip = pending - r.last
	}
	for n := uint64(0); n < pending || r.replaced; n++ {
		m, err := p.next(ctx, false)
		if err == errEnd {
			r.missing(n, pending)
			return nil
		}
		if err != nil {
			return failure(ctx, "read", err)
		}
		if n >= skip && !each(m) {
			return nil
		}
		if m.left == 0 {
			return nil
		}
	}
	return nil
}

// missing tells of records that were announced and did not come: the server
// leaves out those whose checksum is wrong.
func (r *reader) missing(found, announced uint64) {
	if found < announced && !r.replaced {
		r.s.log.Warn("store: records are missing: removed while they were read, or damaged",
			"stream", r.stream, "subject", r.filter, "found", found, "announced", announced)
	}
}

// follow calls each for the records from r.seq on, and for those to come. It
// returns when each does with an error, and then stopped is true, or with why
// the server sends no more; r.seq is then where to go on.
func (r *reader) follow(ctx context.Context, each func(message) error) (stopped bool, err error) {
	p, _, err := r.open(ctx)
	if err != nil {
		return false, err
	}
	defer p.close(ctx)
	for {
		m, err := p.next(ctx, true)
		if err != nil {
			return false, failure(ctx, "follow", err)
		}
		if m.seq < r.seq { // the server was behind, and began with what it had
			continue
		}
		if err := each(m); err != nil {
			return true, err
		}
		r.seq = m.seq + 1
	}
}
