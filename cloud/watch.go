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

// PresenceWatch is what somebody wants to be told of the presence of devices.
// An error ends the watch.
type PresenceWatch struct {
	Each  func(DeviceInfo) error // a device as it is now
	Begun func() error           // nil, or: the devices that were there at the begin have been told
	Gone  func(di string) error  // nil, or: a device that was told is none of who's any more
}

// WatchPresence tells the devices that Inventory has, as they are now, and
// again whenever one has come, gone or published, until ctx ends or who loses
// the right. What changes faster than w takes it is told once, as it is then.
func (c *Cloud) WatchPresence(ctx context.Context, who oic.Identity, watch PresenceWatch) error {
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
	t := telling{PresenceWatch: watch, c: c, who: who, told: map[string]bool{}}
	if err := t.all(ctx); err != nil {
		return err
	}
	if t.Begun != nil {
		if err := t.Begun(); err != nil {
			return err
		}
	}
	for {
		select {
		case <-ctx.Done():
			return lost(ctx, ctx.Err())
		case <-w.wake:
		}
		for di := range c.presence.take(w) {
			if err := t.one(ctx, di); err != nil {
				return err
			}
		}
	}
}

// telling is one call of WatchPresence.
type telling struct {
	PresenceWatch
	c    *Cloud
	who  oic.Identity
	told map[string]bool // by di: those that are known to be there
}

// all tells the devices that Inventory has, and which of those told before it
// has no more.
func (t *telling) all(ctx context.Context) error {
	list, err := t.c.Inventory(ctx, t.who)
	if err != nil {
		return err
	}
	before := t.told
	t.told = make(map[string]bool, len(list))
	for _, dev := range list {
		t.told[dev.ID] = true
		delete(before, dev.ID)
		if err := t.Each(dev); err != nil {
			return err
		}
	}
	for di := range before {
		if err := t.gone(di); err != nil {
			return err
		}
	}
	return nil
}

// one tells what is dirty: a device, or with "" all of them.
func (t *telling) one(ctx context.Context, di string) error {
	if di == "" {
		return t.all(ctx)
	}
	if dev, ok := t.c.directory.Get(di); ok && t.c.concerns(dev, t.who) {
		t.told[di] = true
		return t.Each(t.c.info(dev, t.who.Account))
	}
	if !t.told[di] {
		return nil
	}
	delete(t.told, di)
	return t.gone(di)
}

func (t *telling) gone(di string) error {
	if t.Gone == nil {
		return nil
	}
	return t.Gone(di)
}

// concerns reports whether dev is one of those that Inventory lists for who.
func (c *Cloud) concerns(dev directory.Device, who oic.Identity) bool {
	if who.Device != "" {
		return dev.ID == who.Device
	}
	return who.Account == "" || c.accounts.Role(who.Account, dev.Account, dev.ID) != account.Nobody
}
