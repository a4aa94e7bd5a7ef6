// Package store keeps what must survive: typed tables and logs, on NATS
// JetStream. It knows no domain type.
//
//	Table[T] ── JSON ────▶ KV bucket ─┐                  ┌─▶ nats-server in this process, no listener,
//	  Get Put Create       $KV.…      ├─▶ NATS ──────────┤     files under Config.Dir
//	  Update Modify All               │   connections    └─▶ a NATS cluster at Config.URL
//	View[T]: a Table in memory        │
//	Log ── bytes ────────▶ stream ────┘
//	  Append Last Read     farreach.<log>.<token>.<token>…
//	  Follow Purge
//
// The same code drives both servers; only who follows a log of the embedded one
// is given what this process appends without asking for it (tail). Records are appended over a connection of
// their own, lest everything else wait behind a flood of them. A call that writes returns after the
// server has acknowledged the write: from then on it survives the death of
// the process, and after Config.Sync the loss of power too.
//
// Keys are text of any kind; they are escaped before they become part of a
// NATS subject, so that a user called ">" is just that. Memory is bounded
// everywhere: values by MaxValue, readers by pulling as much as they can take.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Config says where the store is. One of Dir and URL is needed.
type Config struct {
	Dir      string        // directory of the embedded server: made with mode 0700, refused if others may read it
	URL      string        // NATS servers to use instead, of one cluster, separated by commas: version 2.11 or later, with JetStream
	Sync     time.Duration // embedded: most time between a write and its fsync; 0: 10 ms; negative: before every acknowledgement
	Replicas int           // of each table and log, at URL; 0: 1
	Log      *slog.Logger  // nil: slog.Default()

	Credentials string // file that says who we are to the servers at URL: .creds of NATS, user:password or a token; empty: nobody
	CAFile      string // PEM file with the authorities of the servers at URL; empty: those of the system

	// Wrote, if not nil, is called after each write: how long it was until the
	// store had acknowledged it, and how it went. It must not block.
	Wrote func(took time.Duration, err error)
}

// The errors that callers tell apart. Any other error is a bug, a broken
// record or the end of the caller's context.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("exists already")
	ErrConflict = errors.New("changed meanwhile")
	ErrTooLarge = errors.New("too large to store")

	// ErrUnavailable says that the store cannot do it now: disk full, no
	// server, no answer. It heals by itself. A write that failed so may
	// nevertheless have been done.
	ErrUnavailable = errors.New("store unavailable")
)

// MaxValue is the most that a table's value or a log's record holds, bytes: the
// longest body that a device sends, 1 MiB, and what is kept with it. A server at
// Config.URL takes that only if its max_payload is 1,060,864 or more: with its
// default, what is longer than 1 MiB is ErrTooLarge.
const MaxValue = 1<<20 + 4<<10

// maxPayload is the most of a message of NATS: a value and its headers.
const maxPayload = MaxValue + 8<<10

// opTimeout is how long one operation waits for the server's answer.
const opTimeout = 5 * time.Second

// Store is an open store. Its methods, tables and logs may be used by several
// goroutines at once.
type Store struct {
	replicas int
	log      *slog.Logger
	wrote    func(took time.Duration, err error) // Config.Wrote
	nc       *nats.Conn
	js       jetstream.JetStream
	acks     *acks
	server   *embedded // nil: Config.URL
	syncer   *syncer   // nil: the server syncs
	reads    breaker
	writes   breaker

	full  atomic.Bool     // no space left, or nearly
	sick  atomic.Bool     // the embedded server met an error in writing
	makes atomic.Int64    // how many make a table or a log now
	made  atomic.Int64    // how many have
	life  context.Context // ends with Close
	end   context.CancelFunc
	tasks sync.WaitGroup
	conns sync.WaitGroup // what nats.go still tells of connections
	once  sync.Once
	still sync.RWMutex // held while the tables must not change, and shared by those who write to one

	mu        sync.Mutex      // guards what follows: the connection of this moment
	connected context.Context // ends when it is lost; acks is told
	lost      context.CancelFunc

	tasked map[string]chan struct{} // of an embedded server: holds one while somebody does the task
	tails  map[string]*tail         // of an embedded server, by stream
}

// Open starts the embedded server, or connects to the one at cfg.URL, and
// returns when it answers. ctx ends the attempt, not the store.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s := &Store{replicas: max(cfg.Replicas, 1), log: cfg.Log, wrote: cfg.Wrote}
	if s.wrote == nil {
		s.wrote = func(time.Duration, error) {}
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.writes.also = &s.reads // a server that writes reads; one whose disk hangs may only read
	s.life, s.end = context.WithCancel(context.Background())
	s.connected, s.lost = context.WithCancel(s.life)
	opts := s.options()
	switch {
	case cfg.URL != "" && cfg.Dir != "":
		return nil, errors.New("open store: a directory and a URL are given, one is wanted")
	case cfg.URL == "" && cfg.Dir == "":
		return nil, errors.New("open store: neither a directory nor a URL is given")
	case cfg.URL == "":
		e, err := startEmbedded(cfg.Dir, s.log)
		if err != nil {
			return nil, fmt.Errorf("open store: %w", err)
		}
		s.server = e
		opts = append(opts, nats.InProcessServer(e), nats.ReconnectWait(20*time.Millisecond))
	default:
		more, err := cfg.remote()
		if err != nil {
			return nil, fmt.Errorf("open store: %w", err)
		}
		opts = append(opts, more...)
	}
	if err := s.connect(ctx, cfg.URL, opts); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("open store: %w", err)
	}
	if s.server != nil {
		s.checkSpace()
		s.tasks.Go(s.watch)
		s.startSync(cfg.Sync)
	}
	return s, nil
}

// startSync starts the syncer.
func (s *Store) startSync(after time.Duration) {
	if after == 0 {
		after = defaultSync
	}
	y := newSyncer(s.server.dir, max(after, 0), s.log)
	s.syncer = y
	s.tasks.Go(func() { y.run(s.life.Done()) })
}

func (s *Store) options() []nats.Option {
	return []nats.Option{
		nats.Name("farreach"),
		nats.MaxReconnects(-1),
		nats.ReconnectBufSize(-1), // fail at once rather than queue
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			s.log.Warn("store connection", "err", err)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			s.disconnected()
			if err != nil {
				s.log.Warn("store connection lost", "err", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { s.log.Info("store connection is back") }),
	}
}

func (s *Store) connect(ctx context.Context, url string, opts []nats.Option) (err error) {
	if s.nc, err = s.dial(url, opts); err != nil {
		return err
	}
	if s.js, err = jetstream.New(s.nc, jetstream.WithDefaultTimeout(opTimeout)); err != nil {
		return err
	}
	nc, err := s.dial(url, opts)
	if err != nil {
		return err
	}
	acks, err := newAcks(nc, &s.writes)
	if err != nil {
		nc.Close()
		return err
	}
	s.mu.Lock()
	s.acks = acks
	s.mu.Unlock()
	return s.Ready(ctx)
}

// dial makes a connection. nats.go tells of what happens to it later, the last
// time that it is closed: Close waits for that.
func (s *Store) dial(url string, opts []nats.Option) (*nats.Conn, error) {
	s.conns.Add(1)
	over := sync.OnceFunc(s.conns.Done)
	nc, err := nats.Connect(url, append(slices.Clone(opts), nats.ClosedHandler(func(*nats.Conn) { over() }))...)
	if err != nil {
		over()
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nc, nil
}

// Alone reports whether nobody but this process uses the store: it is embedded.
func (s *Store) Alone() bool { return s.server != nil }

// Ready reports whether the store can be read and written now: nil, or an
// error that is ErrUnavailable or ctx's.
func (s *Store) Ready(ctx context.Context) error {
	if err := s.writable(); err != nil {
		return err
	}
	op, cancel := s.op(ctx)
	defer cancel()
	_, err := s.js.AccountInfo(op)
	return failure(ctx, "ask the store", err)
}

// Close ends what still reads, disconnects and stops the embedded server. It
// returns after all of the store's goroutines have ended.
func (s *Store) Close() error {
	s.once.Do(func() {
		s.end()
		s.tasks.Wait()
		if s.nc != nil {
			s.nc.Close()
		}
		if s.acks != nil {
			s.acks.nc.Close()
		}
		s.conns.Wait()
		s.disconnected()
		if s.server != nil {
			s.server.close()
		}
	})
	return nil
}

// disconnected wakes up all that wait for the server. It is called by nats.go
// at any time before the end of Close.
func (s *Store) disconnected() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost()
	s.connected, s.lost = context.WithCancel(s.life)
	if s.acks != nil {
		s.acks.fail(errLost)
	}
	s.reads.close() // the next connection may be to another server
	s.writes.close()
}

// epoch ends when the connection of this moment is lost, and with the store.
func (s *Store) epoch() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connected
}

// tail returns that of a stream; nil if others may write to it.
func (s *Store) tail(stream string) *tail {
	if s.server == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tails == nil {
		s.tails = map[string]*tail{}
	}
	if s.tails[stream] == nil {
		s.tails[stream] = &tail{}
	}
	return s.tails[stream]
}

// op returns the context of one operation that reads: it ends with ctx, with
// the connection, and after opTimeout. It has ended already while the server is
// silent. cancel is to be called as soon as there is an answer.
func (s *Store) op(ctx context.Context) (op context.Context, cancel func()) {
	return s.attempt(ctx, &s.reads)
}

// write is op for an operation that writes.
func (s *Store) write(ctx context.Context) (op context.Context, cancel func()) {
	return s.attempt(ctx, &s.writes)
}

func (s *Store) attempt(ctx context.Context, b *breaker) (context.Context, func()) {
	if !b.may() {
		return refused{ctx}, func() {}
	}
	heard := b.heard.Load()
	op, cancel := s.patience(ctx)
	return op, func() {
		switch {
		case op.Err() == nil:
			b.answered()
		case errors.Is(op.Err(), context.DeadlineExceeded) && ctx.Err() == nil:
			b.silent(heard)
		}
		cancel()
	}
}

// patience ends with ctx, with the connection, and after opTimeout.
func (s *Store) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	op, cancel := context.WithTimeout(ctx, opTimeout)
	stop := context.AfterFunc(s.epoch(), cancel)
	return op, func() { stop(); cancel() }
}

// writable is nil if a write has a chance. An operation in a context of write
// asks the breaker itself.
func (s *Store) writable() error {
	if s.full.Load() {
		return fmt.Errorf("%w: disk full", ErrUnavailable)
	}
	if s.sick.Load() {
		return fmt.Errorf("%w: an error in writing", ErrUnavailable)
	}
	if s.syncer != nil && s.syncer.bad.Load() {
		return fmt.Errorf("%w: the disk does not sync", ErrUnavailable)
	}
	return nil
}

// appendable is writable for a write that needs no context of write. What is
// written can be read: both connections stand.
func (s *Store) appendable() error {
	err := s.writable()
	if err == nil && !s.nc.IsConnected() {
		err = fmt.Errorf("%w: %w", ErrUnavailable, errLost)
	}
	if err == nil && !s.writes.may() {
		err = fmt.Errorf("%w: %w", ErrUnavailable, errRefused)
	}
	return err
}

// failure makes an error of this package of one that NATS gave; nil remains
// nil. ctx is the caller's: when it has ended, its error is the answer.
func failure(ctx context.Context, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, ctx.Err())
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrMsgNotFound):
		err = ErrNotFound
	case wrongRevision(err):
		err = ErrExists
	case errors.Is(err, nats.ErrMaxPayload):
		err = ErrTooLarge
	default:
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// wrongRevision reports whether the server has not written because there is
// another revision than the one expected.
func wrongRevision(err error) bool {
	e, ok := errors.AsType[*jetstream.APIError](err)
	return ok && e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || beingWritten(err) ||
		errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch)
}

// beingWritten reports whether a cluster has not written because a write of the
// same key is not yet done: it cannot tell which revision will be there.
func beingWritten(err error) bool {
	e, ok := errors.AsType[*jetstream.APIError](err)
	return ok && e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant
}

// validName reports whether name may name a table or a log: lower case
// letters, digits and dashes, as the program chooses them.
func validName(name string) bool {
	for _, c := range []byte(name) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return name != "" && len(name) <= 64
}
