package cloudlink_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/vector"
	"github.com/farreach/farreach/oic"
)

// signedIn is a peer over a pipe that is signed in as the device of the
// vectors, and the session by which the cloud reaches it. It sent no CSM, like
// iotivity-lite. It is to be used in a bubble of synctest.
func signedIn(t *testing.T, c *cloud, links ...oic.Link) (r *raw, session cloudlink.Session, stop func()) {
	t.Helper()
	p := newPipes()
	stop = serveOn(t, p, cloudlink.ServerConfig{Backend: c, AllowPlain: true, KeepAlive: -1}, nil)
	nc, err := p.DialContext(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	r = rawOn(t, nc)
	r.ask("O1")
	c.mu.Lock()
	c.devices[device1].links = links
	c.mu.Unlock()
	r.ask("O3")
	c.mu.Lock()
	defer c.mu.Unlock()
	return r, c.devices[device1].session, stop
}

func (r *raw) send(m *coap.Message) {
	r.t.Helper()
	b, err := m.Append(coap.TCP, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.write(b)
}

// must is next without an error.
func (r *raw) must() *coap.Message {
	r.t.Helper()
	m, err := r.next()
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

// The cloud asks a device as real ones need it: vector O16, but for the token,
// takes the answer O17, and sends nothing longer than 6 KB (rule 8).
func TestCommandAsRealDevicesNeedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, session, stop := signedIn(t, newCloud())
		defer stop()
		want := vector.Get("O16").Message
		asked := make(chan error, 1)
		go func() {
			_, err := session.Handle(context.Background(), &oic.Request{
				Op: oic.Update, Href: "/light/1", Format: oic.CBOR, Accept: oic.CBOR, Body: want.Payload,
			})
			asked <- err
		}()
		m := r.must()
		if m.Code != coap.POST || m.Token.Len() != 8 || !slices.Equal(m.Payload, want.Payload) || len(m.Options) != len(want.Options) {
			t.Errorf("the device was asked %v, want %v", m, want)
		}
		for i, o := range m.Options {
			if w := want.Options[i]; o.Number != coap.Number(w.Number) || !slices.Equal(o.Value, w.Value) {
				t.Errorf("option %d is %d=%x, want %d=%x", i, o.Number, o.Value, w.Number, w.Value)
			}
		}
		r.send(&coap.Message{Code: coap.Changed, Token: m.Token})
		if err := <-asked; err != nil {
			t.Error(err)
		}
		_, err := session.Handle(t.Context(), &oic.Request{Op: oic.Update, Href: "/a", Format: oic.OCF, Body: make([]byte, 7000)})
		if status(err) != oic.TooLarge {
			t.Errorf("7,000 bytes: %v, want 4.13", err)
		}
	})
}

// A device that keeps silent costs its askers 10 s, and the 33rd no time.
func TestSilentDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, session, stop := signedIn(t, newCloud())
		defer stop()
		go func() {
			for range r.got {
			}
		}()
		start := time.Now()
		results := make(chan error, 32)
		for range 32 {
			go func() {
				_, err := session.Handle(context.Background(), &oic.Request{Href: "/a"})
				results <- err
			}()
		}
		synctest.Wait()
		if _, err := session.Handle(t.Context(), &oic.Request{Href: "/a"}); status(err) != oic.Unavailable || time.Since(start) > 0 {
			t.Errorf("the 33rd request: %v after %v, want 5.03 at once", err, time.Since(start))
		}
		for range 32 {
			if err := <-results; !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("request to a silent device: %v", err)
			}
		}
		if d := time.Since(start); d != 10*time.Second {
			t.Errorf("the device had %v to answer, want 10 s", d)
		}
		// A caller may be more patient, up to a minute.
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		start = time.Now()
		session.Handle(ctx, &oic.Request{Href: "/a"})
		if d := time.Since(start); d != time.Minute {
			t.Errorf("the device had %v to answer, want 60 s", d)
		}
	})
}

func observable(n int) (links []oic.Link) {
	for i := range n {
		links = append(links, oic.Link{Href: fmt.Sprintf("/r/%d", i), Instance: int64(i + 1), Policy: oic.Policy{Mask: 3}})
	}
	return links
}

// What was published is observed at sign-in, eight at a time, and at most 256
// for a device; what is not answered in 10 s is given up.
func TestObservesWhatWasPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		links := observable(300)
		links[3].Policy.Mask = oic.Discoverable
		r, _, stop := signedIn(t, c, links...)
		defer stop()
		r.noBatch()
		first := []*coap.Message{}
		for range 8 {
			first = append(first, r.must())
		}
		synctest.Wait()
		if n := len(r.got); n != 0 {
			t.Errorf("%d more are observed before the first are answered", n)
		}
		for i, m := range first {
			if v, ok := m.Options.Uint(coap.Observe); m.Code != coap.GET || !ok || v != 0 {
				t.Errorf("asked %v", m)
			}
			if a, _ := m.Options.Uint(coap.Accept); a != 10000 {
				t.Errorf("asked for content format %d (rule 6)", a)
			}
			switch i {
			case 0: // kept silent about
			case 1:
				r.send(&coap.Message{Code: coap.NotFound, Token: m.Token})
			case 2: // answered once
				r.send(content(m.Token, "\xf5", false))
			default:
				r.send(content(m.Token, "\xf4", true))
			}
		}
		asked := 8
		idle := time.NewTimer(time.Minute)
		for more := true; more; {
			select {
			case m := <-r.got:
				asked++
				r.send(content(m.Token, "\xf4", true))
			case <-idle.C:
				more = false
			}
		}
		if asked != 256+1 { // and the Cancel of the silent one
			t.Errorf("%d requests, want 257", asked)
		}
		synctest.Wait()
		if n := len(c.seen()); n != 254 {
			t.Errorf("%d reports, want 254", n)
		}
	})
}

// noBatch answers the question for a batch as a device does that has none.
func (r *raw) noBatch() {
	r.t.Helper()
	r.send(&coap.Message{Code: coap.NotFound, Token: r.links().Token})
}

// links is the question for the device's links.
func (r *raw) links() *coap.Message {
	r.t.Helper()
	m := r.must()
	if m.Code != coap.GET || m.Options.Path() != "/oic/res" || m.Options.Query() != "if=oic.if.ll" || m.Options.Has(coap.Observe) {
		r.t.Fatalf("want the question for the links (vector O13), got %v %s", m, m.Options.Path())
	}
	return m
}

func content(token coap.Token, body string, observed bool) *coap.Message {
	m := &coap.Message{Code: coap.Content, Token: token, Payload: []byte(body)}
	if observed {
		m.AddUint(coap.Observe, 2)
	}
	m.AddUint(coap.ContentFormat, 10000)
	return m
}

// What is unpublished is not observed any more, and what is published later is.
func TestObservesAsPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, stop := signedIn(t, newCloud())
		defer stop()
		r.write(vector.Get("O9").Wire)
		r.answer("O9")
		get := r.must()
		if get.Options.Path() != "/light/1" || !get.Options.Has(coap.Observe) {
			t.Fatalf("after a publication: %v", get)
		}
		r.send(content(get.Token, "\xf5", true))
		r.write(vector.Get("O11").Wire)
		r.answer("O11")
		cancel := r.must()
		if v, _ := cancel.Options.Uint(coap.Observe); cancel.Token != get.Token || v != 1 {
			t.Errorf("after it was taken back: %v, want a GET with Observe 1", cancel)
		}
	})
}

// A link is there no more, though its device did not take it back: its time is
// over. What comes of it ends the observation, and publishing it again begins one.
func TestObservesUntilLinkLapses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		r, _, stop := signedIn(t, c)
		defer stop()
		lapse := func(yes bool) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.lapsed = yes
		}
		publish := func() *coap.Message {
			r.write(vector.Get("O9").Wire)
			r.answer("O9")
			get := r.must()
			if v, ok := get.Options.Uint(coap.Observe); get.Options.Path() != "/light/1" || !ok || v != 0 {
				t.Fatalf("after a publication: %v", get)
			}
			return get
		}
		get := publish()
		r.send(content(get.Token, "\xf5", true))
		synctest.Wait()
		lapse(true)
		r.send(content(get.Token, "\xf4", true))
		cancel := r.must()
		if v, _ := cancel.Options.Uint(coap.Observe); cancel.Token != get.Token || v != 1 {
			t.Fatalf("after its time: %v, want a GET with Observe 1", cancel)
		}
		r.send(content(cancel.Token, "\xf4", false))
		lapse(false)
		get = publish()
		r.send(content(get.Token, "\xf5", true))
		synctest.Wait()
		if got := c.seen(); len(got) != 2 || len(r.got) != 0 {
			t.Errorf("%d reports, want 2; %d requests more, want none", len(got), len(r.got))
		}
	})
}

// slow is a cloud whose Report waits until it is let go.
type slow struct {
	*cloud
	gate chan struct{}
}

func (s slow) Report(ctx context.Context, who oic.Identity, reports []cloudlink.Report) []error {
	<-s.gate
	return s.cloud.Report(ctx, who, reports)
}

// TestBad05: connections dropped in every state leave nothing behind; TestMain
// looks for goroutines.
func TestBad05DroppedInEveryState(t *testing.T) {
	c := newCloud()
	addr := serve(t, cloudlink.ServerConfig{Backend: c}, nil)
	dialRaw(t, addr).ask("O1")
	var all []byte
	for _, name := range []string{"O3", "O9", "O7", "O11"} {
		all = append(all, vector.Get(name).Wire...)
	}
	for n := range len(all) {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		nc.Write(all[:n])
		if n%2 == 0 {
			nc.(*net.TCPConn).SetLinger(0) // a reset
		}
		nc.Close()
	}
	// A connection that was dropped may be read only now, and its sign-in end that
	// of the same device which came a moment before.
	for start := time.Now(); ; {
		r := dialRaw(t, addr)
		r.write(vector.Get("O3").Wire)
		got, err := r.next()
		if err == nil && got.Code == coap.Changed {
			break
		}
		if time.Since(start) > time.Minute {
			t.Fatalf("afterwards: %v, %v", got, err)
		}
	}
}

// FuzzPeer: whatever a peer says, before or after sign-in, others are served.
func FuzzPeer(f *testing.F) {
	for _, v := range vector.All() {
		if v.Transport == "tcp" {
			f.Add(v.Wire, strings.HasPrefix(v.Name, "O"))
		}
	}
	for _, r := range vector.Refusals() {
		f.Add(r.Wire, true)
	}
	p := newPipes()
	c := newCloud()
	stop := serveOn(f, p, cloudlink.ServerConfig{Backend: c, AllowPlain: true}, nil)
	f.Cleanup(stop)
	f.Fuzz(func(t *testing.T, b []byte, signIn bool) {
		c.reset()
		open := func() *raw {
			nc, err := p.DialContext(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			r := rawOn(t, nc)
			nc.SetDeadline(time.Now().Add(time.Minute))
			return r
		}
		r := open()
		if signIn {
			r.ask("O1")
			r.ask("O3")
		}
		go func() {
			for range r.got {
			}
		}()
		r.nc.Write(b)
		r.nc.Close()
		// The server may still be working on b, which may well use code-1.
		c.pair("OTHERS")
		other := open()
		other.nc.Write(bytes.Replace(vector.Get("O1").Wire, []byte("code-1"), []byte("OTHERS"), 1))
		if got := other.must(); got.Code != coap.Changed {
			t.Fatalf("another device: %v %s", got, got.Payload)
		}
	})
}

// A device sends events by POST, and hears of it when they are kept (CI-003):
// each of them, and only those of what it has published.
func TestDeviceSendsEvents(t *testing.T) {
	c := newCloud()
	uri := "coap+tcp://" + serve(t, cloudlink.ServerConfig{Backend: c}, nil)
	l, err := cloudlink.Connect(t.Context(), cloudlink.ServerInfo{URI: uri, Handler: new(lamp), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	pressed := &oic.Response{Format: oic.OCF, Body: []byte("\xa1\x61p\xf5")}
	if err := l.Report(t.Context(), "/a/button", pressed); !errors.Is(err, oic.ErrOffline) {
		t.Errorf("before sign-in: %v", err)
	}
	links := []oic.Link{{Href: "/a/button", Types: []string{"oic.r.button"}, Interfaces: []string{oic.IfSensor}}}
	if _, _, err := l.Register(t.Context(), cloudlink.Registration{Device: device1, Code: "code-1", Links: links}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := l.Report(t.Context(), "/a/button", pressed); err != nil {
			t.Fatal(err)
		}
	}
	got := c.seen()
	if len(got) != 2 || got[1].href != "/a/button" || got[1].body != `{"p":true}` || got[1].who.Device != device1 {
		t.Errorf("kept %v", got)
	}
	for href, want := range map[string]oic.Status{"/b": oic.NotFound, "/a/button?if=oic.if.s": oic.BadRequest} {
		if err := l.Report(t.Context(), href, pressed); status(err) != want {
			t.Errorf("event of %s: %v, want %v", href, err, want)
		}
	}
	if err := l.Report(t.Context(), "/a/button", &oic.Response{}); status(err) != oic.BadRequest {
		t.Errorf("an event without a body: %v", err)
	}
	c.mu.Lock()
	c.down = oic.Errorf(oic.Unavailable, "disk full")
	c.mu.Unlock()
	if err := l.Report(t.Context(), "/a/button", pressed); status(err) != oic.Unavailable {
		t.Errorf("an event that cannot be kept: %v, want 5.03", err)
	}
}
