package directory

import (
	"context"
	"time"

	"github.com/farreach/farreach/cloud/node"
	"github.com/farreach/farreach/oic"
)

// A directory whose store is shared is one of several, each of which knows where
// every device is:
//
//	Attach, detach, silence ──▶ node.Nodes ──▶ those of the other processes
//	Session, Presence ◀── elsewhere ◀── node.Nodes ◀──┘

// join makes the directory one of those that share its store, if others can.
func (d *Directory) join(ctx context.Context, cfg Config) (err error) {
	if !cfg.Store.Shared() {
		return nil
	}
	serve := cfg.Serve
	if serve == nil {
		serve = func(_ string, s Session) oic.Observer { return s }
	}
	d.nodes, err = node.Open(ctx, node.Config{
		Store: cfg.Store, Name: cfg.Name, Version: cfg.Version, Log: cfg.Log,
		Serve: func(di string) oic.Observer {
			if s := d.Local(di); s != nil {
				return serve(di, s)
			}
			return nil
		},
		Seen: func(di string) (time.Time, bool) {
			if s := d.Local(di); s != nil {
				return s.LastSeen(), true
			}
			return time.Time{}, false
		},
		Replaced: d.replaced,
		Changed:  d.tell,
	})
	return err
}

// Renew looks for a device in the store that is not known: it may have signed up
// at another node a moment ago. That there is none is no error.
func (d *Directory) Renew(ctx context.Context, di string) error {
	if _, ok := d.Get(di); ok {
		return nil
	}
	_, err := d.devices.Renew(ctx, di)
	return failed("look for the device", err)
}

// replaced closes the session of a device that has one at another node since.
func (d *Directory) replaced(di string) {
	d.mu.Lock()
	a := d.sessions[di]
	if a != nil && a.session != nil {
		d.sessions[di] = &attached{since: time.Now(), seen: a.session.LastSeen()}
	}
	d.mu.Unlock()
	if a != nil && a.session != nil {
		a.session.Close("a newer connection of the same device, at another node")
	}
}

// elsewhere is what other nodes tell of a device, if the newest that is known
// of it is theirs. a is what is known here.
func (d *Directory) elsewhere(di string, a *attached) (Presence, bool) {
	if d.nodes == nil || a != nil && a.session != nil {
		return Presence{}, false
	}
	at, ok := d.nodes.Where(di)
	switch {
	case !ok || at.Here:
		return Presence{}, false
	case at.Gone:
		return Presence{State: Offline, Since: at.Since, Proven: at.Seen}, true
	case !at.Lost.IsZero():
		return Presence{State: Unknown, Since: at.Lost, Proven: at.Seen}, true
	case at.Silent:
		return Presence{State: Unproven, Since: at.Seen.Add(proofLasts), Proven: at.Seen}, true
	}
	return Presence{State: Reachable, Since: at.Since, Proven: at.Seen}, true
}

// Nodes returns the processes that share the store, this one first; none if it
// is alone with it.
func (d *Directory) Nodes() []node.Info {
	if d.nodes == nil {
		return nil
	}
	return d.nodes.List()
}
