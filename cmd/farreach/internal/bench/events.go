package bench

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// EventsConfig says what RunEvents measures. Only Program has no default.
type EventsConfig struct {
	Program     string
	Devices     int                              // that report; 0: 1,000, the most of an account
	Rules       int                              // that look at what they report; 0: 100, the most of an account
	Subscribers int                              // that follow the events of one device each; 0: 500
	Stored      int                              // devices that have reported; 0: 10,000
	History     int                              // events of each of those; 0: 30
	Replay      int                              // events over which a rule is tried; 0: 500,000
	For         time.Duration                    // of each measurement under load; 0: 2 s
	Progress    func(format string, args ...any) // is told what begins; nil: nobody is
}

// The aims of RunEvents, beside aimEvents.
const (
	aimKept    = 50  // ms
	aimHistory = 400 // MiB
)

// pacedRate is how many events a second each device tells while subscribers
// follow.
const pacedRate = 5

// eventsRun is one RunEvents.
type eventsRun struct {
	run
	cfg EventsConfig
}

// RunEvents measures events: how many are kept, while rules look at them and
// while many follow; how much memory many devices with a history take; and how
// fast a rule is tried on the past.
//
//	farreach up ◀── devices that report as fast as they may, rules that look ──▶ events in the log
//	            ◀── devices that report now and then, with and without followers ──▶ until kept
//	a cloud with the history of many devices ──▶ memory
//	a log of the past ──▶ a rule
func RunEvents(ctx context.Context, cfg EventsConfig) (_ *Report, err error) {
	cfg.Devices = min(cmp.Or(cfg.Devices, accountDevices), accountDevices)
	cfg.Rules = cmp.Or(cfg.Rules, 100)
	cfg.Subscribers = min(cmp.Or(cfg.Subscribers, 500), cfg.Devices)
	cfg.Stored = cmp.Or(cfg.Stored, 10_000)
	cfg.History = cmp.Or(cfg.History, 30)
	cfg.Replay = cmp.Or(cfg.Replay, 500_000)
	cfg.For = cmp.Or(cfg.For, defaultFor)
	if cfg.Progress == nil {
		cfg.Progress = func(string, ...any) {}
	}
	r := &eventsRun{run{Config: Config{Program: cfg.Program, Devices: cfg.Devices, For: cfg.For, Progress: cfg.Progress}}, cfg}
	start := time.Now()
	r.report = Report{
		Schema: "farreach.bench-events/v1", Time: start.UTC().Round(time.Second),
		Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU(),
		Devices: cfg.Devices, Missed: []string{}, Notes: []string{},
	}
	if r.dir, err = os.MkdirTemp("", "farreach-bench-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.dir)) }()
	for _, step := range []func(context.Context) error{r.live, r.history, r.past} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(ctx.Err(), err)
		}
	}
	r.report.Seconds = time.Since(start).Round(10 * time.Millisecond).Seconds()
	return &r.report, nil
}

// live measures a server with devices that report.
func (r *eventsRun) live(ctx context.Context) error {
	s, err := r.up(ctx, "events")
	if err != nil {
		return err
	}
	defer s.stop()
	api := s.api()
	defer api.Close()
	r.Progress("%d devices sign up", r.Devices)
	meters := make([]*meter, r.Devices)
	defer func() {
		for _, m := range meters {
			if m != nil {
				m.link.Close()
			}
		}
	}()
	err = each(ctx, r.Devices, func(ctx context.Context, i int) (err error) {
		meters[i], err = join(ctx, s, api)
		return err
	})
	if err != nil {
		return fmt.Errorf("sign up: %w", err)
	}
	if err := r.follow(ctx, s, api, meters); err != nil {
		return fmt.Errorf("subscribers: %w", err)
	}
	for i := range r.cfg.Rules {
		if err := addRule(ctx, s, i, meters[i%len(meters)]); err != nil {
			return fmt.Errorf("rule: %w", err)
		}
	}
	f := Figure{Name: "events-rules", What: fmt.Sprintf("device to log, durable, %d rules", r.cfg.Rules), Unit: "events/s", Aim: aimEvents}
	return r.events(ctx, s, api, meters, f)
}

// addRule makes a rule that looks at every event of a meter.
func addRule(ctx context.Context, s *server, i int, m *meter) error {
	body, err := json.Marshal(map[string]any{
		"name": fmt.Sprint("rule-", i),
		"when": map[string]any{"event": map[string]any{"device": m.id, "href": meterLink.Href, "if": "event.power > 4000000000.0"}},
		"then": []any{map[string]any{"message": map[string]any{"text": "too much"}}},
	})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.where.HTTP+"/api/v1/rules", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+s.token.Reveal())
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		var why bytes.Buffer
		_, _ = why.ReadFrom(resp.Body) // says more, if it can be read
		return fmt.Errorf("%s: %s", resp.Status, why.String())
	}
	return nil
}

// follow measures how long an event takes until it is kept, without anybody who
// follows, and with many.
func (r *eventsRun) follow(ctx context.Context, s *server, api *apiclient.Client, meters []*meter) error {
	r.Progress("%d devices report %d events/s each", len(meters), pacedRate)
	_, before, alone := r.paced(ctx, meters)
	stop, seen, err := r.subscribe(ctx, s, api, meters)
	if err != nil {
		return err
	}
	defer stop()
	r.Progress("the same, while %d follow", r.cfg.Subscribers)
	sent, rate, with := r.paced(ctx, meters)
	want := int64(sent * r.cfg.Subscribers / len(meters))
	for end := time.Now().Add(patience); seen.Load() < want && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	r.add(Figure{Name: "followed", What: fmt.Sprintf("event kept, p99, %d streams", r.cfg.Subscribers), Unit: "ms", Aim: aimKept, AtMost: true,
		Measured: millis(quantile(with, 0.99)),
		Note: fmt.Sprintf("median %.2f ms, %.0f events/s; without streams p99 %.2f, median %.2f ms, %.0f events/s; the streams got %d of %d events",
			millis(quantile(with, 0.5)), rate, millis(quantile(alone, 0.99)), millis(quantile(alone, 0.5)), before, min(seen.Load(), want), want)})
	return nil
}

// paced has all devices report now and then, and says how many events that were,
// also in a second, and how long each took until it was kept.
func (r *eventsRun) paced(ctx context.Context, meters []*meter) (sent int, rate float64, took []time.Duration) {
	var mu sync.Mutex
	var all sync.WaitGroup
	rounds := max(int(r.For.Seconds()*pacedRate), 1)
	const pause = time.Second / pacedRate
	begin := time.Now()
	for i, m := range meters {
		first := begin.Add(pause * time.Duration(i) / time.Duration(len(meters)))
		all.Go(func() {
			for n := range rounds {
				select {
				case <-time.After(time.Until(first.Add(time.Duration(n) * pause))):
				case <-ctx.Done():
					return
				}
				start := time.Now()
				m.tell(&oic.Response{Status: oic.Content, Format: oic.OCF, Body: state(uint32(start.UnixMilli()))})
				if m.link.Kept(ctx) != nil {
					return
				}
				mu.Lock()
				took = append(took, time.Since(start))
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return len(took), float64(len(took)) / time.Since(begin).Seconds(), took
}

// streamsOfAccount is how many streams of events an account may have.
const streamsOfAccount = 200

// subscribe begins to follow one device each: by our account, and by others with
// which it is shared. seen is how many events came.
func (r *eventsRun) subscribe(ctx context.Context, s *server, api *apiclient.Client, meters []*meter) (stop func(), seen *atomic.Int64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	stop = func() { cancel(); all.Wait() }
	seen = new(atomic.Int64)
	who := api
	for i := range r.cfg.Subscribers {
		if i > 0 && i%streamsOfAccount == 0 {
			if who, err = friend(ctx, s, api, fmt.Sprint("friend-", i/streamsOfAccount)); err != nil {
				stop()
				return nil, nil, err
			}
			all.Go(func() { <-ctx.Done(); who.Close() })
		}
		from := who
		all.Go(func() {
			err := from.Follow(ctx, apiclient.Filter{Device: meters[i].id, Href: meterLink.Href}, 0, func(apiclient.Event) error {
				seen.Add(1)
				return nil
			})
			if ctx.Err() == nil {
				r.Progress("a stream ended: %v", err)
			}
		})
	}
	select {
	case <-time.After(2 * time.Second): // to begin
	case <-ctx.Done():
	}
	return stop, seen, nil
}

// friend makes an account with which all our devices are shared.
func friend(ctx context.Context, s *server, api *apiclient.Client, name string) (*apiclient.Client, error) {
	const password = secret.String("a long password")
	if err := api.AddAccount(ctx, name, password, false); err != nil {
		return nil, err
	}
	share, err := api.Share(ctx, "", name, "viewer")
	if err != nil {
		return nil, err
	}
	base := "http://" + s.where.HTTP
	in := apiclient.New(apiclient.Config{Base: base, Account: name, Password: password, Timeout: patience})
	defer in.Close()
	token, err := in.AddToken(ctx, "bench", "admin", time.Hour)
	if err != nil {
		return nil, err
	}
	who := apiclient.New(apiclient.Config{Base: base, Token: token.Secret, Timeout: patience})
	if _, err := who.AcceptShare(ctx, share.ID); err != nil {
		who.Close()
		return nil, err
	}
	return who, nil
}

// history measures the memory of a cloud with the history of many devices.
func (r *eventsRun) history(ctx context.Context) error {
	r.Progress("%d devices with %d events each", r.cfg.Stored, r.cfg.History)
	p, err := json.Marshal(past{filepath.Join(r.dir, "history"), r.cfg.Stored, r.cfg.History})
	if err != nil {
		return err
	}
	start := time.Now()
	c, err := r.start(ctx, kindHistory, string(p))
	if err != nil {
		return err
	}
	defer c.stop()
	took := time.Since(start)
	n, err := c.ask(askMemory)
	if err != nil {
		return err
	}
	r.add(Figure{Name: "history-memory", What: fmt.Sprintf("%d devices with history", r.cfg.Stored), Unit: "MiB resident", Aim: aimHistory, AtMost: true,
		Measured: float64(n) / (1 << 20), Note: fmt.Sprintf("%s events, made in %.1f s", c.addr, took.Seconds())})
	return nil
}

// past measures a rule over the past.
func (r *eventsRun) past(ctx context.Context) error { return r.replay(ctx, r.cfg.Replay) }
