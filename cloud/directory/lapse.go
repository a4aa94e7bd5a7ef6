package directory

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// What lapses with time alone, when nobody says anything:
//
//	a sign of life, after proofLasts ──▶ Presence: the device is not proved to be reachable
//	a link, after the ttl with which it was published ──▶ it is removed, as by Unpublish
//
// Presence tells the first right at any moment, and nobody is shown a link for
// longer than lapseEvery after its time: watch looks so often for both.
const lapseEvery = time.Second

// watch does it until ctx ends.
func (d *Directory) watch(ctx context.Context) {
	tick := time.NewTicker(lapseEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			d.lapse(ctx, now)
		}
	}
}

func (d *Directory) lapse(ctx context.Context, now time.Time) {
	for _, di := range d.silences(now) {
		d.tell(di)
	}
	for _, di := range d.expired(now) {
		_ = d.expire(ctx, di, now) // it is tried again
	}
}

// silences returns the devices whose connections have fallen silent, or are so
// no longer, since it was asked last.
func (d *Directory) silences(now time.Time) (list []string) {
	d.mu.Lock()
	sessions := maps.Clone(d.sessions)
	d.mu.Unlock()
	for di, a := range sessions {
		if a.session == nil {
			continue
		}
		seen := a.session.LastSeen()
		if silent := now.After(seen.Add(proofLasts)); silent != a.silent {
			a.silent = silent
			list = append(list, di)
			if d.nodes != nil {
				d.nodes.Silence(di, silent, seen)
			}
		}
	}
	return list
}

// expired returns the devices with links whose time is over.
func (d *Directory) expired(now time.Time) (list []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for di, first := range d.lapsing {
		if !first.After(now) {
			list = append(list, di)
		}
	}
	return list
}

// expire removes the links of a device whose time is over.
func (d *Directory) expire(ctx context.Context, di string, now time.Time) error {
	_, err := d.devices.Modify(ctx, di, func(dev *Device) error {
		before := len(dev.Links)
		dev.Links = slices.DeleteFunc(dev.Links, func(l oic.Link) bool {
			end, ok := dev.Expires[l.Href]
			return ok && !end.After(now)
		})
		if len(dev.Links) == before {
			return errKept // it was published again
		}
		dev.tidy()
		return nil
	})
	if errors.Is(err, errKept) || errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return failed("remove links", err)
}

var errKept = errors.New("nothing to remove")

// last notes how long links are there.
func (dev *Device) last(links []oic.Link, ttl time.Duration, now time.Time) {
	if ttl > 0 && dev.Expires == nil {
		dev.Expires = map[string]time.Time{}
	}
	for _, l := range links {
		if ttl > 0 {
			dev.Expires[l.Href] = now.Add(ttl).UTC().Round(0)
		} else {
			delete(dev.Expires, l.Href)
		}
	}
	dev.tidy()
}

// tidy forgets when links expire that are not there.
func (dev *Device) tidy() {
	maps.DeleteFunc(dev.Expires, func(href string, _ time.Time) bool {
		_, ok := dev.Link(href)
		return !ok
	})
	if len(dev.Expires) == 0 {
		dev.Expires = nil
	}
}
