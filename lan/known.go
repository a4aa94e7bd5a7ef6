package lan

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"
)

// Known is what somebody has said of devices of the network, before they have.
type Known struct {
	Described   []Described            // what cannot say itself what it is
	Credentials map[string]Credentials // by di: devices that have to prove who they are
}

// Check says what is wrong with it, nil if nothing is.
func (k *Known) Check() error {
	for i := range k.Described {
		d := &k.Described[i]
		if err := errors.Join(d.check(), d.trusts(k.Credentials)); err != nil {
			return err
		}
	}
	return nil
}

// learnLoop takes what is known from now on, as often as that changes.
func (w *watcher) learnLoop(ctx context.Context) {
	for {
		select {
		case k := <-w.cfg.Reload:
			w.learn(k)
		case <-ctx.Done():
			return
		}
	}
}

// learn takes what is known from now on. What makes no sense changes nothing.
func (w *watcher) learn(k Known) {
	if err := k.Check(); err != nil {
		w.log.Warn("what was known of devices before stays", "err", err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.told()
	before := w.known
	w.known = k
	w.learnt++
	w.describe()
	for di := range before.Credentials {
		w.prove(di, before)
	}
	for di := range k.Credentials {
		if _, had := before.Credentials[di]; !had {
			w.prove(di, before)
		}
	}
	clear(w.struck)
	clear(w.said)
}

// prove has a device found anew that has to prove itself by other credentials
// than before, or need not any more. w.mu is held.
func (w *watcher) prove(di string, before Known) {
	old, had := before.Credentials[di]
	now, has := w.known.Credentials[di]
	e := w.table.devices[di]
	if had == has && old.same(&now) || e == nil || !e.here || e.described != nil && !e.device.Secure.IsValid() {
		return
	}
	at := e.device.Address
	w.lose(e)
	if e.next = (time.Time{}); e.described == nil && !w.asking[at] {
		w.start(rumour{at: at})
	}
}

// describe puts what is described into the table: not there, until it answers.
// What is not described any more is gone. w.mu is held.
func (w *watcher) describe() {
	listed := map[string]bool{}
	for _, d := range w.known.Described {
		listed[d.ID] = true
		if e := w.table.devices[d.ID]; e == nil || e.described == nil || !e.described.same(&d) {
			w.describeOne(e, d)
		}
	}
	for di, e := range w.table.devices {
		if e.described == nil || listed[di] {
			continue
		}
		e.described = nil
		if w.lose(e); !e.dirty {
			w.table.forget(e)
		}
	}
}

// describeOne makes d what is known of a device, in the place of e.
func (w *watcher) describeOne(e *entry, d Described) {
	links := slices.Clone(d.Links)
	for i := range links {
		links[i].Anchor = "ocf://" + d.ID
	}
	if e == nil {
		e = &entry{}
		w.table.devices[d.ID] = e
	}
	w.lose(e)
	e.described, e.next, e.missed = &d, time.Time{}, 0
	e.device.ID, e.device.Name, e.device.Types, e.device.Links = d.ID, d.Name, d.Types, links
}

// same reports whether two descriptions say the same.
func (d *Described) same(o *Described) bool {
	return d.Address == o.Address && d.ID == o.ID && d.Name == o.Name && slices.Equal(d.Types, o.Types) && slices.EqualFunc(d.Links, o.Links, sameLink)
}

// same reports whether two credentials are the same.
func (c *Credentials) same(o *Credentials) bool {
	return c.ID == o.ID && c.Key == o.Key && slices.EqualFunc(c.Certificate.Certificate, o.Certificate.Certificate, bytes.Equal) &&
		(c.Roots == o.Roots || c.Roots != nil && o.Roots != nil && c.Roots.Equal(o.Roots))
}
