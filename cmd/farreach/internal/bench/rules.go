package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/farreach/farreach/cloud"
	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/cloud/rule"
	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// The aims of the rules, and what is measured.
const (
	aimEvaluation = 2.0     // µs
	aimReaction   = 5.0     // ms, p99
	aimReplay     = 200_000 // events/s: a million in 5 s

	rulesOf     = 100   // an account
	eventsPerS  = 5_000 // while reactions are measured
	reporters   = 200   // devices that share them
	replayed    = 200_000
	fullPower   = 1_000_000 // makes a rule fire
	evaluations = 200_000
)

// RunRules measures what rules do, in a server of its own.
func RunRules(ctx context.Context, cfg Config) (_ *Report, err error) {
	r := &run{Config: cfg}
	r.For = cmp.Or(r.For, defaultFor)
	if r.Progress == nil {
		r.Progress = func(string, ...any) {}
	}
	start := time.Now()
	r.report = Report{
		Schema: "farreach.bench/v1", Time: start.UTC().Round(time.Second), Go: runtime.Version(),
		System: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU(), Devices: reporters, Missed: []string{}, Notes: []string{},
	}
	if r.dir, err = os.MkdirTemp("", "farreach-bench-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.dir)) }()
	for _, step := range []func(context.Context) error{r.evaluation, r.reactions, func(ctx context.Context) error { return r.replay(ctx, replayed) }} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(ctx.Err(), err)
		}
	}
	r.report.Seconds = time.Since(start).Round(10 * time.Millisecond).Seconds()
	return &r.report, nil
}

// evaluation measures one condition about one event, as it came.
func (r *run) evaluation(context.Context) error {
	c, err := rule.Compile("event.power > 1000000")
	if err != nil {
		return err
	}
	body := state(1)
	start := time.Now()
	for range evaluations {
		ev := rule.Event{Device: "meter", Href: meterLink.Href, Format: oic.OCF, Body: body}
		if ok, err := c.Holds(&ev); ok || err != nil {
			return fmt.Errorf("evaluation: %v, %w", ok, err)
		}
	}
	each := time.Since(start) / evaluations
	r.add(Figure{Name: "evaluation", What: "a condition about an event, decoded and evaluated", Unit: "µs", Aim: aimEvaluation, AtMost: true,
		Measured: float64(each.Nanoseconds()) / 1e3, Note: c.Text})
	return nil
}

// trigger is a meter whose reports make a rule fire, which commands it.
type trigger struct {
	*meter
	fired atomic.Int64 // when it reported what makes the rule fire; 0: it was commanded since

	mu   sync.Mutex // guards took
	took []time.Duration
}

// Handle implements oic.Handler.
func (t *trigger) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	if since := t.fired.Swap(0); req.Op == oic.Update && since != 0 {
		t.mu.Lock()
		t.took = append(t.took, time.Duration(time.Now().UnixNano()-since))
		t.mu.Unlock()
	}
	return t.meter.Handle(ctx, req)
}

// reactions measures how long it is from what a device reports until the
// command of a rule is with a device, while many devices report.
func (r *run) reactions(ctx context.Context) error {
	s, err := r.up(ctx, "rules")
	if err != nil {
		return err
	}
	defer s.stop()
	api := s.api()
	defer api.Close()
	r.Progress("%d devices and %d rules", reporters, rulesOf)
	triggers := make([]*trigger, reporters)
	defer func() {
		for _, t := range triggers {
			if t != nil && t.link != nil {
				t.link.Close()
			}
		}
	}()
	err = each(ctx, reporters, func(ctx context.Context, i int) error {
		triggers[i] = &trigger{meter: newMeter()}
		return triggers[i].join(ctx, s, api, triggers[i])
	})
	if err != nil {
		return fmt.Errorf("sign up: %w", err)
	}
	for i := range rulesOf {
		if err := addReaction(ctx, api, triggers[i].id, i); err != nil {
			return err
		}
	}
	return r.react(ctx, triggers)
}

func addReaction(ctx context.Context, api *apiclient.Client, di string, i int) error {
	_, err := api.AddRule(ctx, rule.Document{
		Name: fmt.Sprint("rule ", i),
		When: rule.When{Event: &rule.Trigger{Device: di, Href: meterLink.Href, If: fmt.Sprintf("event.power >= %d", fullPower)}},
		Then: []rule.Action{{Command: &rule.Order{Device: di, Href: meterLink.Href, Set: []byte(`{"power":0}`)}}},
	})
	return err
}

// react has the devices report, each at its share of the rate and in a moment of
// its own. Half of them have a rule, which they make fire about once a second.
func (r *run) react(ctx context.Context, triggers []*trigger) error {
	r.Progress("%d events/s; each rule is made to fire once a second: by %.1f %% of the events", eventsPerS, 100.*rulesOf/eventsPerS)
	every := time.Second * reporters / eventsPerS
	drive, stop := context.WithTimeout(ctx, max(r.For, time.Second))
	defer stop()
	var sent, fired atomic.Int64
	var all sync.WaitGroup
	start := time.Now()
	for i, t := range triggers {
		all.Go(func() {
			if pause(drive, every*time.Duration(i)/reporters) != nil {
				return
			}
			tick := time.NewTicker(every)
			defer tick.Stop()
			for n := i; ; n++ {
				select {
				case <-drive.Done():
					return
				case <-tick.C:
				}
				power := uint32(n % 1000)
				if i < rulesOf && n%int(time.Second/every) == 0 && t.fired.CompareAndSwap(0, time.Now().UnixNano()) {
					power = fullPower
					fired.Add(1)
				}
				t.tell(&oic.Response{Status: oic.Content, Format: oic.OCF, Body: state(power)})
				sent.Add(1)
			}
		})
	}
	all.Wait()
	took := time.Since(start)
	awaitCommands(ctx, triggers)
	var reactions []time.Duration
	for _, t := range triggers {
		t.mu.Lock()
		reactions = append(reactions, t.took...)
		t.mu.Unlock()
	}
	if len(reactions) == 0 {
		return errors.New("no rule fired")
	}
	r.add(Figure{Name: "reaction", What: "event to command at the device, p99", Unit: "ms", Aim: aimReaction, AtMost: true,
		Measured: millis(quantile(reactions, 0.99)),
		Note: fmt.Sprintf("median %.2f ms, %d of %d firings, by %.1f %% of %.0f events/s, %d rules", millis(quantile(reactions, 0.5)),
			len(reactions), fired.Load(), 100*float64(fired.Load())/float64(sent.Load()), float64(sent.Load())/took.Seconds(), rulesOf)})
	return nil
}

// awaitCommands waits until what was fired has come, or no more comes.
func awaitCommands(ctx context.Context, triggers []*trigger) {
	end := time.Now().Add(2 * time.Second)
	for time.Now().Before(end) && ctx.Err() == nil {
		left := 0
		for _, t := range triggers {
			if t.fired.Load() != 0 {
				left++
			}
		}
		if left == 0 {
			return
		}
		<-time.After(5 * time.Millisecond)
	}
}

// replay measures a rule over the past, of so many events.
func (r *run) replay(ctx context.Context, events int) error {
	r.Progress("a rule over %d events of the past", events)
	quiet := slog.New(slog.DiscardHandler)
	s, err := store.Open(ctx, store.Config{Dir: filepath.Join(r.dir, "past"), Sync: time.Minute, Log: quiet})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := remember(ctx, s, events); err != nil {
		return err
	}
	c, err := cloud.Open(ctx, cloud.Config{Store: s, Log: quiet})
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.CreateAccount(ctx, oic.Identity{Admin: true}, pastAccount, "correct horse battery", false); err != nil {
		return err
	}
	d := rule.Document{
		Name: "past", When: rule.When{Event: &rule.Trigger{Href: meterLink.Href, If: fmt.Sprintf("event.power >= %d", fullPower)}},
		Then: []rule.Action{{Message: &rule.Message{Text: "m"}}}, Limits: rule.Limits{CoolDown: rule.Duration(time.Minute)},
	}
	start, fired := time.Now(), 0
	n, err := c.TestRule(ctx, oic.Identity{Account: pastAccount}, d, start.Add(-7*24*time.Hour), start, func(*rule.Firing) bool { fired++; return true })
	if err != nil || n != events {
		return fmt.Errorf("replay: %d of %d events: %w", n, events, err)
	}
	took := time.Since(start).Seconds()
	r.add(Figure{Name: "replay", What: "a rule over the past", Unit: "events/s", Aim: aimReplay, Measured: float64(n) / took,
		Note: fmt.Sprintf("%d events of 100 devices in %.2f s, would have fired %d times", n, took, fired)})
	return nil
}

const pastAccount = "past"

// remember makes a past of six days.
func remember(ctx context.Context, s *store.Store, events int) error {
	log, err := event.Open(ctx, s, event.Config{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer log.Close()
	const days = 6 * 24 * time.Hour
	begin, step := time.Now().Add(-days), days/time.Duration(events)
	some := make([]event.Event, 0, 1000)
	for i := range events {
		power := uint32(i % 1000)
		if i%5000 < 100 {
			power = fullPower
		}
		some = append(some, event.Event{Account: pastAccount, Device: fmt.Sprintf("meter-%02d", i%100), Href: meterLink.Href,
			Format: oic.OCF, Body: state(power), Time: begin.Add(time.Duration(i) * step)})
		if len(some) == cap(some) || i == events-1 {
			if errs := log.AppendAll(ctx, some); errs != nil {
				return errors.Join(errs...)
			}
			some = some[:0]
		}
	}
	return nil
}
