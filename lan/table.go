package lan

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/farreach/farreach/oic"
)

// entry is a device in the table.
type entry struct {
	device    Device
	line      *line            // by which it is asked
	described *Described       // nil: it says itself what it is
	places    []netip.AddrPort // where it was found beside Address, in this order

	proof    time.Time // when it last answered
	next     time.Time // when to ask whether it is there
	missed   int
	checking bool

	read    time.Time         // when its links were
	heard   map[uint16]uint64 // hashes of what it told groups, by content format
	expires time.Time         // of its publication; zero: it has none

	here  bool // it is there
	dirty bool // it waits in table.news
	told  bool // that it is there
}

// table is who is where: a state without a clock, a network or a lock of its
// own.
type table struct {
	devices map[string]*entry
	at      map[netip.AddrPort]string // di by every place of a device that is there
	hosts   map[netip.Addr]int        // how many of devices are there
	news    []string                  // di of those to be told of, each once
}

func newTable() table {
	return table{devices: map[string]*entry{}, at: map[netip.AddrPort]string{}, hosts: map[netip.Addr]int{}}
}

// full reports whether one more device at a host is too many.
func (t *table) full(host netip.Addr) bool {
	return len(t.devices) >= maxDevices || t.hosts[host] >= maxPerHost && !host.IsLoopback()
}

// put makes d the device of its di: a new one, or the same at the same or
// another address. The caller has looked whether there is room.
func (t *table) put(d Device, now time.Time) *entry {
	if other := t.at[d.Address]; other != "" && other != d.ID {
		t.leave(other, d.Address) // somebody else is there now
	}
	e := t.devices[d.ID]
	if e == nil {
		e = &entry{}
		t.devices[d.ID] = e
	} else {
		t.unhost(e.device.Address.Addr())
	}
	t.hosts[d.Address.Addr()]++
	d.Since = now
	if e.here {
		d.Since = e.device.Since
	}
	if !e.here || !same(e.device, d) {
		t.tell(d.ID, e)
	}
	if at := e.device.Address; e.here && at != d.Address {
		e.places = slices.DeleteFunc(e.places, func(p netip.AddrPort) bool { return p == d.Address })
		t.also(e, at)
	}
	e.device, e.here = d, true
	t.at[d.Address] = d.ID
	return e
}

func (t *table) unhost(host netip.Addr) {
	if t.hosts[host]--; t.hosts[host] <= 0 {
		delete(t.hosts, host)
	}
}

// also notes one more place of a device. It reports false if there are too many.
func (t *table) also(e *entry, at netip.AddrPort) bool {
	if len(e.places) == maxPlaces {
		return false
	}
	if !slices.Contains(e.places, at) {
		e.places = append(e.places, at)
	}
	t.at[at] = e.device.ID
	return true
}

// leave notes that a device is not at one of its places any more.
func (t *table) leave(di string, at netip.AddrPort) {
	e := t.devices[di]
	if e == nil {
		return
	}
	if e.device.Address == at {
		t.gone(e)
		return
	}
	e.places = slices.DeleteFunc(e.places, func(p netip.AddrPort) bool { return p == at })
	delete(t.at, at)
}

// gone notes that a device is not there any more. It stays in the table until
// that is told.
func (t *table) gone(e *entry) {
	if !e.here {
		return
	}
	e.here, e.missed = false, 0
	for _, at := range append([]netip.AddrPort{e.device.Address}, e.places...) {
		if t.at[at] == e.device.ID {
			delete(t.at, at)
		}
	}
	e.places, e.heard, e.expires = nil, nil, time.Time{}
	t.tell(e.device.ID, e)
}

// forget takes a device out that is gone and of which nobody has to be told.
// Described ones stay.
func (t *table) forget(e *entry) {
	if e.described == nil {
		delete(t.devices, e.device.ID)
		t.unhost(e.device.Address.Addr())
	}
}

// tell puts a device into news.
func (t *table) tell(di string, e *entry) {
	if !e.dirty {
		e.dirty = true
		t.news = append(t.news, di)
	}
}

// change takes one out of news. What became of a device meanwhile is one
// change, or none.
func (t *table) change() (c Change, ok bool) {
	for len(t.news) > 0 {
		e := t.devices[t.news[0]]
		t.news = t.news[1:]
		e.dirty = false
		c.Device = e.device
		told := e.told
		e.told = e.here
		switch {
		case e.here && told:
			c.Kind = Changed
		case e.here:
			c.Kind = Appeared
		default:
			c.Kind = Gone
			t.forget(e)
			if !told {
				continue
			}
		}
		return c, true
	}
	return c, false
}

// same reports whether there is nothing to tell.
func same(a, b Device) bool {
	return a.Name == b.Name && a.Release == b.Release && a.Address == b.Address && a.Secure == b.Secure &&
		slices.Equal(a.Types, b.Types) && slices.Equal(a.Endpoints, b.Endpoints) && slices.EqualFunc(a.Links, b.Links, sameLink)
}

func sameLink(a, b oic.Link) bool {
	return a.Href == b.Href && a.Title == b.Title && a.Policy == b.Policy && slices.Equal(a.Types, b.Types) &&
		slices.Equal(a.Interfaces, b.Interfaces) && slices.Equal(a.Endpoints, b.Endpoints)
}

// byName is the order in which devices are listed.
func byName(a, b Device) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID), a.Address.Compare(b.Address))
}
