package cloudlink_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/oic"
)

const cloudID = "00000000-cafe-4bad-8000-0000000000cc"

// led is a device that onboarding tools lead.
type led struct {
	t    *testing.T
	host *device.Host
	stop func()

	mu   sync.Mutex // guards what follows
	kept []device.Onboarding
	full error // what Keep returns
}

// lead runs a device for the life of the test or until stop. dial may be nil.
func lead(t *testing.T, dial func(ctx context.Context, network, address string) (net.Conn, error), state cloudlink.StateStore, chosen device.Onboarding) *led {
	d := &led{t: t, host: device.NewHost(device.Config{ID: device1, Name: "porch", Log: quiet})}
	m := cloudlink.NewMembership(cloudlink.MembershipConfig{
		Host: d.host, State: state, Chosen: chosen, Log: quiet,
		Client: func(device.Onboarding) cloudlink.Config {
			return cloudlink.Config{KeepAlive: -1, Log: quiet, Dial: dial, Backoff: backoff.Backoff{Max: time.Second}}
		},
		Keep: func(to device.Onboarding) error {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.full == nil {
				d.kept = append(d.kept, to)
			}
			return d.full
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	d.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	})
	return d
}

// post says something at CoAPCloudConf.
func (d *led) post(doc string) error {
	d.t.Helper()
	body, err := oic.FromJSON(oic.OCF, []byte(doc))
	if err != nil {
		d.t.Fatal(err)
	}
	_, err = d.host.Handle(d.t.Context(), &oic.Request{Op: oic.Update, Href: "/CoapCloudConfResURI", Format: oic.OCF, Body: body})
	return err
}

func (d *led) join(cis, at string) error {
	return d.post(fmt.Sprintf(`{"cis":%q,"sid":%q,"apn":"github","at":%q}`, cis, cloudID, at))
}

// state is cps and clec, once nothing goes on any more.
func (d *led) state() string {
	d.t.Helper()
	synctest.Wait()
	resp, err := d.host.Handle(d.t.Context(), &oic.Request{Href: "/CoapCloudConfResURI"})
	if err != nil {
		d.t.Fatal(err)
	}
	var rep struct {
		State string `json:"cps"`
		Error int    `json:"clec"`
		Cloud string `json:"cis"`
	}
	if err := oic.Decode(resp.Format, resp.Body, &rep); err != nil {
		d.t.Fatal(err)
	}
	return fmt.Sprintf("%s %d %s", rep.State, rep.Error, rep.Cloud)
}

func (d *led) want(what, state string) {
	d.t.Helper()
	if got := d.state(); got != state {
		d.t.Errorf("%s: it is %s, want %s", what, got, state)
	}
}

// A device without any cloud is led to one, over a restart too, out of it and to
// another, near by and with a code; what it was given it forgets when it leaves.
func TestMembership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h hosts
		one, two := newCloud(), newCloud()
		stopOne, stopTwo := h.start(t, "one:5683", one), h.start(t, "two:5683", two)
		state := cloudlink.FileState(filepath.Join(t.TempDir(), "state.json"))
		d := lead(t, h.dial, state, device.Onboarding{})
		d.want("at first", "uninitialized 0 ")
		if err := d.join("coap+tcp://one", "code-1"); err != nil {
			t.Fatal(err)
		}
		d.want("led to a cloud", "registered 0 coap+tcp://one")
		if one.devices[device1].name != "porch" || d.kept[0].Code != "code-1" || d.kept[1].Code != "" || d.kept[1].Server != "coap+tcp://one" {
			t.Errorf("the cloud knows %+v; kept %+v", one.devices[device1], d.kept)
		}
		if err := d.join("coap+tcp://two", "code-1"); status(err) != oic.BadRequest {
			t.Errorf("led away without leaving: %v", err)
		}
		chosen := d.kept[len(d.kept)-1]
		d.stop()

		d = lead(t, h.dial, state, chosen)
		d.want("after a restart", "registered 0 coap+tcp://one")
		if err := d.post(`{"cis":""}`); err != nil {
			t.Fatal(err)
		}
		d.want("after leaving", "uninitialized 0 ")
		if st, err := state.Load(); len(one.devices) != 0 || err != nil || st.Grant != (cloudlink.Grant{}) || st.Device != device1 {
			t.Errorf("the cloud still knows %v, the device %+v, %v", one.devices, st, err)
		}
		if err := d.join("coap+tcp://two", "code-1"); err != nil {
			t.Fatal(err)
		}
		d.want("led to another", "registered 0 coap+tcp://two")
		d.stop()
		stopOne()
		stopTwo()
	})
}

// What goes wrong on the way to a cloud shows at CoAPCloudConf, and can be tried
// again.
func TestMembershipFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h hosts
		c := newCloud()
		stop := h.start(t, "one:5683", c)
		d := lead(t, h.dial, nil, device.Onboarding{})
		for _, test := range []struct{ cis, at, want string }{
			{"coap+tcp://one", "wrong", "failed 4 coap+tcp://one"},
			{"coap+tcp://gone", "code-1", "registering 2 coap+tcp://gone"},
		} {
			if err := d.join(test.cis, test.at); err != nil {
				t.Errorf("%s: %v", test.cis, err)
			}
			d.want(test.cis, test.want)
		}
		if err := d.join("coap+tcp://one", "code-1"); status(err) != oic.BadRequest {
			t.Errorf("while it tries another: %v", err)
		}
		if err := d.post(`{"cis":""}`); err != nil {
			t.Error(err)
		}
		d.want("given up", "uninitialized 0 ")
		d.full = errors.New("disk full")
		if err := d.join("coap+tcp://one", "code-1"); status(err) != oic.Unavailable {
			t.Errorf("a choice that is not kept: %v", err)
		}
		d.want("not kept", "uninitialized 0 ")
		d.full = nil
		if err := d.join("coap+tcp://one", "code-1"); err != nil {
			t.Error(err)
		}
		d.want("at last", "registered 0 coap+tcp://one")
		stop()
		d.want("without the server", "registered 2 coap+tcp://one")
		d.stop()
	})
}

// seeing notes the access tokens that a cloud is shown.
type seeing struct {
	*cloud
	shown []string
}

func (s *seeing) SignIn(ctx context.Context, l cloudlink.Login) (oic.Identity, time.Time, error) {
	s.shown = append(s.shown, l.Access.Reveal())
	return s.cloud.SignIn(ctx, l)
}

// What a cloud gave is not shown to another, even if the device never left the
// first, which has thrown it out.
func TestMembershipKeepsTokensApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h hosts
		one, two := newCloud(), &seeing{cloud: newCloud()}
		stopOne := h.start(t, "one:5683", one)
		p := newPipes()
		h.up["two:5683"] = p
		stopTwo := serveOn(t, p, cloudlink.ServerConfig{Backend: two, AllowPlain: true, KeepAlive: -1}, nil)
		state := cloudlink.FileState(filepath.Join(t.TempDir(), "state.json"))
		d := lead(t, h.dial, state, device.Onboarding{})
		if err := d.join("coap+tcp://one", "code-1"); err != nil {
			t.Fatal(err)
		}
		d.want("led to a cloud", "registered 0 coap+tcp://one")
		one.mu.Lock()
		session := one.devices[device1].session
		one.access, one.refresh, one.codes = map[string]login{}, map[string]login{}, map[string]string{}
		one.mu.Unlock()
		session.Close("thrown out")
		time.Sleep(time.Minute)
		d.want("thrown out", "failed 3 coap+tcp://one") // a code that was used is not tried again
		chosen := d.kept[len(d.kept)-1]
		d.stop()
		d = lead(t, h.dial, state, chosen)
		d.want("thrown out, without the code", "failed 3 coap+tcp://one")
		two.tokens = 10
		if err := d.join("coap+tcp://two", "code-1"); err != nil {
			t.Fatal(err)
		}
		d.want("led to another", "registered 0 coap+tcp://two")
		if !slices.Equal(two.shown, []string{"at-11"}) {
			t.Errorf("it was shown %q", two.shown)
		}
		d.stop()
		stopOne()
		stopTwo()
	})
}

// A server whose certificate names another cloud than the tool did is not
// trusted with the code; many certificates name none.
func TestMembershipChecksCloud(t *testing.T) {
	ca := newAuthority(t)
	for name, ok := range map[string]bool{"cloud": true, "uuid:" + strings.ToUpper(cloudID): true, "uuid:" + device1: false} {
		c := &counting{cloud: newCloud()}
		addr := serve(t, cloudlink.ServerConfig{Backend: c}, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, name)}})
		host := device.NewHost(device.Config{ID: device1, Log: quiet})
		changes := make(chan cloudlink.Status, 16)
		m := cloudlink.NewMembership(cloudlink.MembershipConfig{
			Host: host, Log: quiet, Chosen: device.Onboarding{Server: "coaps+tcp://" + addr, Cloud: cloudID, Code: "code-1"},
			Client: func(device.Onboarding) cloudlink.Config {
				return cloudlink.Config{TLS: &tls.Config{RootCAs: ca.pool}, Log: quiet, OnChange: func(s cloudlink.Status) { changes <- s }}
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- m.Run(ctx) }()
		if s := <-changes; s.Registered != ok || ok != (c.signUps == 1) {
			t.Errorf("%s: %+v, %d sign-ups", name, s, c.signUps)
		}
		cancel()
		<-ended
	}
}

// A device that is renamed at /oic/con, or gets another resource, or loses one, is
// so in the directory at once.
func TestRenameReachesDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h hosts
		c := newCloud()
		stop := h.start(t, "one:5683", c)
		d := lead(t, h.dial, nil, device.Onboarding{Server: "coap+tcp://one", Code: "code-1"})
		d.want("at first", "registered 0 coap+tcp://one")
		published := func() (name, hrefs string) {
			synctest.Wait()
			c.mu.Lock()
			defer c.mu.Unlock()
			for _, l := range c.devices[device1].links {
				hrefs += l.Href + " "
			}
			return c.devices[device1].name, hrefs
		}
		if name, hrefs := published(); name != "porch" || hrefs != "/oic/d /oic/p /oic/con " {
			t.Fatalf("published %s with %s", name, hrefs)
		}
		body, _ := oic.FromJSON(oic.OCF, []byte(`{"n":"Veranda"}`))
		if _, err := d.host.Handle(t.Context(), &oic.Request{Op: oic.Update, Href: "/oic/con", Format: oic.OCF, Body: body}); err != nil {
			t.Fatal(err)
		}
		if name, _ := published(); name != "Veranda" {
			t.Errorf("its name is %s", name)
		}
		d.host.Add(&light1{})
		if _, hrefs := published(); !strings.Contains(hrefs, "/light/1") {
			t.Errorf("published %s", hrefs)
		}
		d.host.Remove("/light/1")
		if _, hrefs := published(); strings.Contains(hrefs, "/light/1") {
			t.Errorf("published %s", hrefs)
		}
		if got, want := c.called(), []string{"publish 3", "publish 1", "publish 1"}; !slices.Equal(got[:3], want) || len(got) != 4 {
			t.Errorf("the cloud was asked %q", got)
		}
		d.stop()
		stop()
	})
}
