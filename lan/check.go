package lan

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/netip"
	"slices"
	"time"
)

// checkLoop asks those who have been silent for long whether they are there.
func (w *watcher) checkLoop(ctx context.Context) {
	tick := time.NewTicker(min(time.Second, w.cfg.Check/4))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.checkDue(time.Now())
		}
	}
}

func (w *watcher) checkDue(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.told()
	for di, e := range w.table.devices {
		switch {
		case !e.here && e.described == nil, e.checking:
		case e.here && !e.expires.IsZero() && now.After(e.expires):
			w.doubt(e)
		case now.After(e.next):
			if w.begin(func() { w.check(di) }) {
				e.checking = true
			}
		}
	}
}

// lose notes that a device is gone. w.mu is held.
func (w *watcher) lose(e *entry) {
	if e.here {
		w.log.Info("device gone", "device", e.device.ID, "remote", e.device.Address)
	}
	w.table.gone(e)
	w.drop(e.line)
	e.line = nil
}

// jitterOf is what a device's checks are late by, from 0 to 1: so that those
// found together are not asked together.
func jitterOf(e *entry) float64 {
	return float64(maphash.String(seed, e.device.ID)%1024) / 1024
}

// check asks a device whether it is there.
func (w *watcher) check(di string) {
	w.mu.Lock()
	e := w.table.devices[di]
	if e == nil {
		w.mu.Unlock()
		return
	}
	line, described, asked := e.line, e.described, e.proof
	places := slices.Clone(e.places)
	w.mu.Unlock()
	var err error
	if w.slot(w.ctx) {
		ctx, cancel := context.WithTimeout(w.ctx, min(checkWithin, w.cfg.Check))
		if described != nil {
			err = w.ping(ctx, e, described)
		} else {
			err = w.there(ctx, di, line)
		}
		cancel()
		w.release()
	}
	if w.ctx.Err() != nil {
		return
	}
	if err != nil && described == nil {
		w.tryPlaces(places)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.told()
	e.checking = false
	if err == nil || e.proof.After(asked) { // or a sign of life came meanwhile
		return
	}
	e.missed++
	e.next = time.Now().Add(w.cfg.Check)
	w.log.Debug("device did not answer", "device", di, "missed", e.missed, "err", err)
	if e.missed >= maxMissed {
		w.lose(e)
	} else if e.here && e.described == nil {
		w.renew(e)
	}
}

// tryPlaces asks at the other places of a device that does not answer at the
// first; accept then moves it.
func (w *watcher) tryPlaces(places []netip.AddrPort) {
	for _, at := range places {
		w.mu.Lock()
		delete(w.table.at, at)
		w.mu.Unlock()
		w.suspect(at, 0, 0)
	}
}

// there asks a device by its line who it is. The error is nil if it is di.
func (w *watcher) there(ctx context.Context, di string, line *line) error {
	if line == nil {
		return errGone
	}
	who, err := askInfo(ctx, line.device, false)
	if err != nil {
		return err
	}
	if who.id != di {
		return fmt.Errorf("%w: %s is there now", errOdd, who.id)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.told()
	e := w.table.devices[di]
	if e == nil || e.line != line || !e.here {
		return nil
	}
	if who.name != e.device.Name {
		e.device.Name = who.name
		w.table.tell(di, e)
	}
	w.proved(e, time.Now())
	return nil
}

// alive notes that a device has answered somebody.
func (w *watcher) alive(di string, line *line) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e := w.table.devices[di]; e != nil && e.line == line && e.here {
		w.proved(e, time.Now())
	}
}

// checkSoon has a device asked who it is as soon as it can be.
func (w *watcher) checkSoon(di string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e := w.table.devices[di]; e != nil {
		e.next = time.Time{}
	}
}

// claimed warns of a device that does not prove who it is.
func (w *watcher) claimed(d Device, err error) {
	w.say("unproved "+d.ID, slog.LevelWarn, "device does not prove who it is", "device", d.ID, "remote", d.Address, "err", err)
}
