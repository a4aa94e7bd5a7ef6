package cloudlink_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/coap/coaptest"
	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// A device dials out, registers, reports its events and is commanded, plain
// and by TLS, over TCP and WebSockets (CI-003, CI-009, CI-010, CI-015, CI-017).
func TestDeviceThroughCloud(t *testing.T) {
	overSchemes(t, func(t *testing.T, serve func(cloudlink.ServerConfig) string, trust *tls.Config) {
		c := newCloud()
		uri := serve(cloudlink.ServerConfig{Backend: c})
		d := run(t, cloudlink.Config{Servers: []string{uri}, TLS: trust, Name: func() string { return "Lamp" }})
		if s := d.registered(t); s.Account != account || s.Server != uri {
			t.Errorf("status %+v", s)
		}
		l := person(t, c, cloudlink.ServerInfo{URI: uri, TLS: trust})
		commandAndWatch(t, c, l)
		resp, err := l.Peer().Handle(t.Context(), &oic.Request{Href: "/oic/res", Accept: oic.OCF})
		if err != nil || !bytes.Contains(resp.Body, []byte(uri)) {
			t.Errorf("/oic/res = %q, %v; want endpoints at %s (rule 18)", resp.Body, err, uri)
		}
		if err := d.stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	})
}

func commandAndWatch(t *testing.T, c *cloud, l *cloudlink.Link) {
	t.Helper()
	lamp := l.Device(device1)
	if on, err := light(t.Context(), lamp, nil); on || err != nil {
		t.Fatalf("the lamp is %v, %v", on, err)
	}
	// The cloud has reported the first state; the person watches too.
	<-c.reported
	seen := make(chan string, 16)
	ctx, cancel := context.WithCancel(t.Context())
	watching := make(chan error, 1)
	go func() {
		watching <- lamp.Observe(ctx, &oic.Request{Href: "/a/light", Accept: oic.OCF}, func(rep *oic.Response) {
			text, _ := oic.ToJSON(rep.Format, rep.Body)
			seen <- string(text)
		})
	}()
	if got := <-seen; got != `{"value":false}` {
		t.Errorf("first notification %s", got)
	}
	on := true
	if _, err := light(t.Context(), lamp, &on); err != nil {
		t.Fatal(err)
	}
	if got := <-seen; got != `{"value":true}` {
		t.Errorf("second notification %s", got)
	}
	<-c.reported
	if got := c.seen(); len(got) != 2 || got[1].href != "/a/light" || got[1].body != `{"value":true}` || got[1].who.Device != device1 {
		t.Errorf("reported %v", got)
	}
	cancel()
	if err := <-watching; !errors.Is(err, context.Canceled) {
		t.Errorf("Observe = %v", err)
	}
	if _, err := lamp.Handle(t.Context(), &oic.Request{Href: "/a/lihgt"}); status(err) != oic.NotFound {
		t.Errorf("a resource that is not there: %v", err)
	}
	if _, err := light(t.Context(), l.Device("00000000-0000-4000-8000-000000000000"), nil); status(err) != oic.NotFound {
		t.Errorf("a device that is not there: %v", err)
	}
	all, err := l.Discover(t.Context())
	if err != nil || len(all) != 1 || all[0].Device != device1 || all[0].Name != "Lamp" || all[0].Links[0].Href != "/a/light" {
		t.Errorf("Discover = %v, %v", all, err)
	}
}

func status(err error) oic.Status {
	if e, ok := errors.AsType[*oic.StatusError](err); ok {
		return e.Status
	}
	return 0
}

// The links in /oic/res have what OCF clients look for (rule 18), in the form
// that each asks for.
func TestDiscoveryForms(t *testing.T) {
	c := newCloud()
	addr := serve(t, cloudlink.ServerConfig{Backend: c}, nil)
	run(t, cloudlink.Config{Servers: []string{"coap+tcp://" + addr}, Name: func() string { return "Lamp" }}).registered(t)
	l := person(t, c, cloudlink.ServerInfo{URI: "coap+tcp://" + addr})
	link := `{"href":"/` + device1 + `/a/light","rt":["oic.r.switch.binary"],"if":["oic.if.a","oic.if.baseline"],` +
		`"anchor":"ocf://` + device1 + `","di":"` + device1 + `","ins":42,"p":{"bm":3},"eps":[{"ep":"coap+tcp://` + addr + `","pri":1}]}`
	for _, test := range []struct {
		href string
		form oic.ContentFormat
		want string
	}{
		{"/oic/res", oic.OCF, "[" + link + "]"},
		{"/oic/res?rt=oic.r.switch.binary&rt=x", oic.OCF, "[" + link + "]"},
		{"/oic/res?rt=x", oic.OCF, "[]"},
		{"/oic/res?di=" + device1, oic.OCF, "[" + link + "]"},
		{"/oic/res?di=00000000-0000-4000-8000-000000000000", oic.OCF, "[]"},
	} {
		resp, err := l.Peer().Handle(t.Context(), &oic.Request{Href: test.href, Accept: test.form})
		if err != nil {
			t.Errorf("%s: %v", test.href, err)
			continue
		}
		got, err := oic.ToJSON(resp.Format, resp.Body)
		if err != nil || string(got) != test.want {
			t.Errorf("%s in %v:\n got %s, %v\nwant %s", test.href, test.form, got, err, test.want)
		}
	}
	m := request(t, coap.GET, "/oic/res", "")
	m.AddUint(coap.Accept, 60)
	m.AddString(65002, "fut_1")
	answer := dialRaw(t, addr).do(m)
	got, err := oic.ToJSON(oic.CBOR, answer.Payload)
	want := `[{"di":"` + device1 + `","n":"Lamp","ttl":0,"links":[{"href":"/` + device1 + `/a/light","rt":["oic.r.switch.binary"],` +
		`"if":["oic.if.a","oic.if.baseline"],"p":{"bm":3}}]}]`
	if f, _ := answer.Options.Uint(coap.ContentFormat); f != 60 || err != nil || string(got) != want {
		t.Errorf("Accept 60:\n got %d %s, %v\nwant %s", f, got, err, want)
	}
}

// An account may have so many devices that not all their links go into one
// answer: those of a thousand are found by name all the same.
func TestDiscoverManyDevices(t *testing.T) {
	c := newCloud()
	addr := serve(t, cloudlink.ServerConfig{Backend: c}, nil)
	l := person(t, c, cloudlink.ServerInfo{URI: "coap+tcp://" + addr})
	link := func(href string, types ...string) oic.Link {
		return oic.Link{Href: href, Types: types, Interfaces: []string{oic.IfRead, oic.IfBaseline}, Policy: oic.Policy{Mask: 3}, Instance: 1 << 31}
	}
	links := []oic.Link{link("/oic/d", "oic.d.light", "oic.wk.d"), link("/oic/p", "oic.wk.p"), link("/oic/con", "oic.wk.con"),
		link("/oic/res", "oic.wk.res"), link("/a/light", "oic.r.switch.binary", "oic.r.light.dimming")}
	for _, v := range []struct{ devices, links int }{{300, 5}, {1000, 1}} {
		c.mu.Lock()
		for i := range v.devices {
			c.devices[fmt.Sprintf("00000000-cafe-4bad-8000-%012d", i)] = &cloudDevice{name: fmt.Sprint("lamp of room ", i), links: links}
		}
		c.mu.Unlock()
		all, err := l.Discover(t.Context())
		if err != nil || len(all) != v.devices || all[v.devices-1].Name != fmt.Sprint("lamp of room ", v.devices-1) || len(all[0].Links) != v.links {
			t.Errorf("%d devices: %d found, %v", v.devices, len(all), err)
		}
	}
}

// After a lost connection a device signs in again and publishes only what
// changed (CI-012).
func TestPublishesOnlyChanges(t *testing.T) {
	c := newCloud()
	uri := "coap+tcp://" + serve(t, cloudlink.ServerConfig{Backend: c}, nil)
	links := lampLinks()
	var mu sync.Mutex
	cfg := cloudlink.Config{
		Servers: []string{uri}, Backoff: soon, State: cloudlink.FileState(filepath.Join(t.TempDir(), "state.json")),
		Links: func() []oic.Link {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(links)
		},
	}
	again := func(d *running) {
		c.mu.Lock()
		s := c.devices[device1].session
		c.mu.Unlock()
		s.Close("test")
		d.registered(t)
	}
	d := run(t, cfg)
	d.registered(t)
	again(d)
	mu.Lock()
	links = append(links, oic.Link{Href: "/b", Types: []string{"x.b"}, Interfaces: []string{oic.IfRead}})
	mu.Unlock()
	again(d)
	mu.Lock()
	links = links[1:]
	links[0].Title = "B"
	mu.Unlock()
	again(d)
	d.stop()
	d = run(t, cfg) // as after a restart of the device
	d.registered(t)
	d.stop()
	cfg.Gateway = "a1b2c3d4-0000-4000-8000-00000000000b"
	d = run(t, cfg)
	d.registered(t)
	again(d)
	want := []string{"publish 1", "publish 1", "unpublish [42]", "publish 1", "publish 1"}
	if got := c.called(); !slices.Equal(got, want) {
		t.Errorf("the cloud was asked %q, want %q", got, want)
	}
}

var soon = backoff.Backoff{Base: time.Millisecond, Max: 10 * time.Millisecond, Spread: 10 * time.Millisecond}

// What a device takes back may be gone already, because the answer to an earlier
// attempt was lost: it stays registered.
func TestUnpublishedAlready(t *testing.T) {
	c := newCloud()
	uri := "coap+tcp://" + serve(t, cloudlink.ServerConfig{Backend: c}, nil)
	cfg := cloudlink.Config{Servers: []string{uri}, Backoff: soon, State: cloudlink.FileState(filepath.Join(t.TempDir(), "state.json"))}
	d := run(t, cfg)
	d.registered(t)
	d.stop()
	c.mu.Lock()
	c.devices[device1].links = nil
	c.mu.Unlock()
	cfg.Links = func() []oic.Link { return nil }
	run(t, cfg).registered(t)
	if got := c.called(); !slices.Equal(got, []string{"publish 1", "unpublish [42]"}) {
		t.Errorf("the cloud was asked %q", got)
	}
}

// A device that leaves is signed off and keeps nothing but its di; that the cloud
// does not know it is as good.
func TestLeave(t *testing.T) {
	c := newCloud()
	uri := "coap+tcp://" + serve(t, cloudlink.ServerConfig{Backend: c}, nil)
	state := cloudlink.FileState(filepath.Join(t.TempDir(), "state.json"))
	cfg := cloudlink.Config{Servers: []string{uri}, State: state, Backoff: soon}
	d := run(t, cfg)
	d.registered(t)
	d.stop()
	before, err := state.Load()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Device, cfg.Handler, cfg.Log = device1, new(lamp), quiet
	leave := func() {
		t.Helper()
		client, err := cloudlink.New(cfg)
		if err == nil {
			err = client.Leave(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		if st, err := state.Load(); err != nil || !reflect.DeepEqual(st, cloudlink.State{Device: device1}) {
			t.Errorf("kept: %v", err)
		}
	}
	leave()
	c.mu.Lock()
	_, known := c.devices[device1]
	c.mu.Unlock()
	if known {
		t.Error("the cloud knows it")
	}
	if err := state.Save(before); err != nil { // as if the answer had been lost
		t.Fatal(err)
	}
	leave()
}

// A refusal ends Run: trying again would not help.
func TestRefusalIsFinal(t *testing.T) {
	uri := "coap+tcp://" + serve(t, cloudlink.ServerConfig{Backend: newCloud()}, nil)
	c, err := cloudlink.New(cloudlink.Config{
		Servers: []string{uri}, Device: device1, Handler: new(lamp), Code: "code-9", Log: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context()); status(err) != oic.Unauthorized || strings.Contains(err.Error(), "code-9") {
		t.Errorf("Run = %v, want 4.01 without the code", err)
	}
}

// A token that the cloud does not take any more is refreshed (rule 14); when
// that is refused too, Run ends.
func TestRefreshOnSignIn(t *testing.T) {
	c := newCloud()
	uri := "coap+tcp://" + serve(t, cloudlink.ServerConfig{Backend: c}, nil)
	state := cloudlink.FileState(filepath.Join(t.TempDir(), "state.json"))
	cfg := cloudlink.Config{Servers: []string{uri}, State: state, Backoff: soon}
	d := run(t, cfg)
	d.registered(t)
	d.stop()
	c.mu.Lock()
	clear(c.access)
	c.mu.Unlock()
	d = run(t, cfg)
	d.registered(t)
	d.stop()
	if got := c.called(); !slices.Equal(got, []string{"publish 1", "refresh"}) {
		t.Errorf("the cloud was asked %q", got)
	}
	st, err := state.Load()
	if err != nil || st.Grant.Refresh.Reveal() != "rt-2" {
		t.Errorf("the new grant was not kept: %v", err)
	}
	c.mu.Lock()
	clear(c.access)
	clear(c.refresh)
	c.mu.Unlock()
	again, err := cloudlink.New(cloudlink.Config{Servers: []string{uri}, State: state, Device: device1, Handler: new(lamp), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Run(t.Context()); status(err) != oic.Unauthorized {
		t.Errorf("Run = %v, want 4.01", err)
	}
}

// The attempts of a device without a server are spread as CI-012 says, and it
// is there at once when the server is.
func TestBackoffWithoutServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // guards at
		var at []time.Duration
		start := time.Now()
		p := newPipes()
		c := newCloud()
		var up atomic.Bool
		d := run(t, cloudlink.Config{
			Servers: []string{"coap+tcp://cloud"}, KeepAlive: -1,
			Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				mu.Lock()
				at = append(at, time.Since(start))
				mu.Unlock()
				if addr != "cloud:5683" || network != "tcp" {
					t.Errorf("dial %s %s", network, addr)
				}
				if !up.Load() {
					return nil, errors.New("connection refused")
				}
				return p.DialContext(ctx, network, addr)
			},
		})
		time.Sleep(time.Hour)
		synctest.Wait()
		mu.Lock()
		bound := time.Second
		for i := 1; i < len(at); i++ {
			if wait := at[i] - at[i-1]; wait > bound {
				t.Errorf("wait %d is %v, want at most %v", i, wait, bound)
			}
			bound = min(2*bound, 5*time.Minute)
		}
		if n := len(at); n < 15 || n > 120 {
			t.Errorf("%d attempts in an hour", n)
		}
		mu.Unlock()
		stop := serveOn(t, p, cloudlink.ServerConfig{Backend: c, AllowPlain: true, KeepAlive: -1}, nil)
		up.Store(true)
		last := time.Now()
		for s := range d.changes {
			if s.Registered {
				break
			}
		}
		if wait := time.Since(last); wait > 5*time.Minute {
			t.Errorf("registered %v after the server was there", wait)
		}
		d.stop()
		stop()
	})
}

// A cloud that is busy (5.03) is asked again (rule 14).
func TestUnavailableIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		c := newCloud()
		c.down = oic.Errorf(oic.Unavailable, "no store")
		stop := serveOn(t, p, cloudlink.ServerConfig{Backend: c, AllowPlain: true, KeepAlive: -1}, nil)
		d := run(t, cloudlink.Config{Servers: []string{"coap+tcp://cloud"}, KeepAlive: -1, Dial: p.DialContext})
		for range 3 {
			if s := <-d.changes; status(s.Err) != oic.Unavailable {
				t.Errorf("status %+v", s)
			}
		}
		c.mu.Lock()
		c.down = nil
		c.mu.Unlock()
		for s := range d.changes {
			if s.Registered {
				break
			}
		}
		d.stop()
		stop()
	})
}

// The token is refreshed before it expires, and the connection stays.
func TestRefreshBeforeExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		c := newCloud()
		c.ttl = time.Hour
		stop := serveOn(t, p, cloudlink.ServerConfig{Backend: c, AllowPlain: true, KeepAlive: -1}, nil)
		dials := 0
		d := run(t, cloudlink.Config{
			Servers: []string{"coap+tcp://cloud"}, KeepAlive: -1,
			Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				dials++
				return p.DialContext(ctx, network, addr)
			},
		})
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		calls := c.called()
		refreshes := 0
		for _, call := range calls {
			if call == "refresh" {
				refreshes++
			}
		}
		if dials != 1 || refreshes != 5 {
			t.Errorf("%d connections and %d refreshes in 5 h, want 1 and 5", dials, refreshes)
		}
		d.stop()
		stop()
	})
}

// The next server of the list is tried when one cannot be reached (CI-021).
func TestServerList(t *testing.T) {
	c := newCloud()
	addr := serve(t, cloudlink.ServerConfig{Backend: c}, nil)
	d := run(t, cloudlink.Config{
		Servers: []string{"coap+tcp://127.0.0.1:1", "coap+tcp://" + addr},
	})
	if s := d.registered(t); s.Server != "coap+tcp://"+addr {
		t.Errorf("registered at %s", s.Server)
	}
}

// A device that leaves signs out, says Release and is offline (CI-016).
func TestDisconnect(t *testing.T) {
	c := newCloud()
	uri := "coap+tcp://" + serve(t, cloudlink.ServerConfig{Backend: c}, nil)
	d := run(t, cloudlink.Config{Servers: []string{uri}})
	d.registered(t)
	l := person(t, c, cloudlink.ServerInfo{URI: uri})
	if err := d.stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v", err)
	}
	if _, err := light(t.Context(), l.Device(device1), nil); !errors.Is(err, oic.ErrOffline) {
		t.Errorf("the device that left: %v, want ErrOffline", err)
	}
}

// A device signs off and is gone.
func TestSignOff(t *testing.T) {
	c := newCloud()
	uri := "coap+tcp://" + serve(t, cloudlink.ServerConfig{Backend: c}, nil)
	l, err := cloudlink.Connect(t.Context(), cloudlink.ServerInfo{URI: uri, Handler: new(lamp), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, _, err := l.Register(t.Context(), cloudlink.Registration{Device: device1, Code: "code-1", Links: lampLinks()}); err != nil {
		t.Fatal(err)
	}
	if err := l.SignOff(t.Context()); err != nil { // the answer, though the server closes (rule 29)
		t.Fatal(err)
	}
	<-l.Done()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.devices) != 0 {
		t.Error("the device is still there")
	}
}

// The cloud stops and starts: every device comes back by itself and is
// commanded.
func TestServerRestart(t *testing.T) {
	const devices = 50
	c := newCloud()
	var at atomic.Value // the server's address: nobody holds its port while it is away
	start := func() (stop func()) {
		ln := coaptest.Listen(t)
		at.Store(ln.Addr().String())
		return serveOn(t, ln, cloudlink.ServerConfig{Backend: c}, nil)
	}
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, at.Load().(string))
	}
	stop := start()
	var all []*running
	id := func(i int) string { return fmt.Sprintf("00000000-cafe-4bad-8000-%012d", i+100) }
	for i := range devices {
		c.pair("pair-" + id(i))
		all = append(all, run(t, cloudlink.Config{
			Servers: []string{"coap+tcp://hub"}, Dial: dial, Device: id(i), Backoff: backoff.Backoff{Base: 20 * time.Millisecond, Max: time.Second, Spread: 500 * time.Millisecond},
			Handler: new(lamp), State: cloudlink.FileState(filepath.Join(t.TempDir(), "state.json")), Code: secret.String("pair-" + id(i)),
		}))
	}
	for _, d := range all {
		d.registered(t)
	}
	stop()
	defer start()()
	for _, d := range all {
		d.registered(t)
	}
	l := person(t, c, cloudlink.ServerInfo{URI: "coap+tcp://" + at.Load().(string)})
	for i := range devices {
		on := true
		if _, err := light(t.Context(), l.Device(id(i)), &on); err != nil {
			t.Errorf("device %d: %v", i, err)
		}
		if got, err := light(t.Context(), l.Device(id(i)), nil); !got || err != nil {
			t.Errorf("device %d is %v, %v", i, got, err)
		}
	}
	for _, call := range c.called() {
		if call != "publish 1" {
			t.Errorf("unexpected %q", call)
		}
	}
	if n := len(c.called()); n != devices {
		t.Errorf("%d publications, want %d: one for each device ever", n, devices)
	}
	var wg sync.WaitGroup
	for _, d := range all {
		wg.Go(func() { d.stop() })
	}
	wg.Wait()
}

// Neither half logs a token or a code, whatever happens.
func TestNoSecretsInLogs(t *testing.T) {
	var text strings.Builder
	var mu sync.Mutex
	log := slog.New(slog.NewTextHandler(writerFunc(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return text.Write(b)
	}), &slog.HandlerOptions{Level: slog.LevelDebug}))
	c := newCloud()
	uri := "coap+tcp://" + serve(t, cloudlink.ServerConfig{Backend: c, Log: log}, nil)
	d := run(t, cloudlink.Config{Servers: []string{uri}, Name: func() string { return "Lamp" }, Log: log})
	d.registered(t)
	commandAndWatch(t, c, person(t, c, cloudlink.ServerInfo{URI: uri, Log: log}))
	d.stop()
	mu.Lock()
	defer mu.Unlock()
	if !strings.Contains(text.String(), "signed in") {
		t.Errorf("nothing logged: %s", text.String())
	}
	for _, s := range []string{"code-1", "at-1", "rt-1", "fut_1"} {
		if strings.Contains(text.String(), s) {
			t.Errorf("%s is in the log:\n%s", s, text.String())
		}
	}
}

type writerFunc func(b []byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// A device reaches its cloud over IPv6, too (CI-020).
func TestIPv6(t *testing.T) {
	ln, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 on this host: ", err)
	}
	c := newCloud()
	t.Cleanup(serveOn(t, ln, cloudlink.ServerConfig{Backend: c}, nil))
	uri := "coap+tcp://" + ln.Addr().String()
	run(t, cloudlink.Config{Servers: []string{uri}, Name: func() string { return "Lamp" }}).registered(t)
	commandAndWatch(t, c, person(t, c, cloudlink.ServerInfo{URI: uri}))
}
