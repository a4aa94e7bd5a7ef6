package e2e_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/farreach/farreach/cloud"
	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// switches is the least that can be commanded.
type switches struct{ on atomic.Bool }

func (s *switches) Link() oic.Link {
	return oic.Link{Href: "/a/light", Types: []string{"oic.r.switch.binary"}, Interfaces: []string{oic.IfActuator, oic.IfBaseline},
		Policy: oic.Policy{Mask: oic.Discoverable | oic.Observable}}
}

func (s *switches) Retrieve(context.Context, string) (any, error) {
	return map[string]bool{"value": s.on.Load()}, nil
}

func (s *switches) Update(_ context.Context, _ string, rep []byte) (any, error) {
	var to struct {
		Value bool `json:"value"`
	}
	if err := oic.Decode(oic.OCF, rep, &to); err != nil {
		return nil, err
	}
	s.on.Store(to.Value)
	return nil, nil
}

// fleet is many devices in this process, each with a connection of its own and
// an address of its own, as they have in the world. Their server is a process.
type fleet struct {
	*child
	dials   atomic.Int32
	back    chan fleetBack
	devices []*fleetDevice
}

// fleetBack is a device that is registered, and since when.
type fleetBack struct {
	i  int
	at time.Time
}

type fleetDevice struct {
	id, account string
	light       switches
}

// families are the accounts of a fleet. The first is that of the server's user.
var families = []string{"home", "second", "third", "fourth"}

// accounts makes four accounts with so many pairing codes each, before the
// server starts: it has room for 1,000 codes and devices of an account.
func (f *fleet) accounts(each int) (codes []secret.String, tokens map[string]secret.String) {
	f.t.Helper()
	data := filepath.Join(f.home, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		f.t.Fatal(err)
	}
	ctx, tokens := f.t.Context(), map[string]secret.String{}
	s, err := store.Open(ctx, store.Config{Dir: filepath.Join(data, "store"), Log: quiet})
	if err != nil {
		f.t.Fatal(err)
	}
	defer s.Close()
	c, err := cloud.Open(ctx, cloud.Config{Store: s, Log: quiet})
	if err != nil {
		f.t.Fatal(err)
	}
	defer c.Close()
	for _, name := range families {
		_, err := c.CreateAccount(ctx, oic.Identity{Admin: true}, name, "correct horse battery", name == "home")
		if err == nil {
			tokens[name], _, err = c.NewToken(ctx, oic.Identity{Account: name}, "test", oic.ScopeAdmin, 0)
		}
		for range each {
			code, _, codeErr := c.NewPairingCode(ctx, oic.Identity{Account: name})
			codes, err = append(codes, code), errors.Join(err, codeErr)
		}
		if err != nil {
			f.t.Fatal(err)
		}
	}
	return codes, tokens
}

// join starts device i.
func (f *fleet) join(ctx context.Context, running *sync.WaitGroup, i int, account string, code secret.String) {
	f.t.Helper()
	d := &fleetDevice{id: uuid.NewString(), account: account}
	f.devices = append(f.devices, d)
	host := device.NewHost(device.Config{ID: d.id, Name: fmt.Sprintf("lamp %d", i), Type: "oic.d.light", Log: quiet})
	host.Add(&d.light)
	from := &net.TCPAddr{IP: net.IPv4(127, 0, byte(1+i/200), byte(1+i%200))}
	c, err := cloudlink.New(cloudlink.Config{
		Servers: []string{f.uri()}, Handler: host, Device: d.id, Name: host.Name, Links: host.Links,
		Code: code, Log: quiet,
		OnChange: func(s cloudlink.Status) {
			if s.Registered {
				f.back <- fleetBack{i, time.Now()}
			}
		},
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			f.dials.Add(1)
			return (&net.Dialer{LocalAddr: from}).DialContext(ctx, network, addr)
		},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	running.Go(func() { c.Run(ctx) })
}

// 2,000 take half a minute; under the race detector twice that. Fewer than 700
// could all come in a second.
var fleetSize = flag.Int("fleet", 1000, "how many devices lose their server at once")

// The server process stops and starts: all devices are back and were commanded
// in 20 s, and they do not come all at once (rule 16, CI-012).
func TestFleet(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: many devices")
	}
	perAccount := *fleetSize / len(families)
	f := &fleet{child: newChild(t), back: make(chan fleetBack, 32*perAccount*len(families))}
	codes, tokens := f.accounts(perAccount)
	f.start()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	start := time.Now()
	for i, code := range codes {
		if f.join(ctx, &running, i, families[i/perAccount], code); len(f.devices)%250 == 0 {
			f.await(250, start) // not all at once: that is what follows
		}
	}
	f.await(len(codes)%250, start)
	t.Logf("%d devices joined in %v, after %d dials", len(codes), time.Since(start).Round(time.Millisecond), f.dials.Load())

	f.dials.Store(0)
	f.stop()
	start = time.Now()
	f.start()
	at := f.await(len(codes), start)
	all := time.Since(start)
	f.command(tokens)
	took := time.Since(start)
	var perSecond [30]int
	for i, d := range at {
		perSecond[min(int(d/time.Second), len(perSecond)-1)]++
		if let := signIns * (1 + d.Seconds()); float64(i) > let {
			t.Errorf("%d are back after %v, more than are let in", i+1, d)
			break
		}
	}
	t.Logf("%d devices back in %v and commanded in %v, after %d dials; in each second %v",
		len(codes), all.Round(time.Millisecond), took.Round(time.Millisecond), f.dials.Load(), perSecond[:min(int(all/time.Second)+1, len(perSecond))])
	if took > 20*time.Second+busy {
		t.Errorf("back and commanded after %v, want at most 20 s", took)
	}
	f.counted(len(codes))
}

// signIns is how many devices the server lets in at once, and each second.
const signIns = 300

// await waits until n devices have registered, and returns when they did, in order.
func (f *fleet) await(n int, start time.Time) []time.Duration {
	f.t.Helper()
	at := map[int]time.Duration{}
	late := time.After(patience)
	for len(at) < n {
		select {
		case b := <-f.back:
			if b.at.After(start) { // not one from before the server was stopped
				at[b.i] = b.at.Sub(start)
			}
		case <-late:
			f.t.Fatalf("%d of %d devices are registered after %v", len(at), n, patience)
		}
	}
	return slices.Sorted(maps.Values(at))
}

// command switches each light on, through the server: one connection for each
// account, 32 requests under way on each.
func (f *fleet) command(tokens map[string]secret.String) {
	f.t.Helper()
	var wg sync.WaitGroup
	defer wg.Wait()
	links, room := map[string]*cloudlink.Link{}, make(chan struct{}, 32)
	for account, token := range tokens {
		links[account] = f.link()
		if err := signIn(f.t.Context(), links[account], account, "", token); err != nil {
			f.t.Fatal(err)
		}
	}
	for i, d := range f.devices {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			err := post(f.t.Context(), links[d.account].Device(d.id), "/a/light", `{"value":true}`)
			if err != nil || !d.light.on.Load() {
				f.t.Errorf("device %d: %v", i, err)
			}
		})
	}
}

// counted checks that the server counts as many devices and commands.
func (f *fleet) counted(devices int) {
	f.t.Helper()
	var s struct {
		Devices struct{ Reachable int }
		Totals  struct {
			Commands float64
			HeldBack float64 `json:"held_back"`
		}
	}
	if err := f.call(f.t.Context(), http.MethodGet, "/status", nil, &s); err != nil {
		f.t.Fatal(err)
	}
	if s.Devices.Reachable != devices || int(s.Totals.Commands) != devices {
		f.t.Errorf("the server counts %d devices and %.0f commands, want %d of both", s.Devices.Reachable, s.Totals.Commands, devices)
	}
	f.t.Logf("%.0f sign-ins were held back", s.Totals.HeldBack)
}
