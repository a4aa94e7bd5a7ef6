package cloudlink_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
)

// When more devices sign in than the server takes, those at the end of a wait
// of 2 s are let in, and the others are refused with 5.03 (rule 16).
func TestStormIsShaped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSecond, devices = 10, 100
		p, c := newPipes(), newCloud()
		defer serveOn(t, p, cloudlink.ServerConfig{Backend: c, AllowPlain: true, KeepAlive: -1, SignIns: perSecond}, nil)()
		start := time.Now()
		var in, busy, late atomic.Int32
		done := make(chan struct{})
		for i := range devices {
			nc, err := p.DialContext(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			id := fmt.Sprintf("00000000-cafe-4bad-8000-%012d", i)
			c.mu.Lock()
			c.devices[id] = &cloudDevice{}
			token := c.grant(id).Access.Reveal()
			c.mu.Unlock()
			r := rawOn(t, nc)
			r.send(post(t, "/oic/sec/session", map[string]any{"uid": account, "di": id, "accesstoken": token, "login": true}))
			go func() {
				defer func() { done <- struct{}{} }()
				m, err := r.next()
				switch {
				case err != nil:
					t.Error(err)
				case m.Code == coap.Changed:
					in.Add(1)
				case m.Code == coap.ServiceUnavailable:
					busy.Add(1)
				default:
					t.Errorf("answer %v", m)
				}
				if time.Since(start) > 2*time.Second {
					late.Add(1)
				}
			}()
		}
		for range devices {
			<-done
		}
		// At once as many as in a second, then as many as in the two seconds.
		if in.Load() != 3*perSecond || busy.Load() != devices-3*perSecond || late.Load() != 0 {
			t.Errorf("%d in, %d refused, %d kept waiting more than 2 s", in.Load(), busy.Load(), late.Load())
		}
	})
}

// post is a POST in content format 10000.
func post(t testing.TB, path string, doc any) *coap.Message {
	t.Helper()
	m := request(t, coap.POST, path, "")
	var err error
	if m.Payload, err = oic.Encode(oic.OCF, doc); err != nil {
		t.Fatal(err)
	}
	m.AddUint(coap.ContentFormat, 10000)
	return m
}
