package rae

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/ping"
	"github.com/farreach/farreach/xmpp/roster"
	"github.com/farreach/farreach/xmpp/stanza"
)

// Device is somebody of whom presence came: what the address tells without a
// question (RA-059), and whether it is there. Clients, which have nothing to be
// reached, are none.
type Device struct {
	JID       jid.JID // full
	Name      Name    // what JID tells; to those that do not speak this version nobody talks
	Available bool
	Since     time.Time // since when: as the server tells, else as it was seen here

	// Gateway is the di of who speaks for the device, which has no way out of its
	// own; "": nobody. If it is not available, and the gateway of the account is not
	// either, then GatewayGone: nobody is there who knows how it is.
	Gateway     string
	GatewayGone bool
}

// Account is whose the device is: the own account, or that of a contact.
func (d *Device) Account() jid.JID { return d.JID.Bare() }

// The bounds of what others can make us remember.
const (
	maxDevices  = 4096
	maxContact  = 1024 // devices of one contact
	maxContacts = 1000
)

// directory is who is there, by presence alone: resources of the own
// account, of which the roster says nothing (D15), and of the contacts whose
// presence was subscribed to. Whoever else sends presence is not listened to,
// and nobody is asked anything.
//
//	xmpp.Session ── presence ──▶ own account, or a contact? ── OIC/… ──▶ Device ──▶ list, changed, watchers
//	             ── roster ────────────────┘
type directory struct {
	own     jid.JID      // bare
	changed func(Device) // called in the order of what happens; must return soon
	log     *slog.Logger

	mu       sync.Mutex // guards what follows
	contacts map[jid.JID]bool
	devices  map[jid.JID]Device
	counts   map[jid.JID]int        // of devices, by account
	watchers map[jid.JID][]*watcher // by whom they watch; the zero JID is everybody
	called   chan struct{}          // closed when all have answered the roll call
	calls    int                    // of roll calls, to know a late one
}

func newDirectory(own jid.JID, changed func(Device), log *slog.Logger) *directory {
	return &directory{own: own.Bare(), changed: changed, log: log, contacts: map[jid.JID]bool{},
		devices: map[jid.JID]Device{}, counts: map[jid.JID]int{}, watchers: map[jid.JID][]*watcher{}, called: make(chan struct{})}
}

// handle has d hear presence.
func (d *directory) handle(h *xmpp.Handlers) {
	h.Presence(func(s *xmpp.Session, p *stanza.Presence) { d.presence(s.JID(), p) })
}

// roster takes the contacts of the account, in the place of those before.
func (d *directory) roster(items []roster.Item) {
	listed := map[jid.JID]bool{}
	for _, it := range items {
		listed[it.JID] = true
	}
	d.mu.Lock()
	var unlisted []jid.JID
	for j := range d.contacts {
		if !listed[j] {
			unlisted = append(unlisted, j)
		}
	}
	d.mu.Unlock()
	for _, j := range unlisted {
		d.pushed(roster.Item{JID: j, Subscription: roster.Removed})
	}
	for _, it := range items {
		d.pushed(it)
	}
}

// pushed takes a contact that has changed. Of one whose presence is subscribed
// to no longer everything is forgotten.
func (d *directory) pushed(it roster.Item) {
	sees := it.Subscription == roster.To || it.Subscription == roster.Both
	var gone []Device
	d.mu.Lock()
	switch {
	case it.JID == d.own || !it.JID.IsBare():
	case sees && (d.contacts[it.JID] || len(d.contacts) < maxContacts):
		d.contacts[it.JID] = true
	case !sees:
		delete(d.contacts, it.JID)
		for j, dev := range d.devices {
			if j.Bare() != it.JID {
				continue
			}
			d.forget(j)
			if dev.Available {
				dev.Available, dev.Since = false, time.Now()
				gone = append(gone, dev)
				d.signal(j)
			}
		}
	}
	d.mu.Unlock()
	for _, dev := range gone {
		d.changed(dev)
	}
}

// presence takes one, with us being called self (RA-066): available whatever it
// shows, unavailable, or an error, which is no better.
func (d *directory) presence(self jid.JID, p *stanza.Presence) {
	there := p.Type == ""
	if p.From == self || p.From.IsBare() || !there && p.Type != "unavailable" && p.Type != "error" {
		return
	}
	name, ok := ParseName(p.From.Resource())
	if !ok || name.IsClient() {
		return
	}
	dev := Device{JID: p.From, Name: name, Available: there, Since: sentAt(p), Gateway: gatewayOf(p)}
	if dev, changed := d.note(dev); changed {
		d.changed(dev)
	}
}

// note keeps what presence said. changed tells whether that is news to others
// than the watchers of this device: for them it is in any case, because who
// says again that it is there may have been away.
func (d *directory) note(news Device) (dev Device, changed bool) {
	j, there := news.JID, news.Available
	d.mu.Lock()
	defer d.mu.Unlock()
	if j.Bare() != d.own && !d.contacts[j.Bare()] {
		return Device{}, false
	}
	dev, known := d.devices[j]
	switch {
	case !known && (!there || !d.room(j)): // who was never seen has not gone
		return Device{}, false
	case known && dev.Available == there:
		if there {
			d.signal(j)
		}
		return dev, false
	}
	if !known {
		d.counts[j.Bare()]++
	}
	if !there {
		news.Gateway = dev.Gateway
	}
	d.devices[j] = news
	d.signal(j)
	return d.complemented(news), true
}

// typeGateway is the type of those who speak for other devices (RA-024).
const typeGateway = "oic.d.bridge"

// complemented is a device with what is known of its gateway. d.mu is held.
func (d *directory) complemented(dev Device) Device {
	if dev.Available || dev.Gateway == "" {
		return dev
	}
	if at, err := (Name{Major: 1, Type: typeGateway, ID: dev.Gateway}).JID(dev.Account()); err == nil {
		gateway, known := d.devices[at]
		dev.GatewayGone = known && !gateway.Available
	}
	return dev
}

// gatewayOf is the di of who speaks for the sender of a presence; "": nobody.
func gatewayOf(p *stanza.Presence) string {
	for i := range p.Children {
		if c := &p.Children[i]; c.NS == nsGateway && c.Name == "gateway" {
			di, _ := uuid(c.Attr("di"))
			return di
		}
	}
	return ""
}

// room makes room for a device, if need be that of the one which has been away
// longest. d.mu is held.
func (d *directory) room(newcomer jid.JID) bool {
	account := newcomer.Bare()
	everybody := len(d.devices) >= maxDevices
	if !everybody && (account == d.own || d.counts[account] < maxContact) {
		return true
	}
	var oldest Device
	for j, dev := range d.devices {
		if (everybody || j.Bare() == account) && !dev.Available && (oldest.JID.IsZero() || dev.Since.Before(oldest.Since)) {
			oldest = dev
		}
	}
	if oldest.JID.IsZero() {
		d.log.Debug("too many devices", "jid", newcomer)
		return false
	}
	d.forget(oldest.JID)
	return account == d.own || d.counts[account] < maxContact
}

// forget removes a device. d.mu is held.
func (d *directory) forget(j jid.JID) {
	delete(d.devices, j)
	for _, w := range d.watchers[jid.JID{}] {
		delete(w.fresh, j)
	}
	if d.counts[j.Bare()]--; d.counts[j.Bare()] == 0 {
		delete(d.counts, j.Bare())
	}
}

// sentAt is when a presence was sent: as the stamp of a server says that kept it
// for us (XEP-0203), else now.
func sentAt(p *stanza.Presence) time.Time {
	now := time.Now()
	for i := range p.Children {
		if c := &p.Children[i]; c.NS == "urn:xmpp:delay" && c.Name == "delay" {
			if at, err := time.Parse(time.RFC3339, c.Attr("stamp")); err == nil && at.Before(now) {
				return at
			}
		}
	}
	return now
}

// get is what is known of an endpoint.
func (d *directory) get(j jid.JID) (Device, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	dev, ok := d.devices[j]
	return d.complemented(dev), ok
}

// list is everybody, in the order of addresses.
func (d *directory) list() []Device {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]Device, 0, len(d.devices))
	for _, dev := range d.devices {
		all = append(all, d.complemented(dev))
	}
	sortDevices(all)
	return all
}

func sortDevices(all []Device) {
	slices.SortFunc(all, func(a, b Device) int { return cmp.Compare(a.JID.String(), b.JID.String()) })
}

// rollCall returns when the presence of all who were there has come, after ours
// has gone out in s: servers answer in order, and a ping to ourselves comes
// through the same line as presence. ctx lasts as long as s.
func (d *directory) rollCall(ctx context.Context, s *xmpp.Session) error {
	_, err := ping.Send(ctx, s, s.JID())
	if _, refused := errors.AsType[*stanza.Error](err); err != nil && !refused {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls++
	call := d.calls
	close(d.called)
	context.AfterFunc(ctx, func() { d.uncalled(call) })
	return nil
}

// uncalled says that it has to be found out anew who is there.
func (d *directory) uncalled(call int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.calls == call {
		d.called = make(chan struct{})
	}
}

// complete is closed while the directory has everybody who is there.
func (d *directory) complete() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.called
}
