// Package cloud is what a cloud does with devices. It owns no protocol: the
// Cloud Interface (package cloudlink) and the HTTP API (package api) are two
// ways in.
//
//	            ┌─ account ──── who is it, does that still hold
//	who, what ──┤
//	  access.go └─ directory ── whose device is it, where can it be reached now
//	     │
//	     ├─▶ Device ──▶ session ──▶ the device     read, observe
//	     ├─▶ Send ──▶ command ──▶ session ──▶ …    change; Device leads here, too
//	     ├─▶ Why ◀── event, command                what led to what
//	     ├─▶ Report ──▶ event ──▶ Device.Observe, FollowEvents
//	     │                └─▶ rule ──▶ Send, webhook
//	     ├─▶ NewToken, NewShare, … ──▶ audit    who did what about rights
//	     └─▶ Publish, CreateAccount, NewPairingCode, …
//
// Every method says what it does as an operation and on what, and asks
// authorize in access.go, the one place of authorization. What stays open (a
// session, an observation, a stream of events) is asked again whenever
// something has changed that its right rests on; see held.go.
package cloud

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/farreach/farreach/cloud/account"
	"github.com/farreach/farreach/cloud/audit"
	"github.com/farreach/farreach/cloud/command"
	"github.com/farreach/farreach/cloud/directory"
	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/cloud/rule"
	"github.com/farreach/farreach/cloud/webhook"
	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/internal/tracing"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// Config says how a cloud works. Only Store has no default.
type Config struct {
	Store     *store.Store
	AccessTTL time.Duration // life of a device's access token; 0: 1 h; negative: it never ends

	// Who this process is among those that share the store, for people.
	Name, Version string

	// What is kept of the devices' events. The last state of each resource is
	// kept beyond that.
	RetentionAge  time.Duration // of an event; 0: 90 days
	RetentionSize int64         // bytes of all events, the oldest go first; 0: as the disk has

	// PrivateWebhooks lets webhooks go to addresses of this machine and its
	// networks.
	PrivateWebhooks bool

	Log    *slog.Logger    // nil: slog.Default()
	Tracer *tracing.Tracer // nil: nothing is traced

	// PasswordChanged, if not nil, is called when the password of an account
	// has been replaced through this Cloud. It must not block.
	PasswordChanged func(account string)

	// Asked, if not nil, is called when a request to a device has ended, whoever
	// made it: an answer, a refusal or none. It must not block.
	Asked func(op oic.Op, took time.Duration, err error)
}

// Cloud is accounts, devices and events, and who may do what with them. Its
// methods may be called from several goroutines at once. A refusal is an
// *oic.StatusError.
type Cloud struct {
	store     *store.Store
	accounts  *account.Accounts
	directory *directory.Directory
	events    *event.Events
	commands  *command.Commands
	webhooks  *webhook.Webhooks
	rules     *rule.Rules
	audit     *audit.Log
	held      held
	presence  watchers
	log       *slog.Logger
	tracer    *tracing.Tracer

	passwordChanged func(account string)
	asked           func(op oic.Op, took time.Duration, err error) // Config.Asked

	mu       sync.Mutex // guards flows
	flows    map[string]*flow
	watchers atomic.Int32 // observations of all devices

	stop  context.CancelFunc
	leave context.CancelFunc // of the rules and webhooks alone
	tasks sync.WaitGroup
}

// Cloud is what stands behind a cloudlink.Server.
var _ cloudlink.Backend = (*Cloud)(nil)

// Open reads a cloud from its store. Close is to be called at the end.
func Open(ctx context.Context, cfg Config) (*Cloud, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	c := &Cloud{store: cfg.Store, log: cfg.Log, tracer: cfg.Tracer, flows: map[string]*flow{}, stop: stop, passwordChanged: cfg.PasswordChanged, asked: cfg.Asked}
	if c.asked == nil {
		c.asked = func(oic.Op, time.Duration, error) {}
	}
	c.held.init()
	err := c.open(ctx, cfg)
	if err == nil {
		c.tasks.Go(func() { c.held.watch(run, c.authorize) })
		following, leave := context.WithCancel(run)
		c.leave = leave
		c.tasks.Go(func() { _ = c.rules.Run(following) })    // until it is told to stop
		c.tasks.Go(func() { _ = c.webhooks.Run(following) }) // that, too
		err = c.finishDeletions(ctx)
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("open cloud: %w", err)
	}
	return c, nil
}

func (c *Cloud) open(ctx context.Context, cfg Config) (err error) {
	if c.audit, err = audit.Open(ctx, cfg.Store, cfg.Log); err != nil {
		return err
	}
	c.accounts, err = account.Open(ctx, account.Config{
		Store: cfg.Store, AccessTTL: cfg.AccessTTL, Log: cfg.Log, Changed: c.rightsChanged, Refused: c.refused,
	})
	if err != nil {
		return err
	}
	c.directory, err = directory.Open(ctx, directory.Config{
		Store: cfg.Store, Log: cfg.Log, Name: cfg.Name, Version: cfg.Version, Serve: c.serve, Presence: c.presence.changed,
		Changed: func(di string) {
			c.held.deviceChanged(di)
			c.presence.changed(di)
		},
	})
	if err != nil {
		return err
	}
	c.events, err = event.Open(ctx, cfg.Store, event.Config{
		MaxAge: cfg.RetentionAge, MaxBytes: cfg.RetentionSize, Log: cfg.Log,
	})
	if err != nil {
		return err
	}
	c.webhooks, err = webhook.Open(ctx, webhook.Config{Store: cfg.Store, Private: cfg.PrivateWebhooks, Log: cfg.Log, Tracer: cfg.Tracer})
	if err != nil {
		return err
	}
	c.commands, err = command.Open(ctx, command.Config{
		Store: cfg.Store, MaxAge: cfg.RetentionAge, Log: cfg.Log, Tracer: cfg.Tracer, Reach: c.reach, Hold: c.holdCommand,
	})
	if err != nil {
		return err
	}
	c.rules, err = rule.Open(ctx, rule.Config{Store: cfg.Store, World: ruleWorld{c}, Log: cfg.Log, Tracer: cfg.Tracer})
	return err
}

// rightsChanged is told what account.Config.Changed says.
func (c *Cloud) rightsChanged(name, by string) {
	c.held.rightsChanged(name, by)
	if by == "" {
		c.presence.sharesChanged(name)
	}
}

// Leave gives up what one process does for all that share the store: to follow
// the rules, and to deliver what waits for devices. Another begins at once. It is
// called, once Open has returned, some time before Close, and does not wait; all
// the rest goes on.
func (c *Cloud) Leave() {
	c.leave()
	c.commands.Leave()
}

// Close ends what is open and what Open started. The store stays open.
func (c *Cloud) Close() {
	c.stop()
	c.tasks.Wait()
	c.held.endAll()
	if c.rules != nil {
		c.rules.Close()
	}
	if c.webhooks != nil {
		c.webhooks.Close()
	}
	if c.commands != nil {
		c.commands.Close()
	}
	if c.events != nil {
		c.events.Close()
	}
	if c.accounts != nil {
		c.accounts.Close()
	}
	if c.directory != nil {
		c.directory.Close()
	}
	if c.audit != nil {
		c.audit.Close()
	}
}

// Ready reports whether the cloud can do its work now. Anybody may ask.
func (c *Cloud) Ready(ctx context.Context) error {
	if err := c.authorize(oic.Identity{}, opHealth, target{}); err != nil {
		return err
	}
	return c.store.Ready(ctx)
}

// failed adds to an error what was being done. What the store cannot do now is
// a 5.03, what it will never take a 4.13.
func failed(what string, err error) error {
	if _, refusal := errors.AsType[*oic.StatusError](err); refusal || err == nil {
		return err
	}
	switch {
	case errors.Is(err, store.ErrUnavailable):
		return fmt.Errorf("%s: %w: %w", what, oic.Errorf(oic.Unavailable, "nothing can be stored now; try again"), err)
	case errors.Is(err, store.ErrTooLarge):
		return fmt.Errorf("%s: %w", what, oic.Errorf(oic.TooLarge, "too large to be kept"))
	}
	return fmt.Errorf("%s: %w", what, err)
}
