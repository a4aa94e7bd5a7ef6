package node

import "time"

// claim says that a device is, or was, connected to a node.
type claim struct {
	Device string    `json:"di"`
	Node   string    `json:"node"`
	Stamp  int64     `json:"stamp"` // order of all claims on a device
	Since  time.Time `json:"since"` // it came, or went
	Seen   time.Time `json:"seen"`  // last sign of life
	Gone   bool      `json:"gone,omitzero"`
	Silent bool      `json:"silent,omitzero"` // connected, and its last sign of life proves nothing any more
}

// after reports whether c is newer than old, of the same device.
func (c *claim) after(old *claim) bool {
	switch {
	case old == nil || c.Stamp != old.Stamp:
		return old == nil || c.Stamp > old.Stamp
	case c.Node != old.Node:
		return c.Node > old.Node
	case c.Gone != old.Gone:
		return c.Gone
	case !c.Seen.Equal(old.Seen):
		return c.Seen.After(old.Seen)
	}
	return c.Silent && !old.Silent
}

// Place is where a device is, or was.
type Place struct {
	Here   bool      // at this node
	Node   string    // id
	Since  time.Time // it came or went
	Seen   time.Time // last sign of life that was told; at most 10 s behind
	Gone   bool
	Silent bool
	Lost   time.Time // its node is gone without a word since then; zero: it is there
}

// Where returns the place of a device. It is not ok if no node knows of any
// connection of it.
func (n *Nodes) Where(di string) (Place, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.claims[di]
	if c == nil {
		return Place{}, false
	}
	p := Place{Here: c.Node == n.self.ID, Node: c.Node, Since: c.Since, Seen: c.Seen, Gone: c.Gone, Silent: c.Silent}
	if at := n.peers[c.Node]; !p.Here && at != nil {
		p.Lost = at.lost
	} else if !p.Here {
		p.Lost = c.Seen // of it nobody has heard since
	}
	return p, true
}

// Claim says that a device has connected to this node.
func (n *Nodes) Claim(di string, since time.Time) {
	n.mu.Lock()
	n.clock = max(n.clock+1, time.Now().UnixMicro())
	c := &claim{Device: di, Node: n.self.ID, Stamp: n.clock, Since: since.UTC().Round(0), Seen: since.UTC().Round(0)}
	n.set(c)
	told := []claim{*c}
	n.mu.Unlock()
	n.say(note{Claims: told})
}

// Leave says that a device is not connected to this node any more. It does
// nothing if it is connected to another.
func (n *Nodes) Leave(di string, seen time.Time) {
	n.change(di, func(c *claim) {
		c.Gone, c.Silent, c.Since, c.Seen = true, false, time.Now().UTC().Round(0), seen.UTC().Round(0)
	})
}

// Silence says that a device which is connected to this node has fallen silent,
// or is so no more.
func (n *Nodes) Silence(di string, silent bool, seen time.Time) {
	n.change(di, func(c *claim) { c.Silent, c.Seen = silent, seen.UTC().Round(0) })
}

// change changes a claim of this node that holds, and tells it.
func (n *Nodes) change(di string, how func(*claim)) {
	n.mu.Lock()
	old := n.claims[di]
	if old == nil || old.Node != n.self.ID || old.Gone {
		n.mu.Unlock()
		return
	}
	c := *old
	how(&c)
	n.set(&c)
	told := []claim{c}
	n.mu.Unlock()
	n.say(note{Claims: told})
}

// Forget removes what is known of a device that is none any more.
func (n *Nodes) Forget(di string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.count(n.claims[di], -1)
	delete(n.claims, di)
}

// set takes a claim over. n.mu is held.
func (n *Nodes) set(c *claim) {
	n.count(n.claims[c.Device], -1)
	n.count(c, 1)
	n.claims[c.Device] = c
}

// count counts the claims of this node that hold. n.mu is held.
func (n *Nodes) count(c *claim, by int) {
	if c != nil && c.Node == n.self.ID && !c.Gone {
		n.mine += by
	}
}

// of returns the devices that are connected to a node. n.mu is held.
func (n *Nodes) of(id string) (devices []string) {
	for di, c := range n.claims {
		if c.Node == id && !c.Gone {
			devices = append(devices, di)
		}
	}
	return devices
}

// clockSkew is how far a clock may be off before times are corrected, in steps
// of it. Below, they stay as they are, so that all nodes tell the same.
const clockSkew = 2 * time.Second

// take merges what a node claims.
func (n *Nodes) take(what *note) {
	shift := time.Since(what.Now).Truncate(clockSkew)
	for i := range what.Claims {
		c := what.Claims[i]
		c.Since, c.Seen = c.Since.Add(shift), c.Seen.Add(shift)
		changed, replaced := n.merge(&c)
		if replaced {
			n.log.Debug("device has connected to another node", "device", c.Device, "node", what.Name)
			n.cfg.Replaced(c.Device)
		}
		if changed {
			n.cfg.Changed(c.Device)
		}
	}
}

// merge takes a claim over if it is newer than what is known. changed says that
// more than the last sign of life is new, replaced that the device was here.
func (n *Nodes) merge(c *claim) (changed, replaced bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clock = max(n.clock, c.Stamp)
	old := n.claims[c.Device]
	if !c.after(old) {
		return false, false
	}
	n.set(c)
	same := old != nil && old.Node == c.Node && old.Stamp == c.Stamp && old.Gone == c.Gone && old.Silent == c.Silent
	return !same, old != nil && old.Node == n.self.ID && !old.Gone && c.Node != n.self.ID
}

// sayAll tells all claims of this node, and those of nodes that cannot tell
// them. seen says that only signs of life are to be told.
func (n *Nodes) sayAll(seen bool) {
	var all []claim
	n.mu.Lock()
	for _, c := range n.claims {
		if own := c.Node == n.self.ID; own && !c.Gone {
			n.refresh(c)
			all = append(all, *c)
		} else if p := n.peers[c.Node]; !seen && (own || p == nil || !p.lost.IsZero()) {
			all = append(all, *c)
		}
	}
	n.mu.Unlock()
	for len(all) > 0 {
		page := all[:min(len(all), maxPage)]
		n.say(note{Claims: page})
		all = all[len(page):]
	}
}

// refresh brings a claim of this node up to date. n.mu is held.
func (n *Nodes) refresh(c *claim) {
	if n.cfg.Seen == nil {
		return
	}
	if seen, ok := n.cfg.Seen(c.Device); ok && seen.After(c.Seen) {
		c.Seen = seen.UTC().Round(0)
	}
}
