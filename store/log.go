package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Log is a sequence of records, each under a key of some tokens, on one
// JetStream stream.
type Log struct {
	s      *Store
	name   string
	id     string // of the stream
	root   string // what the subjects of all records start with
	tokens int
	perKey int64 // LogConfig.PerKey
	stream jetstream.Stream
	tail   *tail // nil: others write there, too
}

// LogConfig says what the keys of a log look like and how much it keeps. The
// oldest records go first.
type LogConfig struct {
	Tokens   int           // of each key; 0: 1. It cannot be changed later
	MaxAge   time.Duration // 0: any age
	MaxBytes int64         // 0: as the disk has
	PerKey   int64         // the newest records of each key that are kept; 0: all
	Lives    bool          // a record may go earlier: AppendFor
}

// Record is one record of a log.
type Record struct {
	Seq  uint64    // greater than that of every record before it; from 1
	Time time.Time // when the store took it; of what is followed, a moment later
	Key  []string
	Data []byte
}

// Start says where reading starts. The zero value is the oldest record.
type Start struct {
	Seq  uint64    // the first record from this sequence on, or
	Time time.Time // from this time on
}

// OpenLog returns the log called name, which it makes if need be.
func OpenLog(ctx context.Context, s *Store, name string, cfg LogConfig) (*Log, error) {
	if !validName(name) {
		return nil, fmt.Errorf("open log: bad name %q", name)
	}
	l := &Log{s: s, name: name, id: "farreach-" + name, root: "farreach." + name, tokens: max(cfg.Tokens, 1), perKey: cfg.PerKey}
	sc := jetstream.StreamConfig{
		Name:        l.id,
		Subjects:    []string{l.root + strings.Repeat(".*", l.tokens)},
		Storage:     jetstream.FileStorage,
		Replicas:    s.replicas,
		MaxAge:      cfg.MaxAge,
		MaxBytes:    -1,
		AllowDirect: true,
		AllowMsgTTL: cfg.Lives,

		MaxMsgsPerSubject: cmp.Or(cfg.PerKey, -1),
	}
	if cfg.MaxBytes > 0 {
		sc.MaxBytes = cfg.MaxBytes
	}
	stream, err := placed(ctx, s, func(op context.Context) (jetstream.Stream, error) { return s.js.CreateOrUpdateStream(op, sc) })
	if err != nil {
		return nil, failure(ctx, "open log "+name, err)
	}
	l.stream, l.tail = stream, s.tail(l.id)
	return l, failure(ctx, "open log "+name, s.syncer.wrote(ctx, s, l.id))
}

// Append adds a record and returns its sequence when the store has it. Data is
// at most MaxValue bytes. Key and data are shared with those who follow the log:
// not to be changed any more.
func (l *Log) Append(ctx context.Context, key []string, data []byte) (seq uint64, err error) {
	r := [1]Record{{Key: key, Data: data}}
	l.append(ctx, r[:], nil, func(_ int, e error) { err = e })
	return r[0].Seq, err
}

// place is where a record goes, and for how long.
type place struct {
	after uint64        // the sequence of the record that must be the newest of its key; 0: none
	life  time.Duration // 0: as that of the log
}

// AppendAfter is Append if the newest record with exactly that key still has
// the sequence after, 0 for none; else the error is ErrConflict. Of several that
// try to go on from the same record, one does.
func (l *Log) AppendAfter(ctx context.Context, key []string, data []byte, after uint64) (seq uint64, err error) {
	return l.AppendFor(ctx, key, data, after, 0)
}

// AppendFor is AppendAfter of a record that goes after a time, a second or more,
// as LogConfig.Lives lets it; 0: as the others do.
func (l *Log) AppendFor(ctx context.Context, key []string, data []byte, after uint64, life time.Duration) (seq uint64, err error) {
	r := [1]Record{{Key: key, Data: data}}
	l.append(ctx, r[:], &place{after, life}, func(_ int, e error) { err = e })
	if errors.Is(err, ErrExists) {
		err = fmt.Errorf("append to %s: %w", l.name, ErrConflict)
	}
	return r[0].Seq, err
}

// AppendAll adds records, of which only Key and Data count, in their order. It
// returns when the store has them, with their Seq set. For those that it could
// not add, errs has an error at their place; it is nil if there is none.
func (l *Log) AppendAll(ctx context.Context, records []Record) (errs []error) {
	l.append(ctx, records, nil, func(i int, err error) {
		if errs == nil {
			errs = make([]error, len(records))
		}
		errs[i] = err
	})
	return errs
}

// append does it; failed is told of each error. at is nil for what goes behind
// all others.
func (l *Log) append(ctx context.Context, records []Record, at *place, failed func(i int, err error)) {
	c, start := newCall(), time.Now()
	defer c.recycle()
	refusal := l.s.appendable()
	var era int
	if l.tail != nil {
		era = l.tail.now()
	}
	for i, r := range records {
		subject, err := l.sendable(r, refusal)
		if err != nil {
			failed(i, fmt.Errorf("append to %s: %w", l.name, err))
			continue
		}
		c.records = append(c.records, sent{index: i, subject: subject, data: r.Data, at: at, tail: l.tail, era: era, key: r.Key})
	}
	l.publish(ctx, c)
	var unsafe error // what the server has is not on the disk
	if slices.ContainsFunc(c.records, func(r sent) bool { return r.err == nil }) {
		unsafe = l.s.syncer.wrote(ctx, l.s, l.id)
	}
	took := time.Since(start)
	for _, r := range c.records {
		err := cmp.Or(r.err, unsafe)
		if err == nil {
			records[r.index].Seq = r.seq
		} else {
			err = failure(ctx, "append to "+l.name, err)
			failed(r.index, err)
		}
		l.s.wrote(took, err)
	}
}

// publish sends the records of c. While a cluster chooses which server leads the
// log, nobody takes any: it waits for that, for it is over in seconds. It also
// waits until a record that goes behind another may (see settled).
func (l *Log) publish(ctx context.Context, c *call) {
	l.s.acks.publish(ctx, c)
	if !l.s.Shared() || !c.untaken() && !c.early() {
		return
	}
	op, cancel := l.s.patience(ctx)
	defer cancel()
	for {
		wait := leaderWait
		if c.early() {
			wait = settleWait
		} else if !c.untaken() {
			return
		}
		if sleep(op, wait) != nil {
			return
		}
		l.s.acks.publish(op, c)
	}
}

// leaderWait is the time between two tries to give records to a log without a
// leader.
const leaderWait = 50 * time.Millisecond

// settleWait is that between two tries to go on from a record whose write is
// not yet done.
const settleWait = time.Millisecond

// sendable is the subject of r, if it can be sent. refusal is why none can.
func (l *Log) sendable(r Record, refusal error) (string, error) {
	switch {
	case refusal != nil:
		return "", refusal
	case len(r.Data) > MaxValue:
		return "", ErrTooLarge
	}
	return l.subject(r.Key)
}

// Last returns the newest record with exactly that key, or ErrNotFound: that
// which was acknowledged last, to whomever.
func (l *Log) Last(ctx context.Context, key []string) (Record, error) {
	subject, err := l.subject(key)
	if err != nil {
		return Record{}, err
	}
	return l.one(ctx, "last of "+l.name, where{LastOf: subject}, func(op context.Context) (*jetstream.RawStreamMsg, error) {
		return l.stream.GetLastMsgForSubject(op, subject)
	})
}

// one returns the record at w, for which get asks if there is but one server.
func (l *Log) one(ctx context.Context, what string, w where, get func(context.Context) (*jetstream.RawStreamMsg, error)) (Record, error) {
	op, cancel := l.s.op(ctx)
	defer cancel()
	var m message
	var err error
	if l.s.replicas < 2 {
		var raw *jetstream.RawStreamMsg
		if raw, err = get(op); err == nil {
			m = message{subject: raw.Subject, data: raw.Data, seq: raw.Sequence, time: raw.Time}
		}
	} else {
		m, err = l.s.newest(op, l.id, w)
	}
	if err != nil {
		return Record{}, failure(ctx, what, err)
	}
	return l.record(m)
}

// First returns the oldest record with exactly that key from sequence seq on, or
// ErrNotFound.
func (l *Log) First(ctx context.Context, key []string, seq uint64) (Record, error) {
	subject, err := l.subject(key)
	if err != nil {
		return Record{}, err
	}
	w := where{Seq: max(seq, 1), NextOf: subject}
	return l.one(ctx, "first of "+l.name, w, func(op context.Context) (*jetstream.RawStreamMsg, error) {
		return l.stream.GetMsg(op, w.Seq, jetstream.WithGetMsgSubject(w.NextOf))
	})
}

// Next returns the first record from sequence seq on, whatever its key, or
// ErrNotFound: to find a place in the log by halves.
func (l *Log) Next(ctx context.Context, seq uint64) (Record, error) {
	w := where{Seq: max(seq, 1), NextOf: l.root + ".>"}
	return l.one(ctx, "next of "+l.name, w, func(op context.Context) (*jetstream.RawStreamMsg, error) {
		return l.stream.GetMsg(op, w.Seq, jetstream.WithGetMsgSubject(w.NextOf))
	})
}

// Count returns how many records below prefix there are from one sequence up to
// and with another. A record that is appended meanwhile may count as well.
func (l *Log) Count(ctx context.Context, from, to uint64, prefix []string) (uint64, error) {
	var n [2]uint64 // from there on
	for i, seq := range []uint64{from, to + 1} {
		r := reader{s: l.s, stream: l.id, seq: seq}
		if len(prefix) > 0 {
			var err error
			if r.filter, err = l.filter(prefix); err != nil {
				return 0, err
			}
		}
		p, pending, err := r.openNow(ctx)
		if err != nil {
			return 0, err
		}
		p.close(ctx)
		n[i] = pending
	}
	return n[0] - min(n[0], n[1]), nil
}

// LastAll calls each for the newest record of each key below prefix, until it
// returns false. A prefix is the first tokens of a key, or all of them; nil is
// every key. A record that is appended meanwhile may come as well.
func (l *Log) LastAll(ctx context.Context, prefix []string, each func(Record) bool) error {
	return l.scan(ctx, reader{newest: true}, prefix, each)
}

func (l *Log) scan(ctx context.Context, r reader, prefix []string, each func(Record) bool) error {
	var err error
	if len(prefix) > 0 || r.newest { // of all there is, the server cannot find the newest
		if r.filter, err = l.filter(prefix); err != nil {
			return err
		}
	}
	r.s, r.stream, r.replaced = l.s, l.id, r.newest && l.perKey > 0
	return r.scan(ctx, l.only(each))
}

// only is each for the records that can be read.
func (l *Log) only(each func(Record) bool) func(message) bool {
	known := keys{}
	return func(m message) bool {
		if key := known[m.subject]; key != nil {
			return each(Record{Seq: m.seq, Time: m.time, Key: key, Data: m.data})
		}
		rec, ok := l.readable(m)
		if ok {
			known.add(m.subject, rec.Key)
		}
		return !ok || each(rec)
	}
}

// readable is the record that m is. One with a key that nobody here wrote is
// reported and left out: it must not hide those after it.
func (l *Log) readable(m message) (Record, bool) {
	rec, err := l.record(m)
	if err != nil {
		l.s.log.Error("store: unreadable record is left out", "seq", m.seq, "err", err)
	}
	return rec, err == nil
}

// Newest calls each for the newest n records below prefix that are there now,
// oldest first, until it returns false.
func (l *Log) Newest(ctx context.Context, n uint64, prefix []string, each func(Record) bool) error {
	filter, err := l.filter(prefix)
	if err != nil || n == 0 {
		return err
	}
	first, last, err := l.bounds(ctx)
	if err != nil || first > last {
		return err
	}
	// Look back in steps that grow until there are enough: the records of one
	// device may be rare among those of all.
	r := reader{s: l.s, stream: l.id, filter: filter, last: n}
	for back := 2 * n; ; back *= 8 {
		r.seq = first
		if back < last-first {
			r.seq = last + 1 - back
		}
		p, pending, err := r.openNow(ctx)
		if err != nil {
			return err
		}
		if pending >= n || r.seq == first {
			defer p.close(ctx)
			return r.read(ctx, p, pending, l.only(each))
		}
		p.close(ctx)
	}
}

// bounds returns the sequences of the oldest and the newest record; of an
// empty log, first is last + 1.
func (l *Log) bounds(ctx context.Context) (first, last uint64, err error) {
	e, err := l.Extent(ctx)
	return e.First, e.Last, err
}

// Extent is how much a log holds.
type Extent struct {
	First  uint64    // sequence of the oldest record; of an empty log, Last + 1
	Last   uint64    // of the newest
	Oldest time.Time // when the oldest was taken; zero: none is there
	Bytes  int64     // of all records, as LogConfig.MaxBytes counts them
}

// Extent returns how much l holds now.
func (l *Log) Extent(ctx context.Context) (Extent, error) {
	op, cancel := l.s.op(ctx)
	defer cancel()
	info, err := l.stream.Info(op)
	if err != nil {
		return Extent{}, failure(ctx, l.name, err)
	}
	st := info.State
	e := Extent{First: st.FirstSeq, Last: st.LastSeq, Bytes: int64(st.Bytes)}
	if st.Msgs > 0 {
		e.Oldest = st.FirstTime
	}
	return e, nil
}

// Follow calls each for the records below prefix from sequence from on, and
// then for each new one, until ctx ends or each returns an error, which is
// returned. From 0, or beyond the end of the log, it starts with the first new
// record. It waits for as long as each takes and goes on by itself when the
// store was away: no record is left out or comes twice.
//
// begun, if not nil, is called once when it is known where to start, at the
// sequence next: no record appended after that is missed.
func (l *Log) Follow(ctx context.Context, from uint64, prefix []string, begun func(next uint64), each func(Record) error) error {
	r := reader{s: l.s, stream: l.id}
	if len(prefix) > 0 {
		var err error
		if r.filter, err = l.filter(prefix); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.s.life, func() { cancel(fmt.Errorf("%w: closed", ErrUnavailable)) })()
	if begun == nil {
		begun = func(uint64) {}
	}
	for wait := time.Duration(0); ; wait = min(2*wait+10*time.Millisecond, time.Second) {
		before := r.seq
		stopped, err := l.follow(ctx, &r, from, prefix, begun, each)
		if stopped {
			return err
		}
		if r.seq != before {
			wait = 0
		}
		if ctx.Err() == nil {
			l.s.log.Debug("store: follow interrupted", "log", l.name, "seq", r.seq, "err", err)
			_ = pause(ctx, wait)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// follow does it until something fails; stopped says that this was each.
func (l *Log) follow(ctx context.Context, r *reader, from uint64, prefix []string, begun func(next uint64), each func(Record) error) (stopped bool, err error) {
	if r.seq == 0 {
		_, last, err := l.bounds(ctx)
		if err != nil {
			return false, err
		}
		if r.seq = from; from == 0 || from > last+1 {
			r.seq = last + 1
		}
		begun(r.seq)
	}
	if l.tail == nil {
		return r.follow(ctx, func(m message) error { return l.pass(m, each) })
	}
	t := l.tail.join()
	defer l.tail.leave(t)
	for {
		if stopped, err := l.followTail(ctx, r, t, prefix, each); stopped || err != nil {
			return stopped, err
		}
		stopped, err := r.follow(ctx, func(m message) error {
			if l.tail.has(m.seq) {
				r.seq = m.seq
				return errTail
			}
			return l.pass(m, each)
		})
		if err != errTail {
			return stopped, err
		}
	}
}

// pass calls each for m, if that can be read.
func (l *Log) pass(m message, each func(Record) error) error {
	if rec, ok := l.readable(m); ok {
		return each(rec)
	}
	return nil
}

// Purge removes the records below prefix.
func (l *Log) Purge(ctx context.Context, prefix []string) error {
	return l.purge(ctx, prefix)
}

// PurgeUpTo removes the records below prefix up to and with sequence seq.
func (l *Log) PurgeUpTo(ctx context.Context, prefix []string, seq uint64) error {
	return l.purge(ctx, prefix, jetstream.WithPurgeSequence(seq+1))
}

func (l *Log) purge(ctx context.Context, prefix []string, opts ...jetstream.StreamPurgeOpt) error {
	filter, err := l.filter(prefix)
	if err != nil {
		return err
	}
	op, cancel := l.s.op(ctx)
	defer cancel()
	if err := l.stream.Purge(op, append(opts, jetstream.WithPurgeSubject(filter))...); err != nil {
		return failure(ctx, "purge "+l.name, err)
	}
	return failure(ctx, "purge "+l.name, l.s.syncer.wrote(ctx, l.s, l.id))
}

func (l *Log) record(m message) (Record, error) {
	key, err := parseSubject(m.subject[min(len(l.root)+1, len(m.subject)):])
	if err != nil {
		return Record{}, fmt.Errorf("%s: %w", l.name, err)
	}
	return Record{Seq: m.seq, Time: m.time, Key: key, Data: m.data}, nil
}

func (l *Log) subject(key []string) (string, error) {
	if len(key) != l.tokens {
		return "", fmt.Errorf("%s: a key of %d tokens, not %d", l.name, l.tokens, len(key))
	}
	var room [128]byte // enough for most
	b, err := appendSubject(append(room[:0], l.root...), key, false)
	if err != nil {
		return "", fmt.Errorf("%s: %w", l.name, err)
	}
	return string(b), nil
}

// filter is the subject that all records below prefix match.
func (l *Log) filter(prefix []string) (string, error) {
	if len(prefix) > l.tokens {
		return "", fmt.Errorf("%s: keys have %d tokens, not %d", l.name, l.tokens, len(prefix))
	}
	b, err := appendSubject([]byte(l.root), prefix, true)
	if err != nil {
		return "", fmt.Errorf("%s: %w", l.name, err)
	}
	return string(b) + strings.Repeat(".*", l.tokens-len(prefix)), nil
}
