package directory

import (
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
	Reachable State = "reachable" // it is connected
	Offline   State = "offline"   // it was connected, and is no more
	Unknown   State = "unknown"   // this server has not seen it since it started
)

// Presence is what is known of a device's connection.
type Presence struct {
	State  State
	Since  time.Time // when State began
	Proven time.Time // the last sign of life; zero: none
}

// attached is the newest session of a device, or when it went.
type attached struct {
	session Session   // nil: gone
	since   time.Time // it came or went
	seen    time.Time // last sign of life of one that is gone
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
	d.tell(di)
	return func() { d.detach(di, now) }
}

// detach notes that a session has gone, if it is still the newest one.
func (d *Directory) detach(di string, a *attached) {
	if d.left(di, a, a.session.LastSeen()) {
		d.tell(di)
	}
}

func (d *Directory) left(di string, a *attached, seen time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sessions[di] != a {
		return false
	}
	d.sessions[di] = &attached{since: time.Now(), seen: seen}
	return true
}

// tell says that a device came or went.
func (d *Directory) tell(di string) {
	if d.presence != nil {
		d.presence(di)
	}
}

// Session returns the session of a device, or nil.
func (d *Directory) Session(di string) Session {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a := d.sessions[di]; a != nil {
		return a.session
	}
	return nil
}

// Presence returns what is known of a device's connection.
func (d *Directory) Presence(di string) Presence {
	d.mu.Lock()
	a := d.sessions[di]
	d.mu.Unlock()
	switch {
	case a == nil:
		return Presence{State: Unknown, Since: d.started}
	case a.session == nil:
		return Presence{State: Offline, Since: a.since, Proven: a.seen}
	}
	return Presence{State: Reachable, Since: a.since, Proven: a.session.LastSeen()}
}
