// Package event is the durable memory of what devices reported.
//
//	cloudlink ── Append ──▶ one log (store) ──▶ Query, Follow ──▶ HTTP API, rules, dashboard
//	  notification            key: account, di, href
//	                               └─▶ Last, States: the newest record of each key
//
// There is no second table for the last state of a resource: it is the newest
// event of that resource. So an event and the state cannot disagree, and one
// write is all that an event costs. Only when the newest event of a resource is
// about to go, for its age or for want of room, a copy is kept; see keep.go.
//
// Every call names the account whose events are meant. An empty account is an
// error, so that a forgotten one never shows the events of all.
package event

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

const (
	defaultAge   = 90 * 24 * time.Hour
	defaultLimit = 1000
	maxAppends   = 1024 // at once; more wait, and so do the devices that sent them
)

// Event is one representation that a device reported of one resource.
type Event struct {
	Seq     uint64    // order of all events, from 1; not without gaps. 0: a last state whose event has gone
	Time    time.Time // when the cloud received it
	Account string    // the device's owner at that time
	Device  string    // di
	Href    string
	Format  oic.ContentFormat // of Body
	Body    []byte            // as the device sent it

	DeviceTime time.Time // when it was true, as the device says in the body; zero: it does not. Append sets it
	Late       bool      // an event of the same resource with a later DeviceTime came earlier. Append sets it
}

// Config says what is kept. Zero values work.
type Config struct {
	MaxAge   time.Duration // of an event; 0: 90 days
	MaxBytes int64         // of all events, the oldest go first; 0: as the disk has
	Log      *slog.Logger  // nil: slog.Default()
}

// Filter selects events. Account is required; any other zero value is no
// restriction.
type Filter struct {
	Account string
	Device  string // di
	Href    string // exactly
	From    uint64 // sequence of the first event

	// For Query.
	Since, Until time.Time // received from this time on, and before that
	Before       uint64    // sequence behind that of the last event
	Order        Order
	Limit        int // how many events at most; 0: 1,000

	// Begun, if not nil, is called once by Follow: no event from then on is
	// missed.
	Begun func()

	// For FollowNews; Also for All, too. Also are more places than Account, or its
	// Device; no two overlap. Caught, if not nil, is called once: what was known at the begin has
	// been passed on, up to this sequence, and what comes from now on is new.
	Also   []Place
	Caught func(seq uint64)
}

// Place is where events are: an account, or with Device one of its devices.
type Place struct{ Account, Device string }

// Events is the log of all devices' events. Its methods may be called from
// several goroutines at once.
type Events struct {
	cfg     Config
	records *store.Log
	kept    *store.Log // last states whose events have gone, or are about to
	blocks  *blocks
	log     *slog.Logger
	slots   *semaphore.Weighted // for the appends under way

	feed     *feed
	newest   newest // device times
	lasts    lasts
	appended maximum // the newest sequence that Append has returned

	life  context.Context // ends with Close
	stop  context.CancelFunc
	tasks sync.WaitGroup
}

// Open returns the events in s. Close is to be called at the end.
func Open(ctx context.Context, s *store.Store, cfg Config) (*Events, error) {
	if cfg.MaxAge == 0 {
		cfg.MaxAge = defaultAge
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	records, err := store.OpenLog(ctx, s, "event", store.LogConfig{Tokens: 3, MaxAge: cfg.MaxAge, MaxBytes: cfg.MaxBytes})
	if err != nil {
		return nil, err
	}
	kept, err := store.OpenLog(ctx, s, "state", store.LogConfig{Tokens: 3, PerKey: 1})
	if err != nil {
		return nil, err
	}
	blocks, err := openBlocks(ctx, s, cfg)
	if err != nil {
		return nil, err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	e := &Events{
		cfg: cfg, records: records, kept: kept, blocks: blocks, log: cfg.Log,
		slots: semaphore.NewWeighted(maxAppends), feed: newFeed(), life: run, stop: stop,
	}
	e.tasks.Go(func() { _ = s.Lead(run, "retention", e.keep) }) // until run ends
	e.tasks.Go(func() { e.makeBlocks(run) })
	e.tasks.Go(func() {
		defer stop() // nobody is to wait for events that will not come
		err := e.feed.run(run, e)
		e.log.Debug("no more events", "err", err)
	})
	return e, nil
}

// Close ends what Open started. The store stays open.
func (e *Events) Close() {
	e.stop()
	e.tasks.Wait()
}

// Append stores ev and returns it with its Seq, and Time if that was zero,
// when it is durable. While many appends are under way it waits, which is to
// slow down the device: the caller must not queue.
//
// The error is store.ErrUnavailable, store.ErrTooLarge, or ctx's.
func (e *Events) Append(ctx context.Context, ev Event) (Event, error) {
	one := [1]Event{ev}
	if errs := e.AppendAll(ctx, one[:]); errs != nil {
		return one[0], errs[0]
	}
	return one[0], nil
}

// AppendAll is Append for several events, which are stored in this order with
// less effort than one by one. Their Seq and Time are set. For those that could
// not be stored, errs has an error at their place; it is nil if there is none.
func (e *Events) AppendAll(ctx context.Context, events []Event) (errs []error) {
	if len(events) == 0 {
		return nil
	}
	failed := func(i int, err error) {
		if errs == nil {
			errs = make([]error, len(events))
		}
		errs[i] = err
	}
	n := min(int64(len(events)), maxAppends)
	if err := e.slots.Acquire(ctx, n); err != nil {
		return slices.Repeat([]error{err}, len(events))
	}
	defer e.slots.Release(n)
	a := appendings.Get().(*appending)
	defer a.recycle()
	keys := make([]string, 0, 3*len(events)) // the store keeps them
	for i := range events {
		ev := &events[i]
		if data, err := e.record(ctx, ev); err != nil {
			failed(i, err)
		} else {
			keys = append(keys, ev.Account, ev.Device, ev.Href)
			a.records, a.at = append(a.records, store.Record{Key: keys[len(keys)-3 : len(keys) : len(keys)], Data: data}), append(a.at, i)
		}
	}
	for i, err := range e.records.AppendAll(ctx, a.records) {
		if err != nil {
			failed(a.at[i], err)
		}
	}
	for i, r := range a.records {
		ev := &events[a.at[i]]
		ev.Seq = r.Seq
		e.appended.raise(r.Seq)
		if r.Seq > 0 {
			e.lasts.heard(ev, true)
		}
	}
	e.blocks.count(events)
	return errs
}

// appending is one AppendAll. They are used again: this is where the events of
// all devices pass.
type appending struct {
	records []store.Record
	at      []int // their places among the events
}

var appendings = sync.Pool{New: func() any { return new(appending) }}

func (a *appending) recycle() {
	clear(a.records)
	a.records, a.at = a.records[:0], a.at[:0]
	appendings.Put(a)
}

// record is ev as it is stored, without its key. It sets the times, that of
// receipt if that is zero.
func (e *Events) record(ctx context.Context, ev *Event) ([]byte, error) {
	if err := check(ev.Account, ev.Device, ev.Href); err != nil {
		return nil, err
	}
	if ev.Time.IsZero() {
		ev.Time = time.Now()
	}
	ev.Time = ev.Time.Round(0).UTC()
	ev.DeviceTime, ev.Late = deviceTime(ev.Format, ev.Body, ev.Time), false
	if !ev.DeviceTime.IsZero() {
		ev.Late = ev.DeviceTime.Before(e.newestOf(ctx, ev))
	}
	return appendRecord(nil, ev), nil
}

// newestOf is the greatest device time of ev's resource that is known before
// ev, and takes note of that of ev.
func (e *Events) newestOf(ctx context.Context, ev *Event) time.Time {
	k := resource(ev)
	t := e.newest.get(k)
	if t.IsZero() { // not heard of since the start
		if last, err := e.Last(ctx, ev.Account, ev.Device, ev.Href); err == nil {
			t = last.DeviceTime
			e.newest.raise(k, t)
		}
	}
	e.newest.raise(k, ev.DeviceTime)
	return t
}

// maximum is the greatest number it was raised to.
type maximum struct{ atomic.Uint64 }

func (m *maximum) raise(n uint64) {
	for {
		now := m.Load()
		if n <= now || m.CompareAndSwap(now, n) {
			return
		}
	}
}

// Purge removes all events of a device of the account. What the device reports
// while Purge runs may remain: end its session first.
func (e *Events) Purge(ctx context.Context, account, device string) error {
	if device == "" {
		return errors.New("purge events: no device given")
	}
	prefix, err := Filter{Account: account, Device: device}.prefix()
	if err != nil {
		return err
	}
	defer e.lasts.forget(account, device)
	return errors.Join(e.records.Purge(ctx, prefix), e.kept.Purge(ctx, prefix), e.blocks.Purge(ctx, prefix))
}

// parsed makes a reader of records of a reader of events. A record that cannot
// be read is reported and left out.
func (e *Events) parsed(each func(Event) bool) func(store.Record) bool {
	return func(r store.Record) bool {
		ev, err := parseRecord(r)
		if err != nil {
			e.broken(r, err)
			return true
		}
		return each(ev)
	}
}

func (e *Events) broken(r store.Record, err error) {
	e.log.Error("event is unreadable and left out", "seq", r.Seq, "err", err)
}

// prefix is the first tokens of the keys that f selects.
func (f Filter) prefix() ([]string, error) {
	if err := check(f.Account, f.Device+"x", f.Href+"x"); err != nil {
		return nil, err
	}
	switch {
	case f.Device == "" && f.Href == "":
		return []string{f.Account}, nil
	case f.Href == "":
		return []string{f.Account, f.Device}, nil
	case f.Device == "":
		return []string{f.Account, store.Any, f.Href}, nil
	}
	return []string{f.Account, f.Device, f.Href}, nil
}

// check refuses what cannot be a part of an event's key.
func check(account, device, href string) error {
	if account == "" || device == "" || href == "" {
		return fmt.Errorf("event: account %q, device %q or href %q is missing", account, device, href)
	}
	if strings.Contains(account, "\x00") || strings.Contains(device, "\x00") || strings.Contains(href, "\x00") {
		return oic.Errorf(oic.BadRequest, "a NUL character in a name")
	}
	return nil
}
