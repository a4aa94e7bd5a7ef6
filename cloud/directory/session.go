package directory

import (
	"maps"
	"time"

	"github.com/farreach/farreach/oic"
)

// Session is a device that is connected and signed in.
type Session interface {
	oic.Observer
	LastSeen() time.Time // when the device last gave a sign of life
	Close(reason string) // ends the connection and does not wait for the end
}

// State says whether a device can be reached.
type State string

// The states of a device.
const (
	Reachable State = "reachable" // it is connected, and has just given a sign of life
	Unproven  State = "unproven"  // it is connected, and silent for longer than a sign of life proves
	Offline   State = "offline"   // it was connected, and is no more
	Unknown   State = "unknown"   // nobody can tell: not seen since the server started, or its gateway or its node is gone
)

// Presence is what is known of a device's connection.
type Presence struct {
	State  State
	Since  time.Time // when State began
	Proven time.Time // the last sign of life that is known; zero: none

	// Gateway is the di of the gateway because of which the State is Unknown: it
	// spoke for the device, and is offline itself. "": it is no such thing.
	Gateway string
}

// proofLasts is how long a sign of life proves that a device is reachable: the
// keep-alive of a connection and its patience together. A connection that is
// silent for longer is most often closed then; not so one of a device that has
// its own keep-alive, which may be hours.
const proofLasts = 30 * time.Second

// attached is the newest session of a device, or when it went.
type attached struct {
	session Session   // nil: gone
	since   time.Time // it came or went
	seen    time.Time // last sign of life of one that is gone
	silent  bool      // its proof has lapsed, as was told; watch's alone
}

// Attach makes s the session of a device until detach is called. An older one
// is closed (cloud-interface rule 13): it is most often a connection of which
// the device knows that it is lost.
func (d *Directory) Attach(di string, s Session) (detach func()) {
	now := &attached{session: s, since: time.Now()}
	d.mu.Lock()
	older := d.sessions[di]
	d.sessions[di] = now
	d.mu.Unlock()
	if older != nil && older.session != nil {
		older.session.Close("a newer connection of the same device")
	}
	if d.nodes != nil {
		d.nodes.Claim(di, now.since)
		if d.Local(di) == nil { // closed meanwhile, because of another node
			d.nodes.Leave(di, s.LastSeen())
		}
	}
	d.tell(di)
	return func() { d.detach(di, now) }
}

// AttachSpare is Attach for a session that stands in for one of the device's own:
// it reports false if there is any.
func (d *Directory) AttachSpare(di string, s Session) (detach func(), ok bool) {
	now := &attached{session: s, since: time.Now()}
	d.mu.Lock()
	if older := d.sessions[di]; older != nil && older.session != nil {
		d.mu.Unlock()
		return nil, false
	}
	d.sessions[di] = now
	d.mu.Unlock()
	if d.nodes != nil {
		d.nodes.Claim(di, now.since)
	}
	d.tell(di)
	return func() { d.detach(di, now) }, true
}

// detach notes that a session has gone, if it is still the newest one.
func (d *Directory) detach(di string, a *attached) {
	seen := a.session.LastSeen()
	if !d.left(di, a, seen) {
		return
	}
	if d.nodes != nil {
		d.nodes.Leave(di, seen)
	}
	d.tell(di)
}

func (d *Directory) left(di string, a *attached, seen time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sessions[di] != a {
		return false
	}
	d.sessions[di] = &attached{since: time.Now(), seen: seen}
	d.proofs.went(di, seen)
	return true
}

// tell says that a device came or went, fell silent or speaks again, and with it
// those for which it speaks.
func (d *Directory) tell(di string) {
	if d.presence == nil {
		return
	}
	d.presence(di)
	d.mu.Lock()
	behind := maps.Clone(d.behind[di])
	d.mu.Unlock()
	for other := range behind {
		d.presence(other)
	}
}

// Session returns the session of a device, which may be at another node, or nil.
func (d *Directory) Session(di string) Session {
	if s := d.Local(di); s != nil || d.nodes == nil {
		return s
	}
	if far := d.nodes.Session(di); far != nil {
		return far
	}
	return nil
}

// Local returns the session of a device that is connected to this process, or
// nil.
func (d *Directory) Local(di string) Session {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a := d.sessions[di]; a != nil {
		return a.session
	}
	return nil
}

// Presence returns what is known of a device's connection. One that was reached
// through a gateway of the same account is Unknown when that is Offline: nobody is
// there who could tell.
func (d *Directory) Presence(di string) Presence {
	p := d.connection(di)
	d.mu.Lock()
	gateway := d.gateways[di]
	d.mu.Unlock()
	if p.State == Reachable || gateway == "" {
		return p
	}
	dev, _ := d.Get(di)
	other, ok := d.Get(gateway)
	if g := d.connection(gateway); ok && other.Account == dev.Account && g.State == Offline {
		p.State, p.Gateway = Unknown, gateway
		if p.Since.Before(g.Since) {
			p.Since = g.Since
		}
	}
	return p
}

// connection is what a device's own connection tells.
func (d *Directory) connection(di string) Presence {
	d.mu.Lock()
	a := d.sessions[di]
	d.mu.Unlock()
	if p, ok := d.elsewhere(di, a); ok {
		return p
	}
	switch {
	case a == nil:
		return Presence{State: Unknown, Since: d.started, Proven: d.proofs.of(di)}
	case a.session == nil:
		return Presence{State: Offline, Since: a.since, Proven: a.seen}
	}
	seen := a.session.LastSeen()
	if end := seen.Add(proofLasts); time.Now().After(end) {
		return Presence{State: Unproven, Since: end, Proven: seen}
	}
	return Presence{State: Reachable, Since: a.since, Proven: seen}
}
