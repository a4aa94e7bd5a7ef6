package cloud

import (
	"context"
	"sync"

	"github.com/farreach/farreach/cloud/account"
	"github.com/farreach/farreach/cloud/directory"
	"github.com/farreach/farreach/oic"
)

// watchers are those who want to know when devices come and go. What has
// changed is noted per device, not queued: a slow watcher misses what came
// between, never the last state, and costs no memory.
//
//	directory ── came, went, published ──▶ changed ──▶ dirty ──▶ WatchPresence ── DeviceInfo ──▶ each
type watchers struct {
	mu  sync.Mutex // guards all, and dirty of each
	all map[*watcher]bool
}

type watcher struct {
	account string
	dirty   map[string]bool // by di; "": all that it may see
	wake    chan struct{}   // holds one if dirty is not empty
}

func (w *watcher) mark(di string) {
	w.dirty[di] = true
	select {
	case w.wake <- struct{}{}:
	default: // it will come anyway
	}
}

// changed notes that a device came, went or has another record.
func (ws *watchers) changed(di string) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for w := range ws.all {
		w.mark(di)
	}
}

// sharesChanged notes that an account may see other devices than before.
func (ws *watchers) sharesChanged(account string) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for w := range ws.all {
		if w.account == account {
			w.mark("")
		}
	}
}

func (ws *watchers) add(account string) *watcher {
	w := &watcher{account: account, dirty: map[string]bool{}, wake: make(chan struct{}, 1)}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.all == nil {
		ws.all = map[*watcher]bool{}
	}
	ws.all[w] = true
	return w
}

func (ws *watchers) remove(w *watcher) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	delete(ws.all, w)
}

// take returns what is dirty, which is clean then.
func (ws *watchers) take(w *watcher) map[string]bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	dirty := w.dirty
	w.dirty = map[string]bool{}
	return dirty
}

// WatchPresence calls each for the devices that Inventory has, as they are now,
// and again whenever one has come, gone or published, until ctx ends, each
// returns an error, or who loses the right. What changes faster than each
// returns is told once, as it is then.
func (c *Cloud) WatchPresence(ctx context.Context, who oic.Identity, each func(DeviceInfo) error) error {
	on := target{account: who.Account}
	if who.Device != "" {
		on = target{device: who.Device}
	}
	ctx, release, err := c.hold(ctx, who, opSee, on)
	if err != nil {
		return err
	}
	defer release()
	w := c.presence.add(who.Account)
	defer c.presence.remove(w)
	if err := c.eachDevice(ctx, who, each); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return lost(ctx, ctx.Err())
		case <-w.wake:
		}
		for di := range c.presence.take(w) {
			if err := c.tellOf(ctx, who, di, each); err != nil {
				return err
			}
		}
	}
}

// eachDevice calls each for the devices that Inventory has.
func (c *Cloud) eachDevice(ctx context.Context, who oic.Identity, each func(DeviceInfo) error) error {
	list, err := c.Inventory(ctx, who)
	if err != nil {
		return err
	}
	for _, dev := range list {
		if err := each(dev); err != nil {
			return err
		}
	}
	return nil
}

// tellOf calls each for what is dirty, if it concerns who.
func (c *Cloud) tellOf(ctx context.Context, who oic.Identity, di string, each func(DeviceInfo) error) error {
	if di == "" {
		return c.eachDevice(ctx, who, each)
	}
	dev, ok := c.directory.Get(di)
	if !ok || !c.concerns(dev, who) {
		return nil
	}
	return each(c.info(dev, who.Account))
}

// concerns reports whether dev is one of those that Inventory lists for who.
func (c *Cloud) concerns(dev directory.Device, who oic.Identity) bool {
	if who.Device != "" {
		return dev.ID == who.Device
	}
	return who.Account == "" || c.accounts.Role(who.Account, dev.Account, dev.ID) != account.Nobody
}
