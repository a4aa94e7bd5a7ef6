package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// markerTTL is how long the mark of a deleted key stays, for a node of a
// cluster that was away.
const markerTTL = time.Hour

// Table holds values of type T by key, as JSON in one KV bucket. Of each key
// it keeps the newest value.
type Table[T any] struct {
	s      *Store
	name   string
	kv     jetstream.KeyValue
	marker []jetstream.PublishOpt // of a deletion
}

// Entry is one value of a table. Rev changes with each write of the key.
type Entry[T any] struct {
	Key   string
	Value T
	Rev   uint64
}

// OpenTable returns the table called name, which it makes if need be. Values
// vanish maxAge after they were written; 0 keeps them.
func OpenTable[T any](ctx context.Context, s *Store, name string, maxAge time.Duration) (*Table[T], error) {
	if !validName(name) {
		return nil, fmt.Errorf("open table: bad name %q", name)
	}
	t := &Table[T]{s: s, name: name}
	cfg := jetstream.KeyValueConfig{
		Bucket:       "farreach-" + name,
		History:      1,
		TTL:          maxAge,
		Storage:      jetstream.FileStorage,
		Replicas:     s.replicas,
		MaxValueSize: -1,
	}
	if maxAge == 0 { // else the marks go as the values do
		cfg.LimitMarkerTTL = markerTTL
		t.marker = append(t.marker, jetstream.WithMsgTTL(markerTTL))
	}
	kv, err := placed(ctx, s, func(op context.Context) (jetstream.KeyValue, error) {
		kv, err := s.js.CreateOrUpdateKeyValue(op, cfg)
		if err != nil {
			return nil, err
		}
		if _, err := kv.Get(op, "probe"); errors.Is(err, nats.ErrNoResponders) { // it does not answer yet
			return nil, err
		}
		return kv, nil
	})
	if err != nil {
		return nil, failure(ctx, "open table "+name, err)
	}
	t.kv = kv
	return t, failure(ctx, "open table "+name, s.syncer.wrote(ctx, s, t.stream()))
}

// stream is the name of the stream that the bucket is made of.
func (t *Table[T]) stream() string { return "KV_" + t.kv.Bucket() }

// Get returns the value of key and its revision, or ErrNotFound: what was
// acknowledged last, to whomever.
func (t *Table[T]) Get(ctx context.Context, key string) (v T, rev uint64, err error) {
	k, err := t.subject(key)
	if err != nil {
		return v, 0, err
	}
	op, cancel := t.s.op(ctx)
	defer cancel()
	b, rev, err := t.get(op, k)
	if err != nil {
		return v, 0, failure(ctx, t.name, err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, 0, fmt.Errorf("%s: broken value: %w", t.name, err)
	}
	return v, rev, nil
}

// get returns the bytes of a value.
func (t *Table[T]) get(op context.Context, k string) (b []byte, rev uint64, err error) {
	if t.s.replicas < 2 { // there is but one server to ask
		e, err := t.kv.Get(op, k)
		if err != nil {
			return nil, 0, err
		}
		return e.Value(), e.Revision(), nil
	}
	m, err := t.newest(op, k)
	if err == nil && m.marker() {
		err = jetstream.ErrKeyNotFound
	}
	return m.data, m.seq, err
}

// newest returns what was written last under a key: a value, or the mark that
// it was deleted.
func (t *Table[T]) newest(op context.Context, k string) (message, error) {
	return t.s.newest(op, t.stream(), where{LastOf: "$KV." + t.kv.Bucket() + "." + k})
}

// Create stores v under a key that has no value, else the error is ErrExists.
func (t *Table[T]) Create(ctx context.Context, key string, v T) (rev uint64, err error) {
	return t.write(ctx, key, v, t.create)
}

// create does it: instead of nothing, or instead of the mark of a deletion. (That
// of nats.go asks any replica for the mark: one that is behind says that the
// value is still there.)
func (t *Table[T]) create(op context.Context, k string, b []byte) (uint64, error) {
	rev, err := t.kv.Update(op, k, b, 0)
	if !wrongRevision(err) || beingWritten(err) {
		return rev, err
	}
	there, look := t.newest(op, k)
	switch {
	case errors.Is(look, jetstream.ErrMsgNotFound): // it has just vanished
	case look != nil:
		return 0, look
	case !there.marker():
		return 0, err
	}
	return t.kv.Update(op, k, b, there.seq)
}

// Put stores v, whatever was there before.
func (t *Table[T]) Put(ctx context.Context, key string, v T) (rev uint64, err error) {
	return t.write(ctx, key, v, func(op context.Context, k string, b []byte) (uint64, error) {
		return t.kv.Put(op, k, b)
	})
}

// Update stores v if the value at key still has the revision rev, else the
// error is ErrConflict.
func (t *Table[T]) Update(ctx context.Context, key string, v T, rev uint64) (uint64, error) {
	rev, err := t.write(ctx, key, v, func(op context.Context, k string, b []byte) (uint64, error) {
		return t.kv.Update(op, k, b, rev)
	})
	if errors.Is(err, ErrExists) {
		err = fmt.Errorf("%s: %w", t.name, ErrConflict)
	}
	return rev, err
}

func (t *Table[T]) write(ctx context.Context, key string, v T, do func(context.Context, string, []byte) (uint64, error)) (uint64, error) {
	k, err := t.subject(key)
	if err != nil {
		return 0, err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", t.name, err)
	}
	if len(b) > MaxValue {
		return 0, fmt.Errorf("%s: %w", t.name, ErrTooLarge)
	}
	if err := t.s.writable(); err != nil {
		return 0, fmt.Errorf("%s: %w", t.name, err)
	}
	t.s.still.RLock()
	defer t.s.still.RUnlock()
	op, cancel := t.s.write(ctx)
	defer cancel()
	start := time.Now()
	rev, err := settled(op, func() (uint64, error) { return do(op, k, b) })
	if err == nil {
		err = t.s.syncer.wrote(ctx, t.s, t.stream())
	}
	err = failure(ctx, t.name, err)
	t.s.wrote(time.Since(start), err)
	return rev, err
}

// settled does a write until its key is not being written. The node that leads
// a cluster acknowledges a write shortly before it counts it as done, and
// refuses until then whoever writes next, be it the one that was acknowledged.
func settled(op context.Context, do func() (uint64, error)) (uint64, error) {
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		rev, err := do()
		if !beingWritten(err) || pause(op, wait) != nil {
			return rev, err
		}
	}
}

// Delete removes key; it is no error if there is none.
func (t *Table[T]) Delete(ctx context.Context, key string) error {
	_, err := t.purge(ctx, key)
	return err
}

// purge is Delete that also tells the revision of the deletion.
func (t *Table[T]) purge(ctx context.Context, key string) (rev uint64, err error) {
	k, err := t.subject(key)
	if err != nil {
		return 0, err
	}
	if err := t.s.writable(); err != nil {
		return 0, fmt.Errorf("%s: %w", t.name, err)
	}
	mark := nats.NewMsg("$KV." + t.kv.Bucket() + "." + k)
	mark.Header.Set("KV-Operation", "PURGE")
	mark.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	t.s.still.RLock()
	defer t.s.still.RUnlock()
	op, cancel := t.s.write(ctx)
	defer cancel()
	ack, err := t.s.js.PublishMsg(op, mark, t.marker...)
	if err != nil {
		return 0, failure(ctx, t.name, err)
	}
	return ack.Sequence, failure(ctx, t.name, t.s.syncer.wrote(ctx, t.s, t.stream()))
}

// last returns the newest revision of any key.
func (t *Table[T]) last(ctx context.Context) (uint64, error) {
	op, cancel := t.s.op(ctx)
	defer cancel()
	stream, err := t.s.js.Stream(op, t.stream())
	if err != nil {
		return 0, failure(ctx, t.name, err)
	}
	return stream.CachedInfo().State.LastSeq, nil
}

// Modify replaces the value of key by what f makes of it, and starts again
// with the newer value if somebody else was faster. f may thus be called more
// than once. Its error is returned as it is and nothing is written. A missing
// key is ErrNotFound.
func (t *Table[T]) Modify(ctx context.Context, key string, f func(v *T) error) (T, error) {
	v, _, err := t.modify(ctx, key, f)
	return v, err
}

// modify is Modify that also tells the new revision.
func (t *Table[T]) modify(ctx context.Context, key string, f func(v *T) error) (v T, rev uint64, err error) {
	for wait := time.Duration(0); ; wait = min(2*wait+time.Millisecond, 100*time.Millisecond) {
		if v, rev, err = t.Get(ctx, key); err != nil {
			return v, 0, err
		}
		if err = f(&v); err != nil {
			return v, 0, err
		}
		if rev, err = t.Update(ctx, key, v, rev); !errors.Is(err, ErrConflict) {
			return v, rev, err
		}
		if err := pause(ctx, wait); err != nil {
			return v, 0, fmt.Errorf("%s: %w", t.name, err)
		}
	}
}

// pause waits a random part of d.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(rand.N(d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// All returns the entries whose keys lie below prefix, which is some whole
// tokens of them; "" is all. The order is that of the last write. An entry
// that is written during the iteration may come again, the newer one last. An
// error is the last element.
func (t *Table[T]) All(ctx context.Context, prefix string) iter.Seq2[Entry[T], error] {
	return func(yield func(Entry[T], error) bool) {
		root := "$KV." + t.kv.Bucket()
		filter := []byte(root)
		if prefix != "" {
			var err error
			if filter, err = appendSubject(filter, strings.Split(prefix, "/"), false); err != nil {
				yield(Entry[T]{}, err)
				return
			}
		}
		r := reader{s: t.s, stream: t.stream(), filter: string(filter) + ".>", newest: true, replaced: true}
		err := r.scan(ctx, func(m message) bool {
			if m.marker() {
				return true
			}
			e, err := t.entry(m.subject[len(root)+1:], m)
			return yield(e, err) && err == nil
		})
		if err != nil {
			yield(Entry[T]{}, fmt.Errorf("%s: %w", t.name, err))
		}
	}
}

func (t *Table[T]) entry(subject string, m message) (e Entry[T], err error) {
	tokens, err := parseSubject(subject)
	if err == nil {
		err = json.Unmarshal(m.data, &e.Value)
	}
	if err != nil {
		return e, fmt.Errorf("%s: broken value: %w", t.name, err)
	}
	e.Key, e.Rev = strings.Join(tokens, "/"), m.seq
	return e, nil
}

// subject turns a table's key into a KV key.
func (t *Table[T]) subject(key string) (string, error) {
	b, err := appendSubject(nil, strings.Split(key, "/"), false)
	if err != nil {
		return "", fmt.Errorf("%s: %w", t.name, err)
	}
	return string(b[1:]), nil
}
