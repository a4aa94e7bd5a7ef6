package event

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/farreach/farreach/store"
)

// Last returns the newest event of one resource, its last known state. The
// error is store.ErrNotFound if there is none. Its Body is shared: not to be
// changed.
func (e *Events) Last(ctx context.Context, account, device, href string) (Event, error) {
	if err := check(account, device, href); err != nil {
		return Event{}, err
	}
	k := key{account, device, href}
	if ev, ok := e.lasts.get(k, time.Now()); ok {
		return ev, nil
	}
	var expected *last
	select {
	case <-e.feed.begun: // what comes after this reading will be heard
		expected = e.lasts.expect(k, time.Now())
	default:
	}
	ev, err := e.readLast(ctx, k)
	e.lasts.read(k, expected, &ev, err)
	return ev, err
}

// readLast is Last from the store.
func (e *Events) readLast(ctx context.Context, k key) (Event, error) {
	tokens := []string{k.account, k.device, k.href}
	r, err := e.records.Last(ctx, tokens)
	if errors.Is(err, store.ErrNotFound) {
		r, err = e.kept.Last(ctx, tokens)
		r.Seq = 0
	}
	if err != nil {
		return Event{}, err
	}
	return parseRecord(r)
}

// States calls each for the newest event of each resource of a device, or of
// all devices of the account if device is "", until it returns false. A state
// may come twice, the newer one later.
func (e *Events) States(ctx context.Context, account, device string, each func(Event) bool) error {
	prefix, err := Filter{Account: account, Device: device}.prefix()
	if err != nil {
		return err
	}
	more := true
	err = e.kept.LastAll(ctx, prefix, e.parsed(func(ev Event) bool {
		ev.Seq = 0
		more = each(ev)
		return more
	}))
	if err != nil || !more {
		return err
	}
	return e.records.LastAll(ctx, prefix, e.parsed(each))
}

// lasts remembers the newest events of the resources that were asked about
// lately, so that asking again does not trouble the store:
//
//	Last ── not known ──▶ expect ── read from the store ──▶ read ─┐
//	AppendAll, feed ── heard: newer, of one that is known ────────┴─▶ get
//
// What another process appends is known as soon as the feed has heard of it.
type lasts struct {
	known atomic.Int64 // len(at)

	mu    sync.Mutex // guards what follows
	at    map[key]*last
	bytes int // of all
}

// last is the newest event of a resource, as far as it is known.
type last struct {
	Event
	read  bool // it is known; else it is being read
	until time.Time
}

const (
	maxLasts     = 32 << 20    // bytes that lasts remembers
	lastOverhead = 400         // of them beside body and names
	lastLife     = time.Minute // then it is read again: what is too old goes from the store unheard
)

func (l *last) size() int {
	return lastOverhead + len(l.Body) + len(l.Account) + len(l.Device) + len(l.Href)
}

func (l *lasts) get(k key, now time.Time) (Event, bool) {
	if l.known.Load() == 0 {
		return Event{}, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.at[k]; e != nil && e.read && now.Before(e.until) {
		return e.Event, true
	}
	return Event{}, false
}

// expect makes sure that what is heard of k while it is being read is not lost,
// and returns where that is noted.
func (l *lasts) expect(k key, now time.Time) *last {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at == nil {
		l.at = map[key]*last{}
	}
	if old := l.at[k]; old != nil {
		if now.Before(old.until) {
			return old
		}
		l.drop(k)
	}
	for some := range l.at {
		if l.bytes < maxLasts {
			break
		}
		l.drop(some)
	}
	e := &last{until: now.Add(lastLife)}
	l.at[k], l.bytes = e, l.bytes+e.size()
	l.known.Store(int64(len(l.at)))
	return e
}

// read takes what was read of k, unless newer was heard meanwhile: ev is that
// then. e is what was expected before the reading began. An older reading proves
// nothing about what is known now, but may be newer than that.
func (l *lasts) read(k key, e *last, ev *Event, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.at[k]
	switch {
	case known == nil:
		return
	case err != nil:
		if known == e && !e.read {
			l.drop(k)
		}
		return
	case ev.Seq < known.Seq:
		*ev = known.Event
	case ev.Seq > known.Seq || !known.read:
		l.set(known, ev)
	}
	known.read = known.read || known == e
}

// heard takes note of a new event, if its resource is one of those known. The
// body is copied if it is only lent.
func (l *lasts) heard(ev *Event, lent bool) {
	if l.known.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.at[resource(ev)]; e != nil && ev.Seq > e.Seq {
		l.set(e, ev)
		if lent {
			e.Body = bytes.Clone(ev.Body)
		}
	}
}

func (l *lasts) set(e *last, ev *Event) {
	l.bytes -= e.size()
	e.Event = *ev
	l.bytes += e.size()
}

// forget forgets the resources of a device.
func (l *lasts) forget(account, device string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k := range l.at {
		if k.account == account && k.device == device {
			l.drop(k)
		}
	}
}

// drop forgets k. l.mu is held.
func (l *lasts) drop(k key) {
	l.bytes -= l.at[k].size()
	delete(l.at, k)
	l.known.Store(int64(len(l.at)))
}
