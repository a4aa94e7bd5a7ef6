package rule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/farreach/farreach/internal/tracing"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// What is kept.
const (
	keptRevisions = 20   // of each rule
	keptRuns      = 1000 // of each rule
)

// World is what rules know and do. Its methods are called from several
// goroutines at once.
type World interface {
	// Newest returns the sequence of the newest event.
	Newest(ctx context.Context) (uint64, error)

	// Follow calls each with the events of all accounts from a sequence on, and
	// with each new one, until ctx ends or each returns an error. begun is
	// called before, with where it starts. An event is good until each returns.
	Follow(ctx context.Context, from uint64, begun func(next uint64), each func(*Event) error) error

	// Past calls each with the events of an account and of what is shared with it,
	// oldest first, until it returns false.
	Past(ctx context.Context, q Past, each func(*Event) bool) error

	// States calls each with the newest event of each resource of an account and
	// of what is shared with it.
	States(ctx context.Context, account string, each func(*Event) bool) error

	// Device tells what is known of a device; its ID alone if nothing is.
	Device(di string) Device

	// Named returns the devices of an account with that name or di; if it has none,
	// those shared with it.
	Named(account, name string) []string

	// Guests returns the accounts with which an account shares something.
	Guests(account string) []string

	// MayWait reports whether rules of an account may wait for events of a device,
	// and MayCommand whether they may command it.
	MayWait(account, di string) bool
	MayCommand(account, di string) bool

	// HasWebhook reports whether the account has a webhook of that name.
	HasWebhook(account, name string) bool

	// Hops counts the firings that led to an event.
	Hops(ev *Event) int

	// Command does what planned says, which is the index-th thing that f does,
	// and returns when it is over. It is done once, however often it is called;
	// again says whether it may have been called before.
	Command(ctx context.Context, f *Firing, index int, planned *Planned, again bool) error

	// Say does that for a message.
	Say(ctx context.Context, f *Firing, index int, planned *Planned, again bool) error

	// Tell does that for a webhook, and returns when it is certain that it will
	// be told.
	Tell(ctx context.Context, f *Firing, index int, planned *Planned, again bool) error
}

// Past selects events that have been.
type Past struct {
	Account      string
	Device       string    // di; empty: any
	Href         string    // empty: any
	Since, Until time.Time // zero: no bound
	From, To     uint64    // sequences; 0: no bound
}

// Config says how rules are followed. Store and World have no default.
type Config struct {
	Store *store.Store
	World World
	Log   *slog.Logger // nil: slog.Default()

	Tracer *tracing.Tracer // nil: nothing is traced
}

// Rules are the rules of all accounts. Its methods may be called from several
// goroutines at once. A refusal is an *oic.StatusError.
type Rules struct {
	cfg       Config
	rules     *store.View[Rule]   // by account and id
	revisions *store.Log          // account, id: former revisions
	states    *store.Table[State] // by account, id and revision
	runs      *store.Log          // account, id: the newest firings
	points    *store.Table[point]

	mu      sync.Mutex // guards what follows
	changed map[ruleKey]bool
	wake    chan struct{} // holds one if something is changed
}

// Open reads the rules from the store. Run follows them. Close is to be called
// at the end.
func Open(ctx context.Context, cfg Config) (*Rules, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	r := &Rules{cfg: cfg, changed: map[ruleKey]bool{}, wake: make(chan struct{}, 1)}
	table, err := store.OpenTable[Rule](ctx, cfg.Store, "rule", 0)
	if err == nil {
		r.states, err = store.OpenTable[State](ctx, cfg.Store, "rule-state", 0)
	}
	if err == nil {
		r.points, err = store.OpenTable[point](ctx, cfg.Store, "rule-point", 0)
	}
	if err == nil {
		r.revisions, err = store.OpenLog(ctx, cfg.Store, "rule-revision", store.LogConfig{Tokens: 2, PerKey: keptRevisions})
	}
	if err == nil {
		r.runs, err = store.OpenLog(ctx, cfg.Store, "rule-run", store.LogConfig{Tokens: 2, PerKey: keptRuns})
	}
	if err == nil {
		r.rules, err = store.OpenView(ctx, table, func(key string, _, _ *Rule) { r.mark(key) })
	}
	if err != nil {
		return nil, fmt.Errorf("open rules: %w", err)
	}
	return r, nil
}

// Close ends what Open started. Run must have returned.
func (r *Rules) Close() { r.rules.Close() }

// mark notes that a rule has changed.
func (r *Rules) mark(key string) {
	tokens := store.Tokens(key)
	if len(tokens) != 2 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changed[ruleKey{tokens[0], tokens[1]}] = true
	select {
	case r.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// take returns the rules that have changed since it was called last.
func (r *Rules) take() map[ruleKey]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed := r.changed
	r.changed = map[ruleKey]bool{}
	return changed
}

func (k ruleKey) String() string { return store.Key(k.account, k.id) }

// state is where the state of one revision is kept.
func (k ruleKey) state(revision uint64) string {
	return store.Key(k.account, k.id, fmt.Sprint(revision))
}

func (k ruleKey) tokens() []string { return []string{k.account, k.id} }

var errNoRule = oic.Errorf(oic.NotFound, "no such rule")

// List returns the rules of an account, by name.
func (r *Rules) List(account string) (list []Rule) {
	for key, rule := range r.rules.All() {
		if strings.HasPrefix(key, store.Key(account)+"/") {
			list = append(list, *rule)
		}
	}
	slices.SortFunc(list, func(a, b Rule) int { return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID) })
	return list
}

// Get returns one rule. It is a 4.04 if there is none.
func (r *Rules) Get(ctx context.Context, account, id string) (Rule, error) {
	rule, err := r.rules.Fetch(ctx, ruleKey{account, id}.String())
	if err != nil {
		return Rule{}, err
	}
	if rule == nil {
		return Rule{}, errNoRule
	}
	return *rule, nil
}

// Add makes a rule of an account, which is followed from now on. by is who
// made it.
func (r *Rules) Add(ctx context.Context, account, by string, d Document) (Rule, error) {
	list := r.List(account)
	if len(list) >= maxRules {
		return Rule{}, oic.Errorf(oic.Forbidden, "%d rules are all that an account may have; remove one", maxRules)
	}
	if err := unique(list, "", d.Name); err != nil {
		return Rule{}, err
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	rule := Rule{ID: uuid.NewString(), Account: account, Revision: 1, Created: now, Changed: now, By: by, Document: d}
	if err := r.prepare(ctx, &rule); err != nil {
		return Rule{}, err
	}
	return rule, r.rules.Create(ctx, rule.key().String(), rule)
}

// unique refuses a name that another rule has.
func unique(list []Rule, id, name string) error {
	for _, other := range list {
		if other.Name == name && other.ID != id {
			return oic.Errorf(oic.Conflict, "there is a rule %s already", name)
		}
	}
	return nil
}

// prepare checks a new revision and keeps what is needed to follow it, but
// does not make it the one that is followed.
func (r *Rules) prepare(ctx context.Context, rule *Rule) error {
	p, err := compileRule(rule)
	if err != nil {
		return refusal(err)
	}
	if !rule.Disabled {
		state, err := r.fresh(ctx, p)
		if err != nil {
			return err
		}
		if _, err := r.states.Put(ctx, rule.key().state(rule.Revision), state); err != nil {
			return err
		}
	}
	return nil
}

// refusal is an error of a document as a 4.00.
func refusal(err error) error {
	if e, ok := errors.AsType[*DocumentError](err); ok {
		return oic.Errorf(oic.BadRequest, "%s", e.Error())
	}
	return err
}

// fresh is the state of a rule that begins now.
func (r *Rules) fresh(ctx context.Context, p *program) (State, error) {
	seq, err := r.cfg.World.Newest(ctx)
	if err != nil {
		return State{}, err
	}
	var states []*Event
	if p.condition != nil {
		err = r.cfg.World.States(ctx, p.Account, func(ev *Event) bool {
			ev.about = r.cfg.World.Device(ev.Device)
			if r.concerns(p, ev) {
				states = append(states, ev)
			}
			return len(states) < maxOn
		})
	}
	return fresh(p, seq, time.Now(), states), err
}

// Change replaces a rule by what change makes of its document, if its revision
// is still that given; 0: whichever it is. What is not followed yet of the old
// revision is not done any more. A rule that change leaves as it is stays.
func (r *Rules) Change(ctx context.Context, account, id string, revision uint64, by string, change func(*Document) error) (Rule, error) {
	old, err := r.Get(ctx, account, id)
	if err == nil {
		err = same(&old, revision)
	}
	if err != nil {
		return Rule{}, err
	}
	rule := old
	if err := change(&rule.Document); err != nil {
		return Rule{}, err
	}
	if equal(&rule.Document, &old.Document) {
		return old, nil
	}
	if err := unique(r.List(account), id, rule.Name); err != nil {
		return Rule{}, err
	}
	rule.Revision, rule.Changed, rule.By = old.Revision+1, time.Now().UTC().Truncate(time.Millisecond), by
	if err := r.prepare(ctx, &rule); err != nil {
		return Rule{}, err
	}
	b, err := json.Marshal(old)
	if err == nil {
		_, err = r.revisions.Append(ctx, rule.key().tokens(), b)
	}
	if err != nil {
		return Rule{}, err
	}
	_, err = r.rules.Modify(ctx, rule.key().String(), func(now *Rule) error {
		err := same(now, old.Revision)
		*now = rule
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		err = errNoRule
	}
	if err != nil {
		return Rule{}, err
	}
	return rule, r.states.Delete(ctx, rule.key().state(old.Revision))
}

func same(rule *Rule, revision uint64) error {
	if revision != 0 && rule.Revision != revision {
		return oic.Errorf(oic.PreconditionFailed, "the rule has been changed: revision %d is now %d", revision, rule.Revision)
	}
	return nil
}

func equal(a, b *Document) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && string(x) == string(y)
}

// Remove removes a rule and what is known of its firings, if its revision is
// still that given; 0: whichever it is.
func (r *Rules) Remove(ctx context.Context, account, id string, revision uint64) error {
	rule, err := r.Get(ctx, account, id)
	if err == nil {
		err = same(&rule, revision)
	}
	if err != nil {
		return err
	}
	return r.remove(ctx, &rule)
}

func (r *Rules) remove(ctx context.Context, rule *Rule) error {
	key := rule.key()
	if err := r.rules.Delete(ctx, key.String()); err != nil {
		return err
	}
	return errors.Join(
		r.states.Delete(ctx, key.state(rule.Revision)),
		r.runs.Purge(ctx, key.tokens()), r.revisions.Purge(ctx, key.tokens()),
	)
}

// RemoveAll removes the rules of an account.
func (r *Rules) RemoveAll(ctx context.Context, account string) (err error) {
	for _, rule := range r.List(account) {
		err = errors.Join(err, r.remove(ctx, &rule))
	}
	return err
}

// Revisions returns the newest revisions of a rule, the newest first.
func (r *Rules) Revisions(ctx context.Context, account, id string) (list []Rule, err error) {
	now, err := r.Get(ctx, account, id)
	if err != nil {
		return nil, err
	}
	err = r.revisions.Read(ctx, store.Start{}, now.key().tokens(), func(rec store.Record) bool {
		var rule Rule
		if json.Unmarshal(rec.Data, &rule) == nil && rule.Revision < now.Revision {
			list = append(list, rule)
		}
		return true
	})
	list = append(list, now)
	slices.Reverse(list) // two who changed the same revision have both kept it
	return slices.CompactFunc(list, func(a, b Rule) bool { return a.Revision == b.Revision }), err
}

// State returns what a rule remembers, as it was kept last.
func (r *Rules) State(ctx context.Context, rule *Rule) (State, error) {
	s, _, err := r.states.Get(ctx, rule.key().state(rule.Revision))
	if errors.Is(err, store.ErrNotFound) {
		return State{Revision: rule.Revision}, nil
	}
	return s, err
}

// Runs returns the newest firings of a rule, or with id "" those of all rules
// of the account, limit at most, the newest first.
func (r *Rules) Runs(ctx context.Context, account, id string, limit int) (list []Firing, err error) {
	prefix := []string{account}
	if id != "" {
		if _, err := r.Get(ctx, account, id); err != nil {
			return nil, err
		}
		prefix = append(prefix, id)
	}
	err = r.runs.Newest(ctx, uint64(limit), prefix, func(rec store.Record) bool {
		var f Firing
		if json.Unmarshal(rec.Data, &f) == nil {
			list = append(list, f)
		}
		return true
	})
	slices.Reverse(list)
	return list, err
}

// Replay calls each with the firings that a rule would have had, with the
// events of an account from since until until, and returns how many events it
// looked at. It ends when each returns false. Nothing is done.
func (r *Rules) Replay(ctx context.Context, account string, d Document, since, until time.Time, each func(*Firing) bool) (events int, err error) {
	d.Disabled = false
	p, err := compileRule(&Rule{ID: "test", Account: account, Revision: 1, Document: d})
	if err != nil {
		return 0, refusal(err)
	}
	s := newStepper(p, fresh(p, 0, since, nil))
	more := true
	fire := func(f *Firing) {
		r.resolve(f)
		more = more && each(f)
	}
	if p.schedule == nil {
		devices := map[string]Device{}
		err = r.cfg.World.Past(ctx, r.about(p, since, until), func(ev *Event) bool {
			events++
			about, known := devices[ev.Device]
			if !known {
				about = r.cfg.World.Device(ev.Device)
				devices[ev.Device] = about
			}
			ev.about = about
			if r.concerns(p, ev) {
				s.event(ev, fire)
			}
			return more
		})
	}
	for at := s.due(); more && err == nil && !at.IsZero() && at.Before(until); at = s.due() {
		s.advance(at, fire)
		err = ctx.Err()
	}
	return events, err
}

// about is what of the past a rule has to see.
func (r *Rules) about(p *program, since, until time.Time) Past {
	t := p.When.Event
	q := Past{Account: p.Account, Href: t.Href, Since: since, Until: until}
	if t.Device != "" {
		if all := r.cfg.World.Named(p.Account, t.Device); len(all) == 1 {
			q.Device = all[0]
		}
	}
	return q
}

// resolve finds the devices that the commands of f are for, and sees whether
// its webhooks are there.
func (r *Rules) resolve(f *Firing) {
	for i := range f.Do {
		p := &f.Do[i]
		if p.Webhook != "" && !r.cfg.World.HasWebhook(f.Account, p.Webhook) {
			p.Problem = fmt.Sprintf("no webhook is called %s", p.Webhook)
		}
		if p.Command == nil {
			continue
		}
		switch all := r.cfg.World.Named(f.Account, p.Command.Device); len(all) {
		case 1:
			if p.Device = all[0]; !r.cfg.World.MayCommand(f.Account, p.Device) {
				p.Problem = fmt.Sprintf("not allowed to command %s", p.Command.Device)
			}
		case 0:
			p.Problem = fmt.Sprintf("no device is called %s", p.Command.Device)
		default:
			p.Problem = fmt.Sprintf("%d devices are called %s", len(all), p.Command.Device)
		}
	}
}

// concerns reports whether p waits for ev. One that a guest makes of an event of
// a shared device needs the right to, and a name is that of his own device first.
func (r *Rules) concerns(p *program, ev *Event) bool {
	switch {
	case !p.selects(ev):
		return false
	case ev.Account == p.Account:
		return true
	}
	name := p.When.Event.Device
	return r.cfg.World.MayWait(p.Account, ev.Device) &&
		(name == "" || name == ev.Device || slices.Contains(r.cfg.World.Named(p.Account, name), ev.Device))
}
