package xmppd

import (
	"sync"
	"time"
)

// gate lets so many TLS handshakes be under way that each is soon over. When a
// server comes back, all clients come at once; if they all shook hands at once,
// the first would be done when the last is, and that is too late for many, who
// then come again (threats rule 21).
type gate chan struct{}

const (
	gatePlaces = 128
	gateTime   = time.Second // after which a slow peer holds up nobody else
)

// enter waits for a place. It reports false if done is closed before there is
// one. leave gives it back.
func (g gate) enter(done <-chan struct{}) (leave func(), ok bool) {
	select {
	case g <- struct{}{}:
	case <-done:
		return nil, false
	}
	free := sync.OnceFunc(func() { <-g })
	t := time.AfterFunc(gateTime, free)
	return func() {
		t.Stop()
		free()
	}, true
}
