// Package directory knows the devices of a cloud: whose they are, what they
// published, and the session by which each can be reached now.
//
//	sign-up ── Claim ──▶ record ◀── Publish, Unpublish ── device
//	connection ── Attach ──▶ session ──▶ Session, Presence ──▶ whoever asks the device
//	                            └─▶ node ──▶ the directories of other processes
//
// Records live in the store and outlive every connection; they are mirrored in
// memory, so that asking costs no I/O. Sessions live in memory alone: whether
// a device can be reached is proved by its connection and never remembered.
// What is remembered, when the connection ends, is when it was last seen.
//
// Who may do what is not decided here but in package cloud.
package directory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/farreach/farreach/cloud/node"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// maxDevices is how many devices an account may have.
const maxDevices = 1000

// Config says how a directory is kept. Only Store has no default.
type Config struct {
	Store *store.Store
	Log   *slog.Logger // nil: slog.Default()

	// Changed, if not nil, is called when the record of a device has changed.
	// It must not call back and must not block.
	Changed func(di string)

	// Name and Version tell people of this process, when several share a store.
	Name, Version string

	// Serve, if not nil, is the way by which other nodes reach a device that has
	// this session here; nil: the session.
	Serve func(di string, s Session) oic.Observer

	// Presence, if not nil, is called when a device has come or gone, or when it
	// is no longer proved to be reachable, or is again. It must not block.
	Presence func(di string)
}

// Device is a device as it is known. Its Links are shared: not to be changed.
type Device struct {
	ID      string     `json:"di"`
	Account string     `json:"account"`
	Name    string     `json:"name,omitzero"`
	Type    string     `json:"type,omitzero"` // "oic.d.light"; empty: not told
	Created time.Time  `json:"created"`
	Links   []oic.Link `json:"links,omitzero"`
	Gateway string     `json:"gateway,omitzero"` // di of the device that speaks for it; empty: itself

	// Via says how a device is reached that has not joined by itself: ViaXMPP. "":
	// by its own connection.
	Via string `json:"via,omitzero"`

	// Expires has, by href, those Links that are there for a time only.
	Expires map[string]time.Time `json:"expires,omitzero"`

	// Anew says that the device has signed up again since it published: what it
	// publishes next is all that it has.
	Anew bool `json:"anew,omitzero"`
}

// Directory is the devices of a cloud. Its methods may be called from several
// goroutines at once. A refusal is an *oic.StatusError.
type Directory struct {
	devices  *store.View[Device] // by di
	started  time.Time
	presence func(di string) // Config.Presence
	proofs   *proofs
	nodes    *node.Nodes // nil: this process is alone with its store

	stop  context.CancelFunc
	tasks sync.WaitGroup

	mu       sync.Mutex // guards what follows
	accounts map[string]map[string]bool
	gateways map[string]string          // by di: who speaks for it
	behind   map[string]map[string]bool // by di of a gateway: those for which it speaks
	lapsing  map[string]time.Time       // by di: when the first of its links expires
	sessions map[string]*attached       // by di; stays when the session has gone
}

// Open reads the directory from the store. Close is to be called at the end.
func Open(ctx context.Context, cfg Config) (*Directory, error) {
	d := &Directory{
		started:  time.Now(),
		presence: cfg.Presence,
		accounts: map[string]map[string]bool{},
		gateways: map[string]string{},
		behind:   map[string]map[string]bool{},
		lapsing:  map[string]time.Time{},
		sessions: map[string]*attached{},
	}
	t, err := store.OpenTable[Device](ctx, cfg.Store, "devices", 0)
	if err == nil {
		d.proofs, err = openProofs(ctx, cfg.Store)
	}
	if err != nil {
		return nil, fmt.Errorf("open directory: %w", err)
	}
	if err := d.join(ctx, cfg); err != nil {
		_ = d.proofs.close()
		return nil, fmt.Errorf("open directory: %w", err)
	}
	d.devices, err = store.OpenView(ctx, t, func(di string, old, new *Device) {
		d.index(old, new)
		if new == nil && d.nodes != nil {
			d.nodes.Forget(di)
		}
		if cfg.Changed != nil {
			cfg.Changed(di)
		}
	})
	if err != nil {
		if d.nodes != nil {
			d.nodes.Close()
		}
		_ = d.proofs.close()
		return nil, fmt.Errorf("open directory: %w", err)
	}
	for _, dev := range d.devices.All() {
		d.index(nil, dev)
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	d.stop = stop
	d.tasks.Go(func() { d.watch(run) })
	return d, nil
}

// Close ends what Open started. It closes neither the sessions nor the store.
func (d *Directory) Close() {
	d.stop()
	d.tasks.Wait()
	if d.nodes != nil {
		d.nodes.Close()
	}
	d.mu.Lock()
	sessions := maps.Clone(d.sessions)
	d.mu.Unlock()
	for di, a := range sessions {
		if a.session != nil {
			d.proofs.went(di, a.session.LastSeen())
		}
	}
	_ = d.proofs.close() // older proofs are as true
	d.devices.Close()
}

// index keeps the lists of each account's and each gateway's devices, which may
// name too many, never too few, and when links expire.
func (d *Directory) index(old, new *Device) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if old != nil && (new == nil || new.Account != old.Account) {
		drop(d.accounts, old.Account, old.ID)
	}
	if old != nil && (new == nil || new.Gateway != old.Gateway) {
		drop(d.behind, old.Gateway, old.ID)
		delete(d.gateways, old.ID)
	}
	if new != nil {
		enlist(d.accounts, new.Account, new.ID)
	}
	if new != nil && new.Gateway != "" {
		enlist(d.behind, new.Gateway, new.ID)
		d.gateways[new.ID] = new.Gateway
	}
	switch {
	case new != nil && len(new.Expires) > 0:
		d.lapsing[new.ID] = slices.MinFunc(slices.Collect(maps.Values(new.Expires)), time.Time.Compare)
	case new != nil:
		delete(d.lapsing, new.ID)
	case old != nil:
		delete(d.lapsing, old.ID)
	}
}

func enlist(lists map[string]map[string]bool, key, di string) {
	if lists[key] == nil {
		lists[key] = map[string]bool{}
	}
	lists[key][di] = true
}

func drop(lists map[string]map[string]bool, key, di string) {
	if delete(lists[key], di); len(lists[key]) == 0 {
		delete(lists, key)
	}
}

// Get returns the device called di.
func (d *Directory) Get(di string) (Device, bool) {
	if dev := d.devices.Get(di); dev != nil {
		return *dev, true
	}
	return Device{}, false
}

// Of returns the devices of an account, ordered by name and di.
func (d *Directory) Of(account string) (list []Device) {
	d.mu.Lock()
	ids := make([]string, 0, len(d.accounts[account]))
	for di := range d.accounts[account] {
		ids = append(ids, di)
	}
	d.mu.Unlock()
	for _, di := range ids {
		if dev, ok := d.Get(di); ok && dev.Account == account {
			list = append(list, dev)
		}
	}
	sortDevices(list)
	return list
}

// All returns all devices, ordered by name and di.
func (d *Directory) All() (list []Device) {
	for _, dev := range d.devices.All() {
		list = append(list, *dev)
	}
	sortDevices(list)
	return list
}

func sortDevices(list []Device) {
	slices.SortFunc(list, func(x, y Device) int {
		if c := strings.Compare(x.Name, y.Name); c != 0 {
			return c
		}
		return strings.Compare(x.ID, y.ID)
	})
}

// Claim makes di a device of account. A device that is this account's already
// keeps its links until it publishes again: it may be the same with another
// software, or have forgotten what it published, and so cannot take it back. The
// refusals are those of Claimable.
func (d *Directory) Claim(ctx context.Context, account, di string) error {
	if err := d.Claimable(account, di); err != nil {
		return err
	}
	dev := Device{ID: di, Account: account, Created: time.Now().UTC()}
	err := d.devices.Create(ctx, di, dev)
	if errors.Is(err, store.ErrExists) {
		_, err = d.devices.Modify(ctx, di, func(now *Device) error {
			now.Anew, now.Via = true, ""
			return claimed(*now, account)
		})
	}
	return failed("claim device", err)
}

// Claimable reports whether di may become a device of account: 4.03 if it is
// one of another account, or one too many.
func (d *Directory) Claimable(account, di string) error {
	if dev, ok := d.Get(di); ok {
		return claimed(dev, account)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.accounts[account]) >= maxDevices {
		return oic.Errorf(oic.Forbidden, "%d devices are all that an account may have", maxDevices)
	}
	return nil
}

// claimed is nil if dev belongs to account.
func claimed(dev Device, account string) error {
	if dev.Account != account {
		return oic.Errorf(oic.Forbidden, "the device belongs to another account")
	}
	return nil
}

// Delete forgets a device. It is no error if there is none. The device's
// session, if there is one, is the caller's to close.
func (d *Directory) Delete(ctx context.Context, di string) error {
	if err := d.devices.Delete(ctx, di); err != nil {
		return failed("delete device", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.sessions, di)
	d.proofs.went(di, time.Time{})
	return nil
}

// failed adds to an error what was being done. A refusal stays as it is, and a
// store that cannot write is one: 5.03.
func failed(what string, err error) error {
	if _, refusal := errors.AsType[*oic.StatusError](err); refusal || err == nil {
		return err
	}
	if errors.Is(err, store.ErrUnavailable) {
		return fmt.Errorf("%s: %w: %w", what, oic.Errorf(oic.Unavailable, "nothing can be stored now; try again"), err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
