package rae

import (
	"slices"
	"strings"
	"sync"

	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/roster"
)

// Share lets devices of another account ask (section 7, step 1): those with
// these ids, as long as the account is a contact that may see our presence
// (RA-069). What they may ask is for Config.Allow to say.
type Share struct {
	Account jid.JID
	Devices []string // UUIDs
}

// contacts are those besides the own account who may ask.
type contacts struct {
	own    jid.JID
	shares []Share

	mu  sync.Mutex // guards see
	see map[jid.JID]bool
}

// set takes the roster, in the place of the one before.
func (c *contacts) set(items []roster.Item) {
	c.mu.Lock()
	c.see = map[jid.JID]bool{}
	c.mu.Unlock()
	for _, it := range items {
		c.pushed(it)
	}
}

// pushed takes a contact that has changed. Only those with a share matter.
func (c *contacts) pushed(it roster.Item) {
	if !slices.ContainsFunc(c.shares, func(s Share) bool { return s.Account.Bare() == it.JID }) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if it.Subscription == roster.From || it.Subscription == roster.Both {
		c.see[it.JID] = true
	} else {
		delete(c.see, it.JID)
	}
}

// peer is who from is to us.
func (c *contacts) peer(from jid.JID) Peer {
	name, _ := ParseName(from.Resource())
	return Peer{JID: from, Name: name, Own: from.Bare() == c.own}
}

// admit reports whether from may ask anything at all, with the state of this
// moment. The own account may, by any program; of others, only devices that are
// shared with, by an id that is one (D13).
func (c *contacts) admit(from jid.JID) bool {
	if own := from.Bare() == c.own; own || from.IsBare() {
		return own && !from.IsBare()
	}
	c.mu.Lock()
	sees := c.see[from.Bare()]
	c.mu.Unlock()
	if !sees {
		return false
	}
	di := c.peer(from).Name.Device()
	return di != "" && slices.ContainsFunc(c.shares, func(s Share) bool {
		return s.Account.Bare() == from.Bare() && slices.ContainsFunc(s.Devices, func(id string) bool { return strings.EqualFold(id, di) })
	})
}
