package rae

import (
	"context"
	"time"
)

// probation is how long a server that was set from afar may fail before the
// device goes back to the one that worked: nobody can reach it to correct a
// mistake. What is set near the device stays.
const probation = 5 * time.Minute

// move sets the server, from afar or near the device.
func (s *Settings) move(to Server, far bool) {
	before := s.Before
	if before == (Server{}) {
		before = s.Server // by which the change came
	}
	if s.Server, s.Before = to, before; !far || to == before {
		s.Before = Server{}
	}
}

// await waits until something else is set, which may be the server before.
func (p *Provisioning) await(ctx context.Context, s Settings, turn int, other <-chan struct{}) {
	var over <-chan time.Time // never, if there is nothing to go back to
	if s.Before != (Server{}) {
		timer := time.NewTicker(probation) // once more if that cannot be kept
		defer timer.Stop()
		over = timer.C
	}
	for {
		select {
		case <-other:
			return
		case <-over:
			p.goBack(turn)
		case <-ctx.Done():
			return
		}
	}
}

// goBack sets the server that worked last, unless that of this turn has worked
// meanwhile or another was set.
func (p *Provisioning) goBack(turn int) {
	p.mu.Lock()
	next, failed := p.set, p.set.Server
	if turn != p.turn || next.Before == (Server{}) {
		p.mu.Unlock()
		return
	}
	next.move(next.Before, true)
	err := p.replace(next)
	p.mu.Unlock()
	if err == nil {
		p.log.Warn("an XMPP server set from afar does not work", "server", failed.String(), "back", next.Server.String())
		p.changed()
	}
}

// proved notes that the server works. p.mu is held.
func (p *Provisioning) proved() {
	if p.set.Before == (Server{}) {
		return
	}
	next := p.set
	next.Before = Server{}
	if p.keep(next) == nil {
		p.set = next
	}
}
