package xcproxy

import (
	"context"
	"sync"

	"github.com/farreach/farreach/internal/backoff"
)

// runner is what Run has under way.
type runner struct {
	p     *Proxy
	legs  map[legKey]*leg
	left  map[string]bool // by di: hidden, and the cloud does not list it
	ended chan *leg
}

// leg is one way by which a device is shown, a stream or a registration; or what
// ends a registration.
type leg struct {
	key    legKey
	leaves bool // the cloud is told that the device is not there for it any more
	done   bool // there is no more to do
	cancel context.CancelFunc

	wait  *backoff.Backoff // nil: nothing went wrong yet
	wrong string           // what did

	refused error // by the cloud, which takes the grant no more; nil: it may take it
	away    bool  // and by nobody was the device connected when that was looked at
}

type legKey struct {
	di    string
	cloud bool
}

// task is what is to be done about a device by one way.
type task struct {
	m      *mirror
	leaves bool
}

// took takes the end of a leg.
func (r *runner) took(l *leg) {
	delete(r.legs, l.key)
	if l.done && l.leaves {
		r.left[l.key.di] = true
	}
}

// drain takes the ends of all legs.
func (r *runner) drain() {
	for range r.legs {
		<-r.ended
	}
}

// settle starts what is missing, and ends what is not to be any more. What ends
// is started again only after it has ended: its address is taken until then.
func (r *runner) settle(ctx context.Context, tasks *sync.WaitGroup) {
	wanted := r.wanted()
	r.p.remember()
	for key, l := range r.legs {
		if w, ok := wanted[key]; !ok || w.leaves != l.leaves {
			l.cancel()
		}
	}
	for key, w := range wanted {
		if r.legs[key] != nil {
			continue
		}
		until, cancel := context.WithCancel(ctx)
		l := &leg{key: key, leaves: w.leaves, cancel: cancel}
		r.legs[key] = l
		tasks.Go(func() {
			r.p.walk(until, l, w.m)
			cancel()
			r.ended <- l
		})
	}
}

// wanted is what is to be done now. A device that is here and may be seen is
// shown; one that may not be seen is taken out of the cloud, which would list it
// as offline for ever. One that does not answer stays there, and is offline.
func (r *runner) wanted() map[legKey]task {
	p := r.p
	p.mu.Lock()
	all := p.sorted()
	p.mu.Unlock()
	wanted := map[legKey]task{}
	for _, m := range all {
		inCloud := legKey{m.id, true}
		switch shown := m.shown(); {
		case shown && m.present():
			if p.hasStream(m.id) {
				wanted[legKey{m.id, false}] = task{m: m}
			}
			if p.cfg.Cloud != nil {
				wanted[inCloud] = task{m: m}
				delete(r.left, m.id)
			}
		case !shown && p.cfg.Cloud != nil && !r.left[m.id]:
			wanted[inCloud] = task{m: m, leaves: true}
		}
	}
	return wanted
}

// walk goes a leg until ctx ends, or there is no more to do.
func (p *Proxy) walk(ctx context.Context, l *leg, m *mirror) {
	show := (*Proxy).stream
	switch {
	case l.leaves:
		show = (*Proxy).leave
	case l.key.cloud:
		show = (*Proxy).register
	}
	p.keep(ctx, l, m, show)
}
