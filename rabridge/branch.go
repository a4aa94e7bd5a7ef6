package rabridge

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/xmpp/jid"
)

// branch is one account: a client among its programs, who sees which devices are
// there.
type branch struct {
	*Bridge
	name string // of the account
	e    *rae.Endpoint
	here map[jid.JID]rae.Device // the devices that are there
	now  map[string]*stay       // by di: those that take part, or try to
	full bool                   // that was logged

	tasks sync.WaitGroup
}

// askTime is how long a device may take for an answer, as one that is connected to
// the cloud.
const askTime = 10 * time.Second

// refusedTime is how long an account is left alone whose stream was refused.
const refusedTime = time.Minute

// serve has the devices of an account take part until ctx ends.
func (b *Bridge) serve(ctx context.Context, name string) {
	login := b.cfg.Login(name)
	e, err := rae.New(rae.Config{XMPP: login, ID: clientID(login.JID), Timeout: askTime, Log: b.log})
	if err != nil {
		b.log.Error("devices on XMPP alone do not take part", "account", name, "err", err)
		return
	}
	a := &branch{Bridge: b, name: name, e: e, here: map[jid.JID]rae.Device{}, now: map[string]*stay{}}
	until, cancel := context.WithCancel(ctx)
	a.tasks.Go(func() {
		defer cancel()
		if err := e.Run(until); ctx.Err() == nil {
			b.log.Warn("devices on XMPP alone do not take part", "account", name, "err", err)
		}
	})
	_ = e.Watch(until, func(d rae.Device) { a.met(until, d) })
	a.tasks.Wait()
	_ = backoff.Sleep(ctx, refusedTime) // if it is not ctx that has ended
}

// clientID is what the client of an account is called, always the same (RA-055).
func clientID(account jid.JID) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("xmpp:"+account.Bare().String()+"?rabridge")).String()
}

// met takes who has come or gone. Nobody else calls it at the same time.
func (a *branch) met(ctx context.Context, d rae.Device) {
	if d.Account() != a.e.Account() || !isDevice(d.JID) {
		return
	}
	if d.Available && (len(a.here) < maxDevices || a.here[d.JID].Available) {
		a.here[d.JID] = d
	} else if delete(a.here, d.JID); d.Available && !a.full {
		a.full = true
		a.log.Warn("too many devices on XMPP alone: the others do not take part", "account", a.name, "devices", maxDevices)
	}
	a.settle(ctx, d.Name.Device())
}

// settle has the device di take part as it is there now: at the first of its
// addresses, if it has several.
func (a *branch) settle(ctx context.Context, di string) {
	s := a.now[di]
	if s != nil {
		if at, ok := a.here[s.at.JID]; ok && at.Since.Equal(s.at.Since) {
			return
		}
		s.cancel()
		delete(a.now, di)
	}
	for _, j := range sorted(a.here) {
		if at := a.here[j]; at.Name.Device() == di {
			a.now[di] = a.begin(ctx, at, s)
			return
		}
	}
}

// begin has a device take part once before, if there is one, has ended.
func (a *branch) begin(ctx context.Context, at rae.Device, before *stay) *stay {
	ctx, cancel := context.WithCancel(ctx)
	s := newStay(a, at, cancel)
	a.tasks.Go(func() {
		defer close(s.over)
		defer cancel()
		if before != nil {
			<-before.over
		}
		s.run(ctx)
	})
	return s
}
