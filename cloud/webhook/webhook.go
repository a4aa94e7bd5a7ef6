// Package webhook asks and tells programs of an account's owner: the targets
// that are registered, and signed requests to them.
//
//	device ── POST /svc/diagnosis ──▶ cloud ── Call ─────────────┐
//	                                                             ├─▶ dial, if the address may be dialled ──▶ https://…
//	rule fires ──▶ cloud ── Enqueue ──▶ log ──▶ courier, in order┘     JSON, webhook-signature ◀── JSON
//	                          ▲                    │
//	                          └── delivered, given up
//
// Somebody waits for the answer of a Call. What is told in passing is a
// delivery: it is in the store before Enqueue returns, and is told again until
// the target has taken it, each time with the same id; see courier.go.
//
// An address is looked at when it is dialled, after the name was resolved, so
// that no name leads inside that did not when it was registered (threats rule
// 20). Redirects are not followed, answers are bounded, and nothing is kept of
// them. A target may also be a subject of the NATS servers that the store is
// on; see subject.go.
package webhook

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/internal/tracing"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

const (
	maxTargets = 10        // of an account
	maxURL     = 2048      // bytes
	maxBody    = 256 << 10 // of a request and of an answer, bytes
	patience   = 10 * time.Second
	secretMark = "whsec_" // what secrets begin with (Standard Webhooks)
)

// Config says how targets are asked. Only Store has no default.
type Config struct {
	Store *store.Store
	Log   *slog.Logger // nil: slog.Default()

	// Private lets targets be at addresses of this machine and its networks: for
	// an operator who knows all who may register one.
	Private bool

	Tracer *tracing.Tracer // nil: nothing is traced
}

// Target is where a webhook goes. Secret is known to both sides.
type Target struct {
	Account string    `json:"account"`
	Name    string    `json:"name"` // letters, digits and dashes, 32 bytes at most
	URL     string    `json:"url"`
	Secret  string    `json:"secret"` // 24 random bytes, as base64
	Created time.Time `json:"created"`
	Hurried time.Time `json:"hurried,omitzero"` // when somebody asked to try again at once
}

func (t *Target) key() string { return store.Key(t.Account, t.Name) }

// Webhooks is the targets of all accounts, and what waits for them. Its methods
// may be called from several goroutines at once. A refusal is an
// *oic.StatusError.
type Webhooks struct {
	cfg     Config
	targets *store.View[Target]
	log     *store.Log             // account, name, id: the deliveries
	states  *store.Table[progress] // by account and name
	client  *http.Client
	again   backoff.Backoff // as it is before the first attempt
	counts  counts
	adding  sync.Mutex // held from the look at how many there are until there is one more

	mu      sync.Mutex // guards what follows
	changed map[string]bool
	wake    chan struct{} // holds one if something has changed
}

// Open reads the targets from the store. Run delivers to them. Close is to be
// called at the end.
func Open(ctx context.Context, cfg Config) (*Webhooks, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	w := &Webhooks{
		cfg: cfg, client: traced(newClient(cfg.Private, nil), cfg.Tracer), again: backoff.Backoff{Base: firstWait, Max: longestWait},
		changed: map[string]bool{}, wake: make(chan struct{}, 1),
	}
	t, err := store.OpenTable[Target](ctx, cfg.Store, "webhooks", 0)
	if err != nil {
		return nil, err
	}
	if w.states, err = store.OpenTable[progress](ctx, cfg.Store, "webhook-state", 0); err != nil {
		return nil, err
	}
	w.log, err = store.OpenLog(ctx, cfg.Store, "webhook-delivery", store.LogConfig{Tokens: 3, PerKey: 1, MaxAge: keptFor})
	if err != nil {
		return nil, err
	}
	if w.targets, err = store.OpenView(ctx, t, func(key string, _, _ *Target) { w.mark(key) }); err != nil {
		return nil, err
	}
	return w, nil
}

// Close ends what Open started. Run must have returned.
func (w *Webhooks) Close() { w.targets.Close() }

// mark notes that a target has changed.
func (w *Webhooks) mark(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changed[key] = true
	w.rouse()
}

// rouse makes the courier look at what there is.
func (w *Webhooks) rouse() {
	select {
	case w.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// take returns the targets that have changed since it was called last.
func (w *Webhooks) take() map[string]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	changed := w.changed
	w.changed = map[string]bool{}
	return changed
}

// names are those that a target may have.
var names = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// Add registers a target of an account and returns the secret with which
// requests to it are signed.
func (w *Webhooks) Add(ctx context.Context, account, name, address string) (Target, error) {
	if !names.MatchString(name) {
		return Target{}, oic.Errorf(oic.BadRequest, "the name of a webhook is lower-case letters, digits and dashes, 32 at most")
	}
	if err := w.checkAddress(account, address); err != nil {
		return Target{}, err
	}
	w.adding.Lock()
	defer w.adding.Unlock()
	if len(w.List(account)) >= maxTargets {
		return Target{}, oic.Errorf(oic.Forbidden, "%d webhooks are all that an account may have", maxTargets)
	}
	t := Target{Account: account, Name: name, URL: address, Secret: newSecret(), Created: time.Now().UTC()}
	err := w.targets.Create(ctx, t.key(), t)
	if errors.Is(err, store.ErrExists) {
		err = oic.Errorf(oic.Conflict, "there is a webhook of this name")
	}
	return t, err
}

// checkAddress refuses where no target can be.
func (w *Webhooks) checkAddress(account, address string) error {
	u, err := url.Parse(address)
	switch {
	case err == nil && u.Scheme == subjectScheme:
		_, err := w.subject(account, address)
		return err
	case err != nil || len(address) > maxURL || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil:
		return oic.Errorf(oic.BadRequest, "a webhook goes to an https:// or http:// URL without a password, or to nats:SUBJECT")
	}
	return nil
}

// List returns the targets of an account, by name.
func (w *Webhooks) List(account string) (list []Target) {
	for _, t := range w.targets.All() {
		if t.Account == account {
			list = append(list, *t)
		}
	}
	slices.SortFunc(list, func(x, y Target) int { return strings.Compare(x.Name, y.Name) })
	return list
}

// Get returns a target. It is a 4.04 if there is none.
func (w *Webhooks) Get(ctx context.Context, account, name string) (Target, error) {
	t, err := w.targets.Fetch(ctx, store.Key(account, name))
	if err != nil {
		return Target{}, err
	}
	if t == nil {
		return Target{}, errNone
	}
	return *t, nil
}

// Has reports whether an account has a target of that name.
func (w *Webhooks) Has(account, name string) bool {
	return w.targets.Get(store.Key(account, name)) != nil
}

// Remove takes a target away, and all that is known of its deliveries. What
// waits for it is not delivered any more.
func (w *Webhooks) Remove(ctx context.Context, account, name string) error {
	t, err := w.Get(ctx, account, name)
	if err != nil {
		return err
	}
	return w.remove(ctx, &t)
}

func (w *Webhooks) remove(ctx context.Context, t *Target) error {
	if err := w.targets.Delete(ctx, t.key()); err != nil {
		return err
	}
	return errors.Join(w.log.Purge(ctx, []string{t.Account, t.Name}), w.states.Delete(ctx, t.key()))
}

// Purge removes all targets of an account, and what is known of them.
func (w *Webhooks) Purge(ctx context.Context, account string) (err error) {
	for _, t := range w.List(account) {
		err = errors.Join(err, w.remove(ctx, &t))
	}
	return err
}

var errNone = oic.Errorf(oic.NotFound, "no such webhook")
