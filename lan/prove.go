package lan

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/oic"
)

// rumour is that somebody is at an address, with what was heard of it.
type rumour struct {
	at     netip.AddrPort
	format uint16
	hash   uint64        // of the answer; 0: there was none
	ttl    time.Duration // of a publication; 0: it was none
}

// suspect takes a rumour: who is there is asked, if that is not known.
func (w *watcher) suspect(at netip.AddrPort, format uint16, hash uint64) {
	w.rumoured(rumour{at: at, format: format, hash: hash})
}

func (w *watcher) rumoured(r rumour) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if w.asking[r.at] || now.Before(w.struck[r.at]) || !w.worth(r, now) {
		return
	}
	host := r.at.Addr()
	if len(w.asking) >= maxAsking || w.host[host] >= maxHostAsks && !host.IsLoopback() {
		return // there will be another round
	}
	w.start(r)
}

// start has who is at an address asked. w.mu is held.
func (w *watcher) start(r rumour) {
	if w.begin(func() { w.find(r) }) {
		w.asking[r.at] = true
		w.host[r.at.Addr()]++
	}
}

// worth reports whether a rumour tells anything new. w.mu is held.
func (w *watcher) worth(r rumour, now time.Time) bool {
	e := w.table.devices[w.table.at[r.at]]
	if e == nil {
		return true
	}
	if r.ttl > 0 {
		e.expires = now.Add(r.ttl)
		return now.Sub(e.read) >= rereadAfter
	}
	if r.hash == 0 || e.device.Address != r.at || e.described != nil {
		return false
	}
	old, known := e.heard[r.format]
	if known && old == r.hash {
		w.hinted(e, now)
	}
	if known && (old == r.hash || now.Sub(e.read) < rereadAfter) {
		return false
	}
	e.hears(r)
	return known
}

func (e *entry) hears(r rumour) {
	if e.heard == nil {
		e.heard = map[uint16]uint64{}
	}
	if r.hash != 0 && len(e.heard) < 4 || e.heard[r.format] != 0 {
		e.heard[r.format] = r.hash
	}
}

// find asks who is at the place of a rumour.
func (w *watcher) find(r rumour) {
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.asking, r.at)
		if w.host[r.at.Addr()]--; w.host[r.at.Addr()] <= 0 {
			delete(w.host, r.at.Addr())
		}
	}()
	found, err := w.look(r)
	for pause := firstPause; err != nil && !errors.Is(err, errOdd) && pause <= lastPause && w.roomy(); pause *= 3 {
		_ = backoff.Sleep(w.ctx, pause)
		found, err = w.look(r)
	}
	if w.ctx.Err() != nil {
		return
	}
	if err != nil {
		w.strike(r.at, err)
		return
	}
	if found.foreign > 0 {
		w.say("foreign "+found.device.ID, slog.LevelWarn, "links to other hosts left out", "device", found.device.ID, "remote", r.at, "links", found.foreign)
	}
	for _, at := range found.others {
		w.suspect(at, 0, 0)
	}
}

// look asks who is at the place of a rumour, and takes it into the table.
func (w *watcher) look(r rumour) (report, error) {
	if !w.slot(w.ctx) {
		return report{}, w.ctx.Err()
	}
	defer w.release()
	found, err := w.ask(r)
	if err == nil {
		err = w.accept(r, found)
	}
	return found, err
}

// roomy reports whether few are asked what they are: somebody who does not
// answer may be asked again then, for datagrams get lost. If there are many, most
// are not there.
func (w *watcher) roomy() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ctx.Err() == nil && len(w.asking) < maxAsking/4
}

// ask asks who is there.
func (w *watcher) ask(r rumour) (report, error) {
	ctx, cancel := context.WithTimeout(w.ctx, askWithin)
	defer cancel()
	c := w.client(r.at)
	if c == nil {
		return report{}, fmt.Errorf("no way to %v", r.at)
	}
	if r.format == uint16(oic.CBOR) {
		c.Simplify() // of OIC 1.x, perhaps
	}
	return about(ctx, c, "coap", r.at, "")
}

// strike has somebody left alone for a while.
func (w *watcher) strike(at netip.AddrPort, err error) {
	leave := leaveSilent
	if errors.Is(err, errOdd) {
		leave = leaveBad
		w.say("odd "+at.String(), slog.LevelWarn, "not a device to be trusted", "remote", at, "err", err)
	} else {
		w.log.Debug("no device found", "remote", at, "err", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if len(w.struck) >= maxStruck {
		for at, until := range w.struck {
			if now.After(until) {
				delete(w.struck, at)
			}
		}
	}
	if len(w.struck) < maxStruck {
		w.struck[at] = now.Add(leave)
	}
}

// accept takes what was found into the table. The first place at which a device
// was found is where it is, until it does not answer there.
func (w *watcher) accept(r rumour, found report) error {
	ctx, cancel := context.WithTimeout(w.ctx, askWithin)
	defer cancel()
	d := found.device
	if d.ID == w.cfg.Directory {
		return fmt.Errorf("%w: it has our own di", errOdd)
	}
	w.mu.Lock()
	e := w.table.devices[d.ID]
	elsewhere := e != nil && e.here && e.device.Address != d.Address
	var line *line
	if e != nil {
		line = e.line
	}
	described := e != nil && e.described != nil
	learnt := w.learnt
	w.mu.Unlock()
	if described {
		return fmt.Errorf("%w: %s is described, and elsewhere", errOdd, d.ID)
	}
	if elsewhere && w.there(ctx, d.ID, line) == nil {
		return w.second(d)
	}
	kept := line.leads(d) // and what is observed by it
	if !kept {
		var err error
		if line, err = w.connect(d); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.told()
	now := time.Now()
	e = w.table.devices[d.ID]
	switch {
	case kept && (e == nil || e.line != line):
		return errGone // meanwhile
	case learnt != w.learnt: // it may have to prove itself in another way
		if !kept {
			w.drop(line)
		}
		return errGone
	case e == nil && w.table.full(d.Address.Addr()):
		w.drop(line)
		return errors.New("no room for one more device")
	}
	if other := w.table.devices[w.table.at[d.Address]]; other != nil && other.device.ID != d.ID && other.device.Address == d.Address {
		w.lose(other) // somebody else is there now
	}
	e = w.table.put(d, now)
	if e.line != line {
		w.drop(e.line)
	}
	e.line, e.read = line, now
	e.hears(r)
	if r.ttl > 0 {
		e.expires = now.Add(r.ttl)
	}
	w.proved(e, now)
	return nil
}

// drop closes a line, which waits for its goroutines, without w.mu; nil is none.
// w.mu is held.
func (w *watcher) drop(l *line) {
	if l != nil && !w.begin(l.close) {
		w.dropped = append(w.dropped, l)
	}
}

// second notes one more place of a device that has answered at the first. A host
// has several addresses, and is the same at each; who says something else lies.
func (w *watcher) second(d Device) error {
	w.mu.Lock()
	e := w.table.devices[d.ID]
	if e == nil || !e.here {
		w.mu.Unlock()
		return nil // another rumour will come
	}
	first, room := e.device.Address, w.table.also(e, d.Address)
	differs := !alike(e.device, d)
	w.mu.Unlock()
	if differs {
		w.say("twice "+d.ID, slog.LevelWarn, "two places claim to be one device; the first is kept", "device", d.ID, "remote", first, "other", d.Address)
	}
	if !room {
		return fmt.Errorf("%w: more than %d places claim to be %s", errOdd, maxPlaces, d.ID)
	}
	return nil
}

// alike reports whether a device says the same of itself at two places, but for
// where it is.
func alike(a, b Device) bool {
	return a.Name == b.Name && a.Release == b.Release && slices.Equal(a.Types, b.Types) &&
		slices.EqualFunc(a.Links, b.Links, func(a, b oic.Link) bool { return a.Href == b.Href && slices.Equal(a.Types, b.Types) })
}

// proved notes a sign of life that cannot be forged. w.mu is held.
func (w *watcher) proved(e *entry, now time.Time) {
	e.proof, e.missed = now, 0
	e.next = now.Add(w.silence(e))
}

// hinted notes an answer to a group, which is a sign of life that can be forged:
// the device need not be asked whether it is there, but the last proof must not
// be older than some checks. Who owes us more proof than an address is asked.
// w.mu is held.
func (w *watcher) hinted(e *entry, now time.Time) {
	_, owned := w.known.Credentials[e.device.ID]
	if e.missed > 0 || e.checking || e.next.IsZero() || owned {
		return
	}
	next := now.Add(w.silence(e) * 4 / 3) // groups are not asked on the second
	if last := e.proof.Add(maxUnproved * w.cfg.Check); next.After(last) {
		next = last
	}
	if next.After(e.next) {
		e.next = next
	}
}

// silence is how long a device may be silent before it is asked whether it is
// there.
func (w *watcher) silence(e *entry) time.Duration {
	return time.Duration(float64(w.cfg.Check) * (1 + jitterOf(e)/10))
}
