// Package rabridge has devices that are on the XMPP server of a process alone take
// part in the cloud of the same process, each under its own di and as it is.
//
//	xmppd ── Presence ──▶ Bridge.Run ── starts, ends ──▶ branch: an account with such devices
//	                                                       │ rae.Endpoint: who is there
//	cloud ◀── Adopt, AttachSpare ── stay: one device ◀─────┘
//	cloud ── Handle, Observe ──▶ session ── rae.Remote ──▶ device
//	cloud ◀── Report ── observations of what it has ◀───── device
//
// Nothing is translated: both sides speak package oic. A device belongs to the
// account on whose address it is; those of contacts are not looked at. What nobody
// does from afar (rae.Forbidden) is not asked of it on behalf of the cloud either.
//
// A device that has joined the cloud by itself speaks for itself: it is left alone
// then, and one that joins meanwhile is let go. One that its owner has taken out
// of the cloud is not brought back until it comes to the XMPP server anew.
package rabridge

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
)

// Cloud is where the devices take part. An error that is a *oic.StatusError of
// class 4 is final.
type Cloud interface {
	// Adopt makes a device one of the account's, with these links and no others. It
	// returns who it is to the other methods, and its links as they are kept.
	Adopt(ctx context.Context, account string, set cloudlink.Publication) (who oic.Identity, links []oic.Link, err error)

	// Amend is Adopt once more, for a device that has another name or other links.
	Amend(ctx context.Context, who oic.Identity, set cloudlink.Publication) (links []oic.Link, err error)

	// AttachSpare says that who can be reached through s, unless it has a session of
	// its own, until detach is called. It closes s when who does not hold any more.
	AttachSpare(ctx context.Context, who oic.Identity, s cloudlink.Session) (detach func(), err error)

	// Report is that of a cloudlink.Backend.
	Report(ctx context.Context, who oic.Identity, reports []cloudlink.Report) (errs []error)
}

// Config says which devices take part where. Cloud, Login and Seen have no default.
type Config struct {
	Cloud Cloud

	// Login is how to be on the XMPP server as the account called name, the local part
	// of an address.
	Login func(name string) xmpp.Config

	// Seen reports whether somebody is there at a full address, and when the server
	// last heard of him.
	Seen func(j jid.JID) (last time.Time, there bool)

	// OnChange is called when a device begins to take part, and when it does no more.
	// It must return soon; nil: nobody is told.
	OnChange func(di string, here bool)
	Log      *slog.Logger // nil: slog.Default()
}

// Bounds of what is kept for others.
const (
	maxAccounts = 256 // that have such devices at a time
	maxDevices  = 200 // of an account
	maxWatched  = 48  // resources of a device that are observed for the log; it bears 64 observations
	maxLinks    = 512 // of a device
)

// Bridge has devices take part.
type Bridge struct {
	cfg  Config
	log  *slog.Logger
	wake chan struct{} // has one when Run has something to look at

	mu       sync.Mutex                  // guards what follows
	accounts map[string]map[jid.JID]bool // by name: the addresses of devices that are there
	full     bool                        // that was logged
}

// New returns a Bridge. It asks nobody yet.
func New(cfg Config) (*Bridge, error) {
	if cfg.Cloud == nil || cfg.Login == nil || cfg.Seen == nil {
		return nil, errors.New("rabridge: Cloud, Login and Seen are needed")
	}
	cfg.Log = cmp.Or(cfg.Log, slog.Default())
	if cfg.OnChange == nil {
		cfg.OnChange = func(string, bool) {}
	}
	return &Bridge{cfg: cfg, log: cfg.Log, wake: make(chan struct{}, 1), accounts: map[string]map[jid.JID]bool{}}, nil
}

// Presence says that somebody has come to a full address, or gone: Config.Seen
// tells which. It does not wait. Who is no device of this version is passed over.
func (b *Bridge) Presence(j jid.JID) {
	if !isDevice(j) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.accounts[j.Local()]
	if _, there := b.cfg.Seen(j); !there {
		if delete(all, j); len(all) == 0 {
			delete(b.accounts, j.Local())
		}
	} else {
		if all == nil {
			all = map[jid.JID]bool{}
			b.accounts[j.Local()] = all
		}
		all[j] = true
	}
	select {
	case b.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// isDevice reports whether an address is that of a device which can be asked.
func isDevice(j jid.JID) bool {
	name, ok := rae.ParseName(j.Resource())
	return ok && !name.IsClient() && name.Speaks() && name.Device() != ""
}

// Run has devices take part until ctx ends, and returns ctx.Err(). It is called
// once.
func (b *Bridge) Run(ctx context.Context) error {
	running, ended := map[string]context.CancelFunc{}, make(chan string)
	for ctx.Err() == nil {
		b.settle(running, func(name string) context.CancelFunc {
			until, cancel := context.WithCancel(ctx)
			go func() {
				defer cancel()
				b.serve(until, name)
				ended <- name
			}()
			return cancel
		})
		select {
		case <-b.wake:
		case name := <-ended:
			delete(running, name)
		case <-ctx.Done():
		}
	}
	for range running {
		<-ended
	}
	return ctx.Err()
}

// settle begins with accounts that have devices, and ends with those that have
// none. What ends is begun again only after it has ended.
func (b *Bridge) settle(running map[string]context.CancelFunc, begin func(name string) context.CancelFunc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, cancel := range running {
		if b.accounts[name] == nil {
			cancel()
		}
	}
	for name := range b.accounts {
		switch {
		case running[name] != nil:
		case len(running) < maxAccounts:
			running[name] = begin(name)
		case !b.full:
			b.full = true
			b.log.Warn("too many accounts with devices on XMPP alone: those of others do not take part", "accounts", maxAccounts)
		}
	}
}

// sorted returns the keys of m in the order of text.
func sorted[T any](m map[jid.JID]T) []jid.JID {
	all := make([]jid.JID, 0, len(m))
	for j := range m {
		all = append(all, j)
	}
	slices.SortFunc(all, func(x, y jid.JID) int { return cmp.Compare(x.String(), y.String()) })
	return all
}
