package cloudlink_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
)

// hosts are servers by name, each of which can be up or down.
type hosts struct {
	mu     sync.Mutex // guards what follows
	up     map[string]*pipes
	hang   map[string]bool // takes the connection attempt and is silent
	dialed []string
}

func (h *hosts) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	h.mu.Lock()
	h.dialed = append(h.dialed, addr)
	p, hang := h.up[addr], h.hang[addr]
	h.mu.Unlock()
	switch {
	case hang:
		<-ctx.Done()
		return nil, ctx.Err()
	case p == nil:
		return nil, errors.New("connection refused")
	}
	return p.DialContext(ctx, network, addr)
}

// start brings a server up; stop takes it down, abruptly for its devices.
func (h *hosts) start(t *testing.T, addr string, c *cloud) (stop func()) {
	t.Helper()
	p := newPipes()
	end := serveOn(t, p, cloudlink.ServerConfig{Backend: c, AllowPlain: true, KeepAlive: -1}, nil)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.up == nil {
		h.up = map[string]*pipes{}
	}
	h.up[addr] = p
	return sync.OnceFunc(func() {
		h.mu.Lock()
		delete(h.up, addr)
		h.mu.Unlock()
		c.mu.Lock()
		for _, d := range c.devices {
			if d.session != nil {
				d.session.Close("killed")
			}
		}
		c.mu.Unlock()
		end()
	})
}

var twoServers = []string{"coap+tcp://one", "coap+tcp://two"}

// The first server of two is killed: the device is on the second within 5 s,
// whether nobody is there any more or nobody answers; and it stays there, also
// when it starts again (CI-021).
func TestFailOver(t *testing.T) {
	for _, silent := range []bool{false, true} {
		t.Run(map[bool]string{false: "refused", true: "silent"}[silent], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var h hosts
				c := newCloud()
				stopOne := h.start(t, "one:5683", c)
				stopTwo := h.start(t, "two:5683", c)
				cfg := cloudlink.Config{Servers: twoServers, KeepAlive: -1, Dial: h.dial,
					State: cloudlink.FileState(filepath.Join(t.TempDir(), "state.json"))}
				d := run(t, cfg)
				if s := d.registered(t); s.Server != "coap+tcp://one" {
					t.Fatalf("registered at %s first", s.Server)
				}
				h.mu.Lock()
				h.hang = map[string]bool{"one:5683": silent}
				h.mu.Unlock()
				start := time.Now()
				stopOne()
				if s := d.registered(t); s.Server != "coap+tcp://two" || time.Since(start) > 5*time.Second {
					t.Errorf("at %s after %v, want two within 5 s", s.Server, time.Since(start))
				}
				d.stop()
				h.mu.Lock()
				h.dialed = nil
				h.mu.Unlock()
				d = run(t, cfg) // after a restart of the device
				d.registered(t)
				if !slices.Equal(h.dialed, []string{"two:5683"}) {
					t.Errorf("after a restart it dials %q, want the last good one first", h.dialed)
				}
				d.stop()
				stopTwo()
				if got := c.called(); !slices.Equal(got, []string{"publish 1"}) {
					t.Errorf("the cloud was asked %q, want one publication", got)
				}
			})
		})
	}
}

// With no server there, back-off comes after each whole round.
func TestBackoffAfterRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h hosts
		start := time.Now()
		d := run(t, cloudlink.Config{Servers: twoServers, KeepAlive: -1, Dial: h.dial})
		time.Sleep(10 * time.Minute)
		d.stop()
		n := len(h.dialed)
		if n < 8 || n > 60 || n%2 != 0 {
			t.Errorf("%d dials in %v", n, time.Since(start))
		}
		for i := 0; i+1 < n; i += 2 {
			if h.dialed[i] != "one:5683" || h.dialed[i+1] != "two:5683" {
				t.Errorf("dialed %q", h.dialed)
				break
			}
		}
	})
}

// redirecting sends whoever signs up elsewhere.
type redirecting struct {
	*cloud
	to string
}

func (r redirecting) SignUp(ctx context.Context, s cloudlink.SignUp) (cloudlink.Grant, error) {
	g, err := r.cloud.SignUp(ctx, s)
	g.Redirect = r.to
	return g, err
}

// A device goes where the answer to its sign-up sends it, if that is a server
// of its list or of an allowed host, and not the same again, nor without TLS
// where there was TLS (rule 28, threats rule 20).
func TestRedirect(t *testing.T) {
	for _, test := range []struct {
		to    string
		allow []string
		want  string
	}{
		{"", nil, "coap+tcp://one"},
		{"coap+tcp://one", nil, "coap+tcp://one"},
		{"coap+tcp://one:5683", nil, "coap+tcp://one"},
		{"coap+tcp://127.0.0.1", nil, "coap+tcp://one"}, // the classic cloud says so
		{"coap+tcp://two", nil, "coap+tcp://one"},
		{"coap+tcp://two", []string{"two"}, "coap+tcp://two"},
		{"coap+tcp://two.evil", []string{"two"}, "coap+tcp://one"},
		{"http://two", []string{"two"}, "coap+tcp://one"},
		{"coap+tcp://one:7777", nil, "coap+tcp://one:7777"},
		{"%%", nil, "coap+tcp://one"},
	} {
		t.Run(test.to, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := hosts{up: map[string]*pipes{}}
				c := newCloud()
				var stops []func()
				for _, addr := range []string{"one:5683", "one:7777", "two:5683", "127.0.0.1:5683"} {
					p := newPipes()
					h.up[addr] = p
					stops = append(stops, serveOn(t, p, cloudlink.ServerConfig{
						Backend: redirecting{c, test.to}, AllowPlain: true, KeepAlive: -1}, nil))
				}
				d := run(t, cloudlink.Config{Servers: []string{"coap+tcp://one"}, AllowRedirect: test.allow, KeepAlive: -1, Dial: h.dial})
				if s := d.registered(t); s.Server != test.want {
					t.Errorf("registered at %s, want %s", s.Server, test.want)
				}
				d.stop()
				for _, stop := range stops {
					stop()
				}
			})
		})
	}
}

// releasing is a server in raw bytes that releases each device once it has
// signed in.
func releasing(t *testing.T, p *pipes, r coap.ReleaseInfo) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- coap.Serve(ctx, p, func(nc net.Conn) *coap.Conn {
			return coap.Server(nc, coap.Config{KeepAlive: -1, Log: quiet, Handler: coap.HandlerFunc(func(x *coap.Exchange) {
				doc := map[string]any{"accesstoken": "at-1", "refreshtoken": "rt-1", "uid": account, "expiresin": -1}
				path := x.Request().Options.Path()
				if path == "/oic/rd" {
					doc = map[string]any{"di": device1, "links": []oic.Link{}}
				}
				body, err := oic.Encode(oic.OCF, doc)
				if err != nil {
					t.Error(err)
				}
				m := &coap.Message{Code: coap.Changed, Payload: body}
				m.AddUint(coap.ContentFormat, 10000)
				x.Reply(m)
				if path == "/oic/rd" {
					go x.Conn().Shutdown(ctx, r)
				}
			})})
		})
	}()
	return func() { cancel(); <-done }
}

// A Release is obeyed: the device goes to an alternative that it may go to, and
// does not come back before the time is over (RFC 8323, section 5.5).
func TestReleaseObeyed(t *testing.T) {
	for _, test := range []struct {
		name    string
		servers []string
		release coap.ReleaseInfo
		want    string
		after   time.Duration // at least
		within  time.Duration // of that
	}{
		{"alternative", twoServers, coap.ReleaseInfo{Alternatives: []string{"evil:5683", "two:5683"}}, "two:5683", 0, 2 * time.Second},
		{"another", twoServers, coap.ReleaseInfo{HoldOff: time.Minute}, "two:5683", 0, 2 * time.Second},
		{"goodbye", twoServers, coap.ReleaseInfo{}, "two:5683", 0, 2 * time.Second},
		{"goodbye, alone", twoServers[:1], coap.ReleaseInfo{}, "one:5683", 0, 10 * time.Second},
		{"hold-off", twoServers[:1], coap.ReleaseInfo{HoldOff: time.Minute}, "one:5683", time.Minute, 10 * time.Second},
		{"not allowed", twoServers[:1], coap.ReleaseInfo{Alternatives: []string{"evil:5683", "nonsense"}}, "one:5683", 0, 10 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPipes()
				h := hosts{up: map[string]*pipes{"one:5683": p}}
				defer releasing(t, p, test.release)()
				d := run(t, cloudlink.Config{Servers: test.servers, KeepAlive: -1, Dial: h.dial})
				for s := range d.changes { // until it is lost
					if !s.Registered {
						break
					}
				}
				start := time.Now()
				for {
					time.Sleep(100 * time.Millisecond)
					h.mu.Lock()
					n := len(h.dialed)
					h.mu.Unlock()
					if n > 1 {
						break
					}
				}
				if d := time.Since(start); h.dialed[1] != test.want || d < test.after-time.Second || d > test.after+test.within+time.Second {
					t.Errorf("dialed %s after %v, want %s after %v", h.dialed[1], d, test.want, test.after)
				}
				d.stop()
			})
		})
	}
}

// Links that change while the device is connected are published at once, and
// an event can be told as long as it is.
func TestRepublishAndReport(t *testing.T) {
	c := newCloud()
	uri := "coap+tcp://" + serve(t, cloudlink.ServerConfig{Backend: c}, nil)
	var mu sync.Mutex
	links := lampLinks()
	state := cloudlink.FileState(filepath.Join(t.TempDir(), "state.json"))
	registered := make(chan bool, 16)
	client, err := cloudlink.New(cloudlink.Config{
		Servers: []string{uri}, Device: device1, Handler: new(lamp), Code: "code-1", State: state, Log: quiet,
		OnChange: func(s cloudlink.Status) { registered <- s.Registered },
		Links: func() []oic.Link {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(links)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	rep := &oic.Response{Format: oic.OCF, Body: []byte("\xf5")}
	if err := client.Report(t.Context(), "/b", rep); !errors.Is(err, oic.ErrOffline) {
		t.Errorf("before it runs: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- client.Run(ctx) }()
	<-registered
	mu.Lock()
	links = append(links, oic.Link{Href: "/b", Types: []string{"x.b"}, Interfaces: []string{oic.IfRead}})
	mu.Unlock()
	client.Republish()
	for {
		err := client.Report(t.Context(), "/b", rep)
		if err == nil {
			break
		}
		if status(err) != oic.NotFound && !errors.Is(err, oic.ErrOffline) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-ended
	if got := c.called(); !slices.Equal(got, []string{"publish 1", "publish 1"}) {
		t.Errorf("the cloud was asked %q", got)
	}
}

// A cloud that refuses the access token and closes the connection, as plgd's hub
// does within 10 ms, is asked for new ones over the next connection (rules 14
// and 29).
func TestRefusedAndClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		var closing *coap.Conn
		answer := func(x *coap.Exchange, code coap.Code, doc map[string]any) {
			m := &coap.Message{Code: code}
			if doc != nil {
				m.Payload, _ = oic.Encode(oic.OCF, doc)
				m.AddUint(coap.ContentFormat, 10000)
			}
			x.Reply(m)
		}
		p := newPipes()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- coap.Serve(ctx, p, func(nc net.Conn) *coap.Conn {
				return coap.Server(nc, coap.Config{KeepAlive: -1, Log: quiet, Handler: coap.HandlerFunc(func(x *coap.Exchange) {
					path := x.Request().Options.Path()
					if x.Conn() == closing {
						return
					}
					asked = append(asked, path)
					switch {
					case path == "/oic/sec/session" && !bytes.Contains(x.Request().Payload, []byte("new")):
						answer(x, coap.Unauthorized, nil)
						closing = x.Conn()
						time.AfterFunc(10*time.Millisecond, func() { closing.Close() })
					case path == "/oic/sec/tokenrefresh":
						answer(x, coap.Changed, map[string]any{"accesstoken": "new", "refreshtoken": "rt-2", "expiresin": 3600})
					default:
						answer(x, coap.Changed, map[string]any{"expiresin": 3600, "di": device1, "links": []oic.Link{}})
					}
				})})
			})
		}()
		state := cloudlink.FileState(filepath.Join(t.TempDir(), "state.json"))
		err := state.Save(cloudlink.State{Server: "coap+tcp://hub", Device: device1,
			Grant: cloudlink.Grant{Account: "u-1", Access: "old", Refresh: "rt-1"}})
		if err != nil {
			t.Fatal(err)
		}
		d := run(t, cloudlink.Config{Servers: []string{"coap+tcp://hub"}, Device: device1, State: state, KeepAlive: -1, Dial: p.DialContext})
		d.registered(t)
		want := []string{"/oic/sec/session", "/oic/sec/tokenrefresh", "/oic/sec/session", "/oic/rd"}
		if !slices.Equal(asked, want) {
			t.Errorf("asked %q, want %q", asked, want)
		}
		d.stop()
		cancel()
		<-done
	})
}
