package e2e_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/oic"
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
// an address of its own, as they have in the world.
type fleet struct {
	home    *home
	dials   atomic.Int32
	back    chan int // the number of a device that is registered
	devices []*fleetDevice
}

type fleetDevice struct {
	id, account string
	light       switches
}

// join starts device i.
func (f *fleet) join(ctx context.Context, running *sync.WaitGroup, i int, account string) error {
	d := &fleetDevice{id: uuid.NewString(), account: account}
	f.devices = append(f.devices, d)
	code, _, err := f.home.cloud.NewPairingCode(ctx, oic.Identity{Account: account})
	if err != nil {
		return err
	}
	host := device.NewHost(device.Config{ID: d.id, Name: fmt.Sprintf("lamp %d", i), Type: "oic.d.light", Log: quiet})
	host.Add(&d.light)
	from := &net.TCPAddr{IP: net.IPv4(127, 0, byte(1+i/200), byte(1+i%200))}
	c, err := cloudlink.New(cloudlink.Config{
		Servers: []string{"coap+tcp://" + f.home.plain}, Handler: host, Device: d.id, Name: host.Name, Links: host.Links,
		Code: code, Log: quiet,
		OnChange: func(s cloudlink.Status) {
			if s.Registered {
				f.back <- i
			}
		},
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			f.dials.Add(1)
			return (&net.Dialer{LocalAddr: from}).DialContext(ctx, network, addr)
		},
	})
	if err != nil {
		return err
	}
	running.Go(func() { c.Run(ctx) })
	return nil
}

// The server stops and starts: 2,000 devices are back and were commanded in
// 20 s, and they do not come all at once (rule 16, CI-012).
func TestFleet(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: 2,000 devices take half a minute")
	}
	const devices, perAccount = 2000, 1000
	h := newHome(t, 0)
	h.stop()
	h.signIns = -1 // the first time does not count
	h.start()
	if _, err := h.cloud.CreateAccount(t.Context(), oic.Identity{Admin: true}, "second", "correct horse battery", false); err != nil {
		t.Fatal(err)
	}
	f := &fleet{home: h, back: make(chan int, 16*devices)}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	start := time.Now()
	for i := range devices {
		account := "home"
		if i >= perAccount {
			account = "second"
		}
		if err := f.join(ctx, &running, i, account); err != nil {
			t.Fatal(err)
		}
	}
	f.await(t, devices, time.Minute)
	t.Logf("%d devices joined in %v", devices, time.Since(start).Round(time.Millisecond))

	f.dials.Store(0)
	h.stop()
	h.signIns = 0 // as a server has it
	start = time.Now()
	h.start()
	at := f.await(t, devices, 30*time.Second)
	all := time.Since(start)
	f.command(t)
	took := time.Since(start)
	var perSecond [30]int
	for _, d := range at {
		perSecond[min(int(d/time.Second), len(perSecond)-1)]++
	}
	t.Logf("%d devices back in %v and commanded in %v, after %d dials; in each second %v",
		devices, all.Round(time.Millisecond), took.Round(time.Millisecond), f.dials.Load(), perSecond[:min(int(all/time.Second)+1, len(perSecond))])
	if took > 20*time.Second {
		t.Errorf("back and commanded after %v, want at most 20 s", took)
	}
	if most := slices.Max(perSecond[:]); most > 2*300+100 {
		t.Errorf("%d came in one second, more than are let in", most)
	}
}

// await waits until so many devices are registered, and returns when each was.
func (f *fleet) await(t *testing.T, n int, limit time.Duration) map[int]time.Duration {
	t.Helper()
	start, at := time.Now(), map[int]time.Duration{}
	late := time.After(limit)
	for len(at) < n {
		select {
		case i := <-f.back:
			at[i] = time.Since(start)
		case <-late:
			t.Fatalf("%d of %d devices are registered after %v", len(at), n, limit)
		}
	}
	return at
}

// command switches each light on, through the cloud.
func (f *fleet) command(t *testing.T) {
	t.Helper()
	var wg sync.WaitGroup
	room := make(chan struct{}, 64)
	for i, d := range f.devices {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			way, err := f.home.cloud.Device(t.Context(), oic.Identity{Account: d.account}, d.id)
			if err == nil {
				err = post(t.Context(), way, "/a/light", `{"value":true}`)
			}
			if err != nil || !d.light.on.Load() {
				t.Errorf("device %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}
