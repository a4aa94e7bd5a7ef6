package xmppd_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/farreach/farreach/xmppd"
)

// TestIdleSessionsHaveNoGoroutine: sessions that wait are on one poller, plain
// ones and such with TLS, and whatever happens finds them there: a stanza, half
// of one, the end from either side, another session in their place.
func TestIdleSessionsHaveNoGoroutine(t *testing.T) {
	for _, secure := range []bool{false, true} {
		cfg := xmppd.Config{Insecure: !secure}
		if secure {
			cfg.TLS = serverTLS()
		}
		w := newWorld(t, cfg)
		login := func(resource string) *peer {
			p := w.connect()
			if secure {
				p.startTLS()
			}
			p.authenticate("ann", password)
			p.bind(resource)
			return p
		}
		watcher := login("watcher")
		watcher.say("<presence/>")
		watcher.expect("presence", "from", "ann@"+domain+"/watcher")
		before := runtime.NumGoroutine()
		var idle []*peer
		for i := range 40 {
			idle = append(idle, login(fmt.Sprint(i)))
		}
		for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > before+5; {
			if time.Now().After(deadline) {
				t.Fatalf("TLS %v: %d goroutines for %d sessions", secure, runtime.NumGoroutine()-before, len(idle))
			}
			<-time.After(5 * time.Millisecond)
		}
		for range 6 { // until no session is young any more
			idle[0].sync()
		}
		watcher.say("<message to='ann@" + domain + "/1' id='m'/>")
		idle[1].expect("message", "id", "m")
		idle[1].say("<message to='ann@" + domain + "/watcher' ")
		idle[1].say("id='half'/>")
		watcher.expect("message", "id", "half")
		login("2")
		idle[2].ends("conflict")
		idle[3].say("</stream:stream>")
		idle[3].closed()
		idle[4].say("<presence/>")
		watcher.expect("presence", "from", "ann@"+domain+"/4")
		idle[4].nc.Close()
		watcher.expect("presence", "from", "ann@"+domain+"/4", "type", "unavailable")
		w.people.revoke("ann")
		idle[5].ends("reset")
		w.stop()
	}
}
