package rae

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/xmpp/jid"
)

// What peers may take of us (sections 4.8 and 7 of the wire profile).
const (
	perSecond     = 50   // requests of one peer; twice as many at once
	maxObserved   = 64   // observations of one peer
	maxAllWatched = 1024 // observations of all
	maxRates      = 1024 // peers whose requests are counted one by one
)

func tooMany(perSecond int) error {
	return &oic.StatusError{Status: oic.TooMany, Diag: fmt.Sprintf("more than %d requests in a second", perSecond), Retry: time.Second}
}

// limits counts what peers take.
type limits struct {
	perSecond int // requests of one peer; less than 0: any

	mu      sync.Mutex // guards what follows
	rates   map[jid.JID]*rate.Limiter
	rest    *rate.Limiter // of all for whom there is no room in rates
	watched map[jid.JID]int
	all     int
}

// take counts a request, and reports whether it may be answered.
func (l *limits) take(from jid.JID) bool {
	if l.perSecond < 0 {
		return true
	}
	l.mu.Lock()
	r := l.rates[from]
	if r == nil {
		r = l.newcomer(from)
	}
	l.mu.Unlock()
	return r.Allow()
}

// newcomer makes room for a peer that is not counted. Who has not asked for a
// while is as good as new, and forgotten first. l.mu is held.
func (l *limits) newcomer(from jid.JID) *rate.Limiter {
	if l.rates == nil {
		l.rates = map[jid.JID]*rate.Limiter{}
		l.rest = rate.NewLimiter(rate.Limit(l.perSecond), 2*l.perSecond)
	}
	if len(l.rates) >= maxRates {
		for j, r := range l.rates {
			if r.Tokens() >= float64(2*l.perSecond) {
				delete(l.rates, j)
			}
		}
	}
	if len(l.rates) >= maxRates {
		return l.rest
	}
	r := rate.NewLimiter(rate.Limit(l.perSecond), 2*l.perSecond)
	l.rates[from] = r
	return r
}

// enter counts an observation, until leave. ok is false when there are too many.
func (l *limits) enter(from jid.JID) (leave func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watched[from] >= maxObserved || l.all >= maxAllWatched {
		return nil, false
	}
	if l.watched == nil {
		l.watched = map[jid.JID]int{}
	}
	l.watched[from]++
	l.all++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all--
		if l.watched[from]--; l.watched[from] == 0 {
			delete(l.watched, from)
		}
	}, true
}
