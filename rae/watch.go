package rae

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/farreach/farreach/xmpp/jid"
)

// Devices is everybody who is there, or was, in the order of addresses. Nobody
// is asked.
func (e *Endpoint) Devices() []Device { return e.dir.list() }

// Watch calls each with everybody who is there, or was, and again with each who
// comes or goes, until ctx ends; it returns ctx.Err(). Of what changes while each
// has not returned, the newest is told.
func (e *Endpoint) Watch(ctx context.Context, each func(Device)) error {
	return e.dir.follow(ctx, each)
}

// Complete is closed while Devices has everybody who is there, as far as a
// server tells: presence comes one after another when the endpoint connects.
// When the connection is lost, another channel takes its place.
func (e *Endpoint) Complete() <-chan struct{} { return e.dir.complete() }

// watcher waits for news of one endpoint, or of everybody.
type watcher struct {
	d    *directory
	peer jid.JID       // zero: everybody
	news chan struct{} // has one when there is news

	count atomic.Int32 // how often there was

	fresh map[jid.JID]bool // of everybody: who has changed; guarded by d.mu
}

// watch returns a watcher of peer. Its presence is looked up with get when there
// is news; that of everybody, with take.
func (d *directory) watch(peer jid.JID) *watcher {
	w := &watcher{d: d, peer: peer, news: make(chan struct{}, 1)}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.watchers[peer] = append(d.watchers[peer], w)
	if peer.IsZero() {
		w.fresh = map[jid.JID]bool{}
		for j := range d.devices {
			w.fresh[j] = true
		}
		w.signal()
	}
	return w
}

func (w *watcher) stop() {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	left := slices.DeleteFunc(w.d.watchers[w.peer], func(o *watcher) bool { return o == w })
	if w.d.watchers[w.peer] = left; len(left) == 0 {
		delete(w.d.watchers, w.peer)
	}
}

func (w *watcher) signal() {
	w.count.Add(1)
	select {
	case w.news <- struct{}{}:
	default: // it has not looked yet
	}
}

// signal tells those who watch j. d.mu is held.
func (d *directory) signal(j jid.JID) {
	for _, w := range d.watchers[j] {
		w.signal()
	}
	for _, w := range d.watchers[jid.JID{}] {
		w.fresh[j] = true
		w.signal()
	}
}

// take returns what has changed since the last time. Who was forgotten is not
// available.
func (w *watcher) take() (changed []Device) {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	for j := range w.fresh {
		dev, ok := w.d.devices[j]
		if !ok {
			name, _ := ParseName(j.Resource())
			dev = Device{JID: j, Name: name}
		}
		changed = append(changed, w.d.complemented(dev))
	}
	clear(w.fresh)
	sortDevices(changed)
	return changed
}

// follow calls each with everybody who is known, and again with each who comes
// or goes, until ctx ends. While each has not returned, changes are merged.
func (d *directory) follow(ctx context.Context, each func(Device)) error {
	w := d.watch(jid.JID{})
	defer w.stop()
	for {
		select {
		case <-w.news:
		case <-ctx.Done():
			return ctx.Err()
		}
		for _, dev := range w.take() {
			each(dev)
		}
	}
}
