package e2e_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/cloud"
	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/device/sim"
	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/internal/localca"
	"github.com/farreach/farreach/internal/ports"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/reach"
	"github.com/farreach/farreach/store"
)

var quiet = slog.New(slog.DiscardHandler)

// home is a cloud with its store and its two listeners, which can be stopped
// and started again where it was.
type home struct {
	t          testing.TB
	dir        string
	ttl        time.Duration // of access tokens
	signIns    int           // cloudlink.ServerConfig.SignIns
	allowPlain bool          // cloudlink.ServerConfig.AllowPlain
	ca         *localca.Authority
	plain      string // host:port
	tls        string
	token      secret.String // of the account "home"
	cloud      *cloud.Cloud
	stop       func()
}

func newHome(t testing.TB, ttl time.Duration) *home {
	t.Helper()
	pair, err := ports.Hold(2) // nobody else has them while it is stopped
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pair.Release)
	h := &home{t: t, dir: filepath.Join(t.TempDir(), "data"), ttl: ttl, plain: fmt.Sprint("127.0.0.1:", pair.First), tls: fmt.Sprint("127.0.0.1:", pair.First+1)}
	if h.ca, err = localca.Open(localca.Config{Dir: filepath.Join(t.TempDir(), "ca")}); err != nil {
		t.Fatal(err)
	}
	h.start()
	t.Cleanup(func() { h.stop() })
	operator := oic.Identity{Admin: true}
	if _, err := h.cloud.CreateAccount(t.Context(), operator, "home", "correct horse battery", true); err != nil {
		t.Fatal(err)
	}
	if h.token, _, err = h.cloud.NewToken(t.Context(), h.owner(), "test", oic.ScopeAdmin, 0); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *home) owner() oic.Identity { return oic.Identity{Account: "home", Admin: true} }

// start opens store and cloud and listens, at the same addresses as before.
func (h *home) start() {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	st, err := store.Open(ctx, store.Config{Dir: h.dir, Log: quiet})
	if err != nil {
		h.t.Fatal(err)
	}
	if h.cloud, err = cloud.Open(ctx, cloud.Config{Store: st, AccessTTL: h.ttl, Log: quiet}); err != nil {
		h.t.Fatal(err)
	}
	srv := cloudlink.NewServer(cloudlink.ServerConfig{Backend: h.cloud, SignIns: h.signIns, AllowPlain: h.allowPlain, Log: quiet})
	var serving sync.WaitGroup
	listen := func(addr string, config *tls.Config) {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			h.t.Fatal(err)
		}
		serving.Go(func() {
			if err := srv.Serve(ctx, ln, config); !errors.Is(err, context.Canceled) {
				h.t.Errorf("Serve = %v", err)
			}
		})
	}
	listen(h.plain, nil)
	listen(h.tls, h.ca.ServerConfig())
	h.stop = sync.OnceFunc(func() {
		cancel()
		serving.Wait()
		h.cloud.Close()
		if err := st.Close(); err != nil {
			h.t.Errorf("close the store: %v", err)
		}
	})
}

// way is one of the two ways in.
type way struct {
	uri string
	tls *tls.Config
}

func (h *home) ways() map[string]way {
	h.t.Helper()
	pool, err := localca.Pool(h.ca.CAFile())
	if err != nil {
		h.t.Fatal(err)
	}
	return map[string]way{
		"coap+tcp":  {"coap+tcp://" + h.plain, nil},
		"coaps+tcp": {"coaps+tcp://" + h.tls, &tls.Config{RootCAs: pool}},
	}
}

func (h *home) code() secret.String {
	h.t.Helper()
	code, _, err := h.cloud.NewPairingCode(h.t.Context(), h.owner())
	if err != nil {
		h.t.Fatal(err)
	}
	return code
}

// joined is a device that keeps itself registered.
type joined struct {
	host    *device.Host
	changes chan cloudlink.Status
	leave   func()
}

// join runs a simulated device until the test ends or leave is called.
func (h *home) join(kind, name string, w way) *joined {
	h.t.Helper()
	s, err := sim.New(kind, device.Config{Name: name, Log: quiet})
	if err != nil {
		h.t.Fatal(err)
	}
	return h.joinAs(s.Host(), s.Run, w, cloudlink.FileState(filepath.Join(h.t.TempDir(), "state.json")))
}

func (h *home) joinAs(host *device.Host, move func(context.Context) error, w way, state cloudlink.StateStore) *joined {
	h.t.Helper()
	j := &joined{host: host, changes: make(chan cloudlink.Status, 256)}
	client, err := cloudlink.New(cloudlink.Config{
		Servers: []string{w.uri}, TLS: w.tls, Handler: host, Device: host.ID(), Name: host.Name, Links: host.Links,
		Code: h.code(), State: state, Log: quiet, OnChange: func(s cloudlink.Status) { j.changes <- s },
		Backoff: backoff.Backoff{Base: 50 * time.Millisecond, Max: time.Second, Spread: 500 * time.Millisecond},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { client.Run(ctx) })
	running.Go(func() { move(ctx) })
	j.leave = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	h.t.Cleanup(j.leave)
	return j
}

// registered waits until the device is.
func (j *joined) registered(t testing.TB) {
	t.Helper()
	for {
		select {
		case s := <-j.changes:
			if s.Registered {
				return
			}
		case <-time.After(patience):
			t.Fatalf("%s is not registered in %v", j.host.Name(), patience)
		}
	}
}

// phone is a person's way to all devices.
func (h *home) phone(w way) *reach.Ways {
	h.t.Helper()
	p, err := reach.Open(h.t.Context(), reach.Config{Cloud: w.uri, TLS: w.tls, Account: "home", Token: h.token, Log: quiet})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { p.Close() })
	return p
}

// get reads a resource as JSON.
func get(ctx context.Context, o oic.Handler, href string) (string, error) {
	resp, err := o.Handle(ctx, &oic.Request{Href: href, Accept: oic.OCF})
	if err != nil {
		return "", err
	}
	text, err := oic.ToJSON(resp.Format, resp.Body)
	return string(text), err
}

// post changes a resource.
func post(ctx context.Context, o oic.Handler, href, json string) error {
	body, err := oic.FromJSON(oic.OCF, []byte(json))
	if err != nil {
		return err
	}
	_, err = o.Handle(ctx, &oic.Request{Op: oic.Update, Href: href, Format: oic.OCF, Accept: oic.OCF, Body: body})
	return err
}

// The first seed's two scenarios, over both ways in: a device reports events to
// the cloud, and the cloud commands a device (CI-003, CI-004 without rules).
func TestLampCommandedDoorReports(t *testing.T) {
	h := newHome(t, 0)
	for name, w := range h.ways() {
		t.Run(name, func(t *testing.T) {
			lamp, door := "lamp "+name, "door "+name
			h.join("lamp", lamp, w).registered(t)
			h.join("door", door, w).registered(t)
			p := h.phone(w)
			o, err := p.Device(t.Context(), reach.Target{Device: lamp})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := get(t.Context(), o, "/a/light"); err != nil || !strings.Contains(got, `"value":false`) {
				t.Errorf("the lamp is %s, %v", got, err)
			}
			if err := post(t.Context(), o, "/a/light", `{"value":true}`); err != nil {
				t.Error(err)
			}
			if got, err := get(t.Context(), o, "/a/light"); err != nil || !strings.Contains(got, `"value":true`) {
				t.Errorf("the lamp is %s, %v", got, err)
			}
			h.awaitEvent(o.ID(), "/a/light", `"value":true`)
			o, err = p.Device(t.Context(), reach.Target{Device: door})
			if err != nil {
				t.Fatal(err)
			}
			h.awaitEvent(o.ID(), "/a/door", `"open":`)
			_, err = p.Device(t.Context(), reach.Target{Device: "lmap " + name})
			if reach.KindOf(err) != reach.NotFound || reach.HintOf(err) != "did you mean "+lamp+"?" {
				t.Errorf("a mistyped name: %v, %s", err, reach.HintOf(err))
			}
		})
	}
}

// awaitEvent returns when the log has an event whose body has want in it.
func (h *home) awaitEvent(di, href, want string) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	found := errors.New("found")
	err := h.cloud.FollowEvents(ctx, h.owner(), event.Filter{Account: "home", Device: di, Href: href, From: 1}, func(e event.Event) error {
		if text, err := oic.ToJSON(e.Format, e.Body); err != nil || strings.Contains(string(text), want) {
			return errors.Join(err, found)
		}
		return nil
	})
	if !errors.Is(err, found) {
		h.t.Errorf("no event %s %s with %s: %v", di, href, want, err)
	}
}

// Server stopped and started: every device comes back by itself and is
// commanded.
func TestCloudRestart(t *testing.T) {
	const devices = 50
	h := newHome(t, 0)
	ways := h.ways()
	var all []*joined
	for i := range devices {
		w := ways["coap+tcp"]
		if i%2 == 1 {
			w = ways["coaps+tcp"]
		}
		all = append(all, h.join("lamp", fmt.Sprint("lamp ", i), w))
	}
	for _, j := range all {
		j.registered(t)
	}
	h.stop()
	h.start()
	start := time.Now()
	for _, j := range all {
		j.registered(t)
	}
	t.Logf("%d devices were back after %v", devices, time.Since(start))
	p := h.phone(ways["coaps+tcp"])
	for _, j := range all {
		o, err := p.Device(t.Context(), reach.Target{Device: j.host.Name()})
		if err != nil {
			t.Fatal(err)
		}
		if err := post(t.Context(), o, "/a/light", `{"value":true}`); err != nil {
			t.Errorf("%s: %v", j.host.Name(), err)
		}
		if got, err := get(t.Context(), o, "/a/light"); err != nil || !strings.Contains(got, `"value":true`) {
			t.Errorf("%s is %s, %v", j.host.Name(), got, err)
		}
	}
	var leaving sync.WaitGroup
	for _, j := range all {
		leaving.Go(j.leave)
	}
	leaving.Wait()
	o, err := p.Device(t.Context(), reach.Target{Device: "lamp 0"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := get(t.Context(), o, "/a/light"); reach.KindOf(err) != reach.Offline {
		t.Errorf("a device that left: %v", err)
	}
}

// A person who watches a resource goes on watching while the device is away.
func TestObserveSurvivesTheDevice(t *testing.T) {
	h := newHome(t, 0)
	w := h.ways()["coap+tcp"]
	s, err := sim.New("lamp", device.Config{Name: "lamp", Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	state := cloudlink.FileState(filepath.Join(t.TempDir(), "state.json"))
	j := h.joinAs(s.Host(), s.Run, w, state)
	j.registered(t)
	p := h.phone(w)
	o, err := p.Device(t.Context(), reach.Target{Device: "lamp"})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 16)
	ctx, cancel := context.WithCancel(t.Context())
	watching := make(chan error, 1)
	go func() {
		watching <- o.Observe(ctx, &oic.Request{Href: "/a/light", Accept: oic.OCF}, func(r *oic.Response) {
			text, _ := oic.ToJSON(r.Format, r.Body)
			seen <- string(text)
		})
	}()
	await := func(want string) {
		t.Helper()
		for {
			select {
			case got := <-seen:
				if strings.Contains(got, want) {
					return
				}
			case err := <-watching:
				t.Fatalf("the observation ended: %v", err)
			case <-time.After(patience):
				t.Fatalf("no notification with %s", want)
			}
		}
	}
	await(`"value":false`)
	j.leave()
	j = h.joinAs(s.Host(), s.Run, w, state)
	j.registered(t)
	if err := post(t.Context(), o, "/a/light", `{"value":true}`); err != nil {
		t.Fatal(err)
	}
	await(`"value":true`)
	cancel()
	if err := <-watching; !errors.Is(err, context.Canceled) {
		t.Errorf("Observe = %v", err)
	}
}

const (
	mine  = "11111111-0000-4000-8000-000000000001"
	other = "22222222-0000-4000-8000-000000000002"
)

// paired is a home that the device mine has joined, and what came of it.
type paired struct {
	*home
	code  secret.String // used
	grant cloudlink.Grant
}

func newPaired(t *testing.T, ttl time.Duration) *paired {
	t.Helper()
	h := newHome(t, ttl)
	p := &paired{home: h, code: h.code()}
	var err error
	if p.grant, err = h.link(t).SignUp(t.Context(), cloudlink.SignUp{Device: mine, Code: p.code}); err != nil {
		t.Fatal(err)
	}
	return p
}

// link is a connection on which nothing was proved.
func (h *home) link(t *testing.T) *cloudlink.Link {
	t.Helper()
	l, err := cloudlink.Connect(t.Context(), cloudlink.ServerInfo{URI: "coap+tcp://" + h.plain, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func signIn(ctx context.Context, l *cloudlink.Link, account, di string, token secret.String) error {
	_, err := l.SignIn(ctx, cloudlink.Login{Account: account, Device: di, Access: token})
	return err
}

func signUp(ctx context.Context, l *cloudlink.Link, di string, code secret.String) error {
	_, err := l.SignUp(ctx, cloudlink.SignUp{Device: di, Code: code})
	return err
}

func refresh(ctx context.Context, l *cloudlink.Link, di string, token secret.String) error {
	_, err := l.Refresh(ctx, cloudlink.Refresh{Account: "home", Device: di, Token: token})
	return err
}

// Who has not proved anything, or proved it with what is another's, gets 4.01
// or 4.03 and nothing else.
func TestRefusals(t *testing.T) {
	for name, try := range map[string]func(context.Context, *paired, *cloudlink.Link) error{
		"sign up with a wrong code": func(ctx context.Context, p *paired, l *cloudlink.Link) error {
			return signUp(ctx, l, other, "0000-0000-0000")
		},
		"sign up with a used code": func(ctx context.Context, p *paired, l *cloudlink.Link) error {
			return signUp(ctx, l, other, p.code)
		},
		"sign in with a wrong token": func(ctx context.Context, p *paired, l *cloudlink.Link) error {
			return signIn(ctx, l, "home", mine, "fat_wrong")
		},
		"sign in as another device": func(ctx context.Context, p *paired, l *cloudlink.Link) error {
			return signIn(ctx, l, "home", other, p.grant.Access)
		},
		"sign in to another account": func(ctx context.Context, p *paired, l *cloudlink.Link) error {
			return signIn(ctx, l, "else", mine, p.grant.Access)
		},
		"sign in as a person with a device's token": func(ctx context.Context, p *paired, l *cloudlink.Link) error {
			return signIn(ctx, l, "home", "", p.grant.Access)
		},
		"sign in with a refresh token": func(ctx context.Context, p *paired, l *cloudlink.Link) error {
			return signIn(ctx, l, "home", mine, p.grant.Refresh)
		},
		"sign in as a device with a person's token": func(ctx context.Context, p *paired, l *cloudlink.Link) error {
			return signIn(ctx, l, "home", mine, p.token)
		},
		"refresh with an access token": func(ctx context.Context, p *paired, l *cloudlink.Link) error {
			return refresh(ctx, l, mine, p.grant.Access)
		},
		"refresh for another device": func(ctx context.Context, p *paired, l *cloudlink.Link) error {
			return refresh(ctx, l, other, p.grant.Refresh)
		},
		"discover unsigned": func(ctx context.Context, _ *paired, l *cloudlink.Link) error {
			_, err := l.Discover(ctx)
			return err
		},
		"read unsigned": func(ctx context.Context, _ *paired, l *cloudlink.Link) error {
			_, err := get(ctx, l.Device(mine), "/a")
			return err
		},
		"publish unsigned": func(ctx context.Context, _ *paired, l *cloudlink.Link) error {
			_, err := l.Publish(ctx, cloudlink.Publication{Device: mine, Links: []oic.Link{{Href: "/a"}}})
			return err
		},
		"unpublish unsigned": func(ctx context.Context, _ *paired, l *cloudlink.Link) error {
			return l.Unpublish(ctx, mine, []int64{1})
		},
		"publish for another device": func(ctx context.Context, p *paired, l *cloudlink.Link) error {
			if err := signIn(ctx, l, "home", mine, p.grant.Access); err != nil {
				return err
			}
			_, err := l.Publish(ctx, cloudlink.Publication{Device: other, Links: []oic.Link{{Href: "/a"}}})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPaired(t, 0)
			refusal, ok := errors.AsType[*oic.StatusError](try(t.Context(), p, p.link(t)))
			if !ok || refusal.Status != oic.Unauthorized && refusal.Status != oic.Forbidden {
				t.Errorf("%v, want 4.01 or 4.03", refusal)
			}
		})
	}
}

// An access token ends, and with it, within a second, the session that it
// opened; the refresh token goes on.
func TestExpiredToken(t *testing.T) {
	p := newPaired(t, 4*time.Second)
	l := p.link(t)
	if err := signIn(t.Context(), l, "home", mine, p.grant.Access); err != nil {
		t.Fatal(err)
	}
	select {
	case <-l.Done():
	case <-time.After(patience):
		t.Error("the session outlives its token")
	}
	late := time.Since(p.grant.Expires)
	if late > 2*time.Second+busy { // expiresin is in whole seconds, rounded down
		t.Errorf("the session ended %v after its token", late)
	}
	refusal, ok := errors.AsType[*oic.StatusError](signIn(t.Context(), p.link(t), "home", mine, p.grant.Access))
	if !ok || refusal.Status != oic.Unauthorized {
		t.Errorf("an expired token: %v, want 4.01", refusal)
	}
	if err := refresh(t.Context(), p.link(t), mine, p.grant.Refresh); err != nil {
		t.Errorf("refresh: %v", err)
	}
}

// BenchmarkRead is a question from a person through the whole cloud, with
// authorization, to a simulated lamp and back. (A command would make an event
// each time, and of these a device may make 50 a second.)
func BenchmarkRead(b *testing.B) {
	h := newHome(b, 0)
	for name, w := range h.ways() {
		b.Run(name, func(b *testing.B) {
			h.join("lamp", "lamp "+name, w).registered(b)
			o, err := h.phone(w).Device(b.Context(), reach.Target{Device: "lamp " + name})
			if err != nil {
				b.Fatal(err)
			}
			var took []time.Duration
			for b.Loop() {
				start := time.Now()
				if _, err := get(b.Context(), o, "/a/light"); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "ns/median")
			b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "ns/p99")
		})
	}
}
