package cloudlink_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
)

// paced is a cloud that takes 50 events a second (threats section 3.5).
type paced struct {
	*cloud
	turn chan struct{} // has one while none is being taken
}

func newPaced() *paced {
	p := &paced{newCloud(), make(chan struct{}, 1)}
	p.turn <- struct{}{}
	return p
}

const pace = 20 * time.Millisecond

func (p *paced) wait() {
	<-p.turn
	time.Sleep(pace)
	p.turn <- struct{}{}
}

func (p *paced) Report(ctx context.Context, who oic.Identity, reports []cloudlink.Report) []error {
	for range reports {
		p.wait()
	}
	return p.cloud.Report(ctx, who, reports)
}

func (p *paced) Event(ctx context.Context, who oic.Identity, href string, rep *oic.Response) error {
	p.wait()
	return p.cloud.Event(ctx, who, href, rep)
}

// watched is a device over a pipe whose one resource the cloud c watches, and
// the token of that observation.
func watched(t *testing.T, c cloudlink.Backend) (r *raw, token coap.Token, stop func()) {
	t.Helper()
	p := newPipes()
	stop = serveOn(t, p, cloudlink.ServerConfig{Backend: c, AllowPlain: true}, nil)
	nc, err := p.DialContext(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	r = rawOn(t, nc)
	for _, name := range []string{"O1", "O3", "O9"} {
		r.ask(name)
	}
	return r, r.must().Token, stop
}

// number is a CBOR number of two bytes.
func number(n int) string { return string([]byte{0x19, byte(n >> 8), byte(n)}) }

// A device that reports 20 times what it may, for five minutes, stays
// connected: its Pings are answered and it can be commanded all the while. The
// cloud has its newest state soon after, and of the rest what it may take, in
// order (rule 10; threats section 3.5).
func TestFastDeviceIsHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newPaced()
		r, token, stop := watched(t, c)
		defer stop()
		c.mu.Lock()
		session := c.devices[device1].session
		c.mu.Unlock()
		const last = 5 * 60 * 1000
		asked := make(chan error, 1)
		for n := 1; n <= last; n++ {
			r.send(content(token, number(n%65536), true))
			time.Sleep(time.Millisecond)
			if n%10_000 != 0 {
				continue
			}
			start := time.Now()
			if pong := r.do(&coap.Message{Code: coap.Ping, Token: coap.TokenFrom(uint64(n))}); pong.Code != coap.Pong {
				t.Fatalf("after %d: %v, want a Pong", n, pong)
			}
			go func() {
				_, err := session.Handle(context.Background(), &oic.Request{Op: oic.Update, Href: "/light/1", Format: oic.OCF, Body: []byte{0xf5}})
				asked <- err
			}()
			r.send(&coap.Message{Code: coap.Changed, Token: r.must().Token})
			if err := <-asked; err != nil || time.Since(start) > 0 {
				t.Fatalf("after %d: command: %v after %v", n, err, time.Since(start))
			}
		}
		time.Sleep(2 * time.Second) // 64 of them may wait
		seen := c.seen()
		if got := seen[len(seen)-1].body; got != fmt.Sprint(last%65536) {
			t.Errorf("the newest state is %s, want %d", got, last%65536)
		}
		if n := len(seen); n < 290*50 || n > 310*50 {
			t.Errorf("%d reports were taken in 300 s, want 50/s", n)
		}
		for i := 1; i < len(seen); i++ {
			var a, b int
			fmt.Sscan(seen[i-1].body, &a)
			fmt.Sscan(seen[i].body, &b)
			if step := (b - a + 65536) % 65536; step == 0 || step > 1000 {
				t.Fatalf("report %d is %d, behind %d", i, b, a)
			}
		}
	})
}

// What a connection brought before the device came back by another is kept before
// what that brings: the last state is the newest one. What comes by the old one
// afterwards is not kept.
func TestReplacedConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := newPaced(), newPipes()
		defer serveOn(t, p, cloudlink.ServerConfig{Backend: c, AllowPlain: true}, nil)()
		connect := func(names ...string) (*raw, coap.Token) {
			nc, err := p.DialContext(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			r := rawOn(t, nc)
			for _, name := range names {
				r.ask(name)
			}
			return r, r.must().Token
		}
		old, token := connect("O1", "O3", "O9")
		c.mu.Lock()
		session := c.devices[device1].session
		c.devices[device1].links = []oic.Link{{Href: "/light/1", Instance: 1, Policy: oic.Policy{Mask: oic.Discoverable | oic.Observable}}}
		c.mu.Unlock()
		const many, newest = 60, 999
		for n := range many {
			old.send(content(token, number(n), true))
		}
		synctest.Wait()
		again, token := connect("O3") // while they are being kept
		again.send(content(token, number(newest), true))
		time.Sleep(10 * time.Second)
		seen := c.seen()
		if n := len(seen); n != many+1 || seen[n-1].body != fmt.Sprint(newest) {
			t.Errorf("%d reports, the last is %v", n, seen[n-1])
		}
		session.Close("again") // may be called at any time
	})
}

// A device that tells events 20 times as fast as it may is told with 4.29 when
// to try again, and what was acknowledged is kept, each once. Its Pings are
// answered all the while (RFC 8516; threats section 3.5).
func TestFastEventsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newPaced()
		r, _, stop := watched(t, c)
		defer stop()
		answers := map[coap.Code]int{}
		var pong time.Duration
		var ping time.Time
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for m := range r.got {
				switch {
				case m.Code == coap.Pong && m.Token.Len() == 1:
					pong = max(pong, time.Since(ping))
					continue
				case m.Code == coap.TooManyRequests:
					if age, ok := m.Options.Uint(coap.MaxAge); !ok || age != 1 {
						t.Errorf("Max-Age of a 4.29: %d, %v", age, ok)
					}
				}
				if answers[m.Code]++; answers[coap.Changed]+answers[coap.TooManyRequests] == 10_000 {
					return
				}
			}
		}()
		for n := range 10_000 {
			m := request(t, coap.POST, "/"+device1+"/light/1", "")
			m.Token, m.Payload = coap.TokenFrom(uint64(n)), []byte(number(n))
			m.AddUint(coap.ContentFormat, 10000)
			r.send(m)
			time.Sleep(time.Millisecond)
			if n%1000 == 0 {
				ping = time.Now()
				r.send(&coap.Message{Code: coap.Ping, Token: coap.MakeToken([]byte{1})})
				synctest.Wait()
			}
		}
		<-ended
		if pong > 0 {
			t.Errorf("a Ping waited %v for its Pong", pong)
		}
		if n := answers[coap.Changed]; n != len(c.seen()) || n < 480 || n > 550 {
			t.Errorf("answers %v, and %d events are kept", answers, len(c.seen()))
		}
	})
}

// What a device may have waiting is bounded in memory: one that reports large
// states of many resources to a store that takes none is not read for a while.
func TestBad25LargeReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := slow{newCloud(), make(chan struct{})}
		r, token, stop := watched(t, c)
		defer stop()
		const size = 60_000
		body := append([]byte{0x5a, 0, size >> 16, size >> 8 & 0xff, size & 0xff}, make([]byte, size)...)
		b, err := content(token, string(body), true).Append(coap.TCP, nil)
		if err != nil {
			t.Fatal(err)
		}
		sent := 0
		for ; sent < 100; sent++ {
			r.nc.SetWriteDeadline(time.Now().Add(time.Second))
			if _, err := r.nc.Write(b); err != nil {
				break
			}
		}
		if most := (1<<20)/size + 1; sent > most+1 {
			t.Errorf("%d reports of %d bytes were taken, want at most %d", sent, size, most)
		}
		close(c.gate)
		synctest.Wait()
		if n := len(c.seen()); n < sent {
			t.Errorf("%d of %d arrived", n, sent)
		}
	})
}

// A device that asks by a Ping with Custody whether its notifications are kept
// gets its Pong when the store has them, with Custody if it has (RFC 8323,
// section 5.4.1; threats rule 17).
func TestCustodyMeansKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := slow{newCloud(), make(chan struct{})}
		r, token, stop := watched(t, c)
		defer stop()
		ping := &coap.Message{Code: coap.Ping, Token: coap.TokenFrom(1)}
		ping.Add(coap.PingCustody, nil)
		if pong := r.do(ping); !pong.Options.Has(coap.PingCustody) {
			t.Errorf("nothing was reported: %v", pong)
		}
		for n := range 10 {
			r.send(content(token, number(n), true))
		}
		r.send(content(token, "\xff", true)) // no CBOR: cannot be kept
		r.send(ping)
		r.send(content(token, number(1000), true))
		synctest.Wait()
		if len(r.got) > 0 {
			t.Fatalf("before anything is kept: %v", <-r.got)
		}
		for len(r.got) == 0 {
			c.gate <- struct{}{}
			synctest.Wait()
		}
		if pong := r.must(); pong.Options.Has(coap.PingCustody) {
			t.Errorf("one was lost: %v", pong)
		}
		if n := len(c.seen()); n < 10 { // the one behind the Ping may be among them
			t.Errorf("%d were kept when the Pong came, want 10", n)
		}
		close(c.gate)
		if pong := r.do(ping); !pong.Options.Has(coap.PingCustody) {
			t.Errorf("all is kept: %v", pong)
		}
		if seen := c.seen(); seen[len(seen)-1].body != "1000" {
			t.Errorf("the last is %v", seen[len(seen)-1])
		}
	})
}

// What waits of all devices together is bounded too: many of them, each within
// its own bound, are not read when that is reached.
func TestBad25LargeReportsOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := slow{newCloud(), make(chan struct{})}
		p := newPipes()
		stop := serveOn(t, p, cloudlink.ServerConfig{Backend: c, AllowPlain: true, KeepAlive: -1, SignIns: -1}, nil)
		defer stop()
		const size = 60_000
		body := string(append([]byte{0x59, size >> 8, size & 0xff}, make([]byte, size)...))
		taken := 0
		for n := range 100 {
			di, code := fmt.Sprintf("00000000-cafe-4bad-8000-1%011d", n), fmt.Sprintf("code-of-%d", n)
			c.pair(code)
			nc, err := p.DialContext(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			r := rawOn(t, nc)
			access := fields(t, r.do(request(t, coap.POST, "/oic/sec/account", `{"di":"`+di+`","accesstoken":"`+code+`"}`)))["accesstoken"]
			r.do(request(t, coap.POST, "/oic/sec/session", fmt.Sprintf(`{"di":"%s","uid":"u-1","accesstoken":"%s","login":true}`, di, access)))
			r.do(request(t, coap.POST, "/oic/rd", `{"di":"`+di+`","ttl":0,"links":[{"href":"/a","rt":["x.a"],"if":["oic.if.r"],"p":{"bm":3}}]}`))
			b, err := content(r.must().Token, body, true).Append(coap.TCP, nil)
			if err != nil {
				t.Fatal(err)
			}
			for range 16 {
				nc.SetWriteDeadline(time.Now().Add(time.Second))
				if _, err := nc.Write(b); err != nil {
					break
				}
				taken += size
			}
		}
		if most := 64<<20 + 100*2*size; taken > most {
			t.Errorf("%d bytes were taken of 100 devices, want at most %d", taken, most)
		}
		close(c.gate)
	})
}
