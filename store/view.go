package store

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"maps"
	"strings"
	"sync"
	"time"
)

// View is a table that is mirrored in memory: what is asked all the time is
// asked there. Its own writes are seen at once, those of other processes as
// soon as the store tells of them, and while the store is away the view shows
// what it knew last.
//
//	Create Modify Delete ──▶ Table ──▶ KV bucket ── each change ──▶ View ──▶ Get, All, changed
//	        └──────────── and at once ──────────────────────────────▶┘
//
// A table of values that vanish by age is not for a View: nobody tells it.
// Its methods may be called from several goroutines at once.
type View[T any] struct {
	t       *Table[T]
	changed func(key string, old, new *T)
	stop    context.CancelFunc
	done    sync.WaitGroup

	mu      sync.RWMutex // guards what follows
	entries map[string]viewed[T]
	deleted map[string]uint64 // by us, until the store has told of it; the revision of the deletion
}

type viewed[T any] struct {
	value *T
	rev   uint64
}

// OpenView reads the whole table t and follows it until Close. changed, if not
// nil, is called for each change after that: old or new is nil if there is
// none. It is called while the view is locked: it must not call back and must
// not block.
func OpenView[T any](ctx context.Context, t *Table[T], changed func(key string, old, new *T)) (*View[T], error) {
	v := &View[T]{t: t, entries: map[string]viewed[T]{}, deleted: map[string]uint64{}}
	last, err := t.last(ctx)
	if err != nil {
		return nil, err
	}
	for e, err := range t.All(ctx, "") {
		if err != nil {
			return nil, err
		}
		v.entries[e.Key] = viewed[T]{&e.Value, e.Rev}
	}
	v.changed = changed
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	v.stop = stop
	v.done.Go(func() { v.follow(run, last+1) })
	return v, nil
}

// Close ends the mirroring and returns when it has ended. The view can still
// be read.
func (v *View[T]) Close() {
	v.stop()
	v.done.Wait()
}

// Get returns the value of key, or nil. It is shared: not to be changed.
func (v *View[T]) Get(key string) *T {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.entries[key].value
}

// Fetch is Get that asks the store if nothing is known of key: another process
// may have written it a moment ago. It is nil if there is nothing.
func (v *View[T]) Fetch(ctx context.Context, key string) (*T, error) {
	if value := v.Get(key); value != nil {
		return value, nil
	}
	value, rev, err := v.t.Get(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v.apply(key, &value, rev)
	return v.Get(key), nil
}

// Renew is Get that asks the store first, if other processes share it: for who
// would be refused by what is known of key, and may have it from another process.
func (v *View[T]) Renew(ctx context.Context, key string) (*T, error) {
	if !v.t.s.Shared() {
		return v.Get(key), nil
	}
	value, rev, err := v.t.Get(ctx, key)
	switch {
	case errors.Is(err, ErrNotFound): // the view will be told, if it does not know
	case err != nil:
		return nil, err
	default:
		v.apply(key, &value, rev)
	}
	return v.Get(key), nil
}

// All returns the entries as they are now, in no order. The values are shared:
// not to be changed.
func (v *View[T]) All() iter.Seq2[string, *T] {
	v.mu.RLock()
	entries := maps.Clone(v.entries)
	v.mu.RUnlock()
	return func(yield func(string, *T) bool) {
		for k, e := range entries {
			if !yield(k, e.value) {
				return
			}
		}
	}
}

// Create is Table.Create.
func (v *View[T]) Create(ctx context.Context, key string, value T) error {
	rev, err := v.t.Create(ctx, key, value)
	if err == nil {
		v.apply(key, &value, rev)
	}
	return err
}

// Put is Table.Put.
func (v *View[T]) Put(ctx context.Context, key string, value T) error {
	rev, err := v.t.Put(ctx, key, value)
	if err == nil {
		v.apply(key, &value, rev)
	}
	return err
}

// Modify is Table.Modify.
func (v *View[T]) Modify(ctx context.Context, key string, f func(value *T) error) (T, error) {
	value, rev, err := v.t.modify(ctx, key, f)
	if err == nil {
		v.apply(key, &value, rev)
	}
	return value, err
}

// Delete is Table.Delete.
func (v *View[T]) Delete(ctx context.Context, key string) error {
	rev, err := v.t.purge(ctx, key)
	if err == nil {
		v.apply(key, nil, rev)
	}
	return err
}

// apply takes over a value, or a deletion, unless a newer one is known.
func (v *View[T]) apply(key string, value *T, rev uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	old := v.entries[key]
	if rev <= old.rev || rev <= v.deleted[key] {
		return
	}
	if value != nil {
		delete(v.deleted, key)
		v.entries[key] = viewed[T]{value, rev}
	} else {
		v.deleted[key] = rev
		delete(v.entries, key)
	}
	if v.changed != nil && (old.value != nil || value != nil) {
		v.changed(key, old.value, value)
	}
}

// follow applies what the store tells, from revision seq on. It goes on by
// itself when the store was away.
func (v *View[T]) follow(ctx context.Context, seq uint64) {
	root := "$KV." + v.t.kv.Bucket()
	r := reader{s: v.t.s, stream: v.t.stream(), filter: root + ".>", seq: seq}
	for wait := time.Duration(0); ctx.Err() == nil; wait = min(2*wait+10*time.Millisecond, time.Second) {
		before := r.seq
		_, err := r.follow(ctx, func(m message) error {
			v.told(m, m.subject[len(root)+1:])
			return nil
		})
		if r.seq != before {
			wait = 0
		}
		if ctx.Err() == nil {
			v.t.s.log.Debug("store: view interrupted", "table", v.t.name, "seq", r.seq, "err", err)
			_ = pause(ctx, wait)
		}
	}
}

// told applies one record of the table's stream.
func (v *View[T]) told(m message, subject string) {
	value := new(T)
	tokens, err := parseSubject(subject)
	switch {
	case err == nil && m.marker():
		value = nil
	case err == nil:
		err = json.Unmarshal(m.data, value)
	}
	if err != nil {
		v.t.s.log.Error("store: unreadable value is left out", "table", v.t.name, "seq", m.seq, "err", err)
		return
	}
	v.apply(strings.Join(tokens, "/"), value, m.seq)
	v.mu.Lock()
	defer v.mu.Unlock()
	for key, rev := range v.deleted { // few: what is on its way to us
		if rev <= m.seq {
			delete(v.deleted, key)
		}
	}
}
