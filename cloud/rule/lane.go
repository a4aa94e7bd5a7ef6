package rule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/internal/tracing"
	"github.com/farreach/farreach/store"
)

const (
	maxWaiting = 256              // firings of an account that are not done yet; the oldest go first
	insist     = 30 * time.Second // how long a store that is away is waited for
)

// SayDevice is what the events of messages have in the place of a device: this
// and the name of the rule. SayHref is their resource.
const (
	SayDevice = "rule:"
	SayHref   = "/message"
)

// saidByRule reports whether ev is a message: rules do not wait for those.
func saidByRule(ev *Event) bool { return strings.HasPrefix(ev.Device, SayDevice) }

// lane is the firings of one rule: they are made in the order in which they
// came, and then done one after the other.
type lane struct {
	key    ruleKey
	fired  []*job // to be made
	ready  []*job // made, to be done
	making bool   // a goroutine is at fired
	busy   bool   // one is at ready
	newest uint64 // record of this rule in the log of runs
	looked bool   // newest is known
}

// job is a firing on its way.
type job struct {
	*Firing
	made chan struct{} // closed when it is in the log, or dropped
	seq  uint64        // in the log; 0: it is not there

	// When it was put into the log. Zero: it was there before, and some of it may
	// be done.
	begun time.Time
}

// young is for how long after a firing was made nobody else can have done any of
// it: a second at least is between two workers (store.Store.Lead).
const young = time.Second

// recall reads the firings of which it is not known that they were done.
func (w *worker) recall(ctx context.Context, done uint64) error {
	made := make(chan struct{})
	close(made)
	return w.runs.Read(ctx, store.Start{Seq: done + 1}, nil, func(rec store.Record) bool {
		w.newest = max(w.newest, rec.Seq)
		f := new(Firing)
		if err := json.Unmarshal(rec.Data, f); err != nil || len(rec.Key) != 2 {
			w.cfg.Log.Error("rules: a firing is unreadable and left out", "seq", rec.Seq, "err", err)
			return true
		}
		w.made[f.ID] = rec.Seq
		l := w.lane(ruleKey{rec.Key[0], rec.Key[1]})
		l.newest, l.looked = rec.Seq, true
		if f.Kind == Fired {
			l.ready = append(l.ready, &job{Firing: f, made: made, seq: rec.Seq})
			w.doing[rec.Seq] = true
			w.index.house(f.Account).waiting++
		}
		return true
	})
}

// lane returns that of a rule. w is locked.
func (w *worker) lane(key ruleKey) *lane {
	l := w.lanes[key]
	if l == nil {
		l = &lane{key: key}
		w.lanes[key] = l
	}
	return l
}

// fired takes a firing that a has just had. w is locked.
func (w *worker) fired(a *armed, f *Firing) {
	if _, again := w.made[f.ID]; again { // before a crash
		delete(w.made, f.ID)
		return
	}
	if now := w.rules.Get(a.key.String()); now == nil || now.Revision != a.Revision {
		return // it has been changed a moment ago
	}
	w.resolve(f)
	l := w.lane(a.key)
	h := w.index.house(f.Account)
	if h.waiting++; h.waiting > maxWaiting {
		w.drop(f.Account)
	}
	j := &job{Firing: f, made: make(chan struct{})}
	l.fired = append(l.fired, j)
	w.unmade[j] = true
	w.move(l)
}

// drop drops the oldest firing of an account that waits. w is locked.
func (w *worker) drop(account string) {
	var oldest *job
	var from *[]*job
	at := 0
	for key, l := range w.lanes {
		if key.account != account {
			continue
		}
		for _, q := range []struct {
			list *[]*job
			busy bool
		}{{&l.fired, l.making}, {&l.ready, l.busy}} {
			first := 0
			if q.busy {
				first = 1
			}
			if len(*q.list) > first && (oldest == nil || (*q.list)[first].Time.Before(oldest.Time)) {
				oldest, from, at = (*q.list)[first], q.list, first
			}
		}
	}
	if oldest == nil {
		return
	}
	*from = append((*from)[:at:at], (*from)[at+1:]...)
	if oldest.seq == 0 {
		delete(w.unmade, oldest)
		close(oldest.made)
	}
	w.over(oldest)
	if a := w.armed[ruleKey{account, oldest.Rule}]; a != nil {
		a.state.Dropped++
		a.state.Problem, a.dirty = fmt.Sprintf("more than %d firings waited", maxWaiting), true
	}
}

// over notes that nothing is left to be done of j. w is locked.
func (w *worker) over(j *job) {
	delete(w.doing, j.seq)
	w.index.house(j.Account).waiting--
	w.index.leave(j.Account)
}

// move sees to it that somebody is at what l has. w is locked.
func (w *worker) move(l *lane) {
	if w.tasks == nil { // still being restored: run moves all lanes after that
		return
	}
	if len(l.fired) > 0 && !l.making {
		l.making = true
		w.tasks.Go(func() error { return w.makeAll(l) })
	}
	if len(l.ready) > 0 && !l.busy {
		l.busy = true
		w.tasks.Go(func() error { return w.doAll(l) })
	}
	if !l.making && !l.busy && w.armed[l.key] == nil {
		delete(w.lanes, l.key)
	}
}

// makeAll makes the firings of l, until there is none.
func (w *worker) makeAll(l *lane) error {
	for {
		w.mu.Lock()
		if len(l.fired) == 0 {
			l.making = false
			w.move(l)
			w.mu.Unlock()
			return nil
		}
		j := l.fired[0]
		w.mu.Unlock()
		begun := time.Now()
		seq, old, err := w.make(w.life, l, j.Firing)
		if err != nil {
			return err // what is not made is stepped again
		}
		w.mu.Lock()
		l.fired, l.newest = l.fired[1:], seq
		if !old {
			j.begun = begun
		}
		j.seq, w.newest = seq, max(w.newest, seq)
		delete(w.unmade, j)
		close(j.made)
		if j.Kind == Fired {
			l.ready = append(l.ready, j)
			w.doing[seq] = true
		} else {
			w.over(j)
		}
		w.move(l)
		w.mu.Unlock()
	}
}

// make puts a firing into the log of runs, unless it is there: then it is old.
func (w *worker) make(ctx context.Context, l *lane, f *Firing) (seq uint64, old bool, err error) {
	data, err := json.Marshal(f)
	if err != nil {
		return 0, false, err
	}
	for wait := again; ; {
		if !l.looked {
			if seq, err = w.look(ctx, l, f); err != nil || seq != 0 {
				return seq, true, err
			}
		}
		seq, err = w.runs.AppendAfter(ctx, l.key.tokens(), data, l.newest)
		switch {
		case err == nil:
			return seq, false, nil
		case ctx.Err() != nil:
			return 0, false, ctx.Err()
		case errors.Is(err, store.ErrTooLarge):
			return 0, false, err
		case errors.Is(err, store.ErrConflict):
			if seq, err = w.look(ctx, l, f); err == nil && seq == 0 {
				err = errOvertaken
			}
			return seq, true, err
		}
		l.looked = false // it may have been written
		if err := backoff.Sleep(ctx, wait.Next()); err != nil {
			return 0, false, err
		}
	}
}

// again is how long to wait while the store is away.
var again = backoff.Backoff{Base: 10 * time.Millisecond, Max: time.Second}

// look finds the newest firing of a rule in the log, and returns its sequence
// if it is f.
func (w *worker) look(ctx context.Context, l *lane, f *Firing) (uint64, error) {
	for wait := again; ; {
		rec, err := w.runs.Last(ctx, l.key.tokens())
		switch {
		case errors.Is(err, store.ErrNotFound):
			l.newest, l.looked = 0, true
			return 0, nil
		case err == nil:
			l.newest, l.looked = rec.Seq, true
			newest := new(Firing)
			if json.Unmarshal(rec.Data, newest) == nil && newest.ID == f.ID {
				return rec.Seq, nil
			}
			return 0, nil
		}
		if err := backoff.Sleep(ctx, wait.Next()); err != nil {
			return 0, err
		}
	}
}

// doAll does the firings of l that are made, until there is none.
func (w *worker) doAll(l *lane) error {
	for {
		w.mu.Lock()
		if len(l.ready) == 0 {
			l.busy = false
			w.move(l)
			w.mu.Unlock()
			return nil
		}
		j := l.ready[0]
		w.mu.Unlock()
		if rule := w.rules.Get(l.key.String()); rule != nil && !rule.Disabled {
			w.do(j)
		}
		if w.life.Err() != nil {
			return w.life.Err() // it is done the next time
		}
		w.mu.Lock()
		l.ready = l.ready[1:]
		w.over(j)
		w.mu.Unlock()
	}
}

// tell says in a span what fired, and on what.
func (f *Firing) tell(span *tracing.Span) {
	span.Text("farreach.rule.id", f.Rule)
	span.Text("farreach.rule.run", f.ID)
	span.Int("farreach.rule.revision", int64(f.Revision))
	span.Text("farreach.account", f.Account)
	span.Int("farreach.event.seq", int64(f.Cause.Event))
	span.Text("farreach.device.id", f.Cause.Device)
	span.At("caused", f.Cause.Time)
}

// do does what a firing says, in order. What fails is no reason to leave out
// the rest; how it failed is kept with the command.
func (w *worker) do(j *job) {
	ctx, span := w.cfg.Tracer.StartAfter(w.life, j.Cause.Event, "rule")
	defer span.End()
	j.tell(span)
	for i := range j.Do {
		p := &j.Do[i]
		if p.Problem != "" {
			continue
		}
		act := w.World().Command
		switch {
		case p.Webhook != "":
			act = w.World().Tell
		case p.Command == nil:
			act = w.World().Say
		}
		limit, wait := time.Now().Add(insist), again
		for tries := 0; ; tries++ {
			err := act(ctx, j.Firing, i, p, tries > 0 || time.Since(j.begun) > young)
			if err == nil || w.life.Err() != nil || !errors.Is(err, store.ErrUnavailable) || time.Now().After(limit) {
				if err != nil {
					w.cfg.Log.Debug("rules: an action failed", "account", j.Account, "rule", j.Name, "run", j.ID, "action", i, "err", err)
				}
				break
			}
			_ = backoff.Sleep(w.life, wait.Next()) // its end is seen above
		}
	}
}
