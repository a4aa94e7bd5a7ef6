package lan_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/device/sim"
	"github.com/farreach/farreach/internal/simnet"
	"github.com/farreach/farreach/lan"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var group = netip.MustParseAddrPort("224.0.1.187:5683")

// Ids of devices.
const (
	lampID  = "0685b960-736f-46f7-bec0-9e6cbd61adc1"
	doorID  = "0685b960-736f-46f7-bec0-9e6cbd61adc2"
	proxyID = "0685b960-736f-46f7-bec0-9e6cbd61adcf"
)

// network is one in memory, in a bubble of fake time.
type network struct {
	t *testing.T
	*simnet.Net
	hears []netip.AddrPort // groups, and who cannot be in one
}

func newNetwork(t *testing.T, cfg simnet.Config) *network {
	return &network{t, simnet.New(cfg), []netip.AddrPort{group}}
}

// unit is a device that can be unplugged.
type unit struct {
	*coap.Endpoint
	at     netip.AddrPort
	cancel context.CancelFunc
	ended  chan struct{}
}

func (u *unit) unplug() {
	u.cancel()
	<-u.ended
	synctest.Wait()
}

// plug serves a device at host:port, and at the group.
func (n *network) plug(at string, h oic.Handler) *unit {
	pc := n.Listen(at)
	heard := n.Listen(pc.Addr().Addr().String() + ":5683")
	heard.Join(group)
	return n.serve(pc, h, coap.NewGroupConn(heard))
}

// serve serves a device on a socket.
func (n *network) serve(pc coap.PacketConn, h oic.Handler, groups ...*coap.GroupConn) *unit {
	return n.run(pc, coap.EndpointConfig{Groups: groups, Accept: func(*coap.Peer) coap.Handler {
		asks := new(oiccoap.Server)
		return coap.HandlerFunc(func(x *coap.Exchange) { asks.Serve(x, h, oic.Identity{}) })
	}})
}

// run runs an endpoint on a socket.
func (n *network) run(pc coap.PacketConn, cfg coap.EndpointConfig) *unit {
	cfg.Closed, cfg.Log = true, slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(context.Background())
	u := &unit{Endpoint: coap.NewEndpoint(pc, cfg), at: pc.LocalAddr().(*net.UDPAddr).AddrPort(), cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(u.ended)
		_ = u.Run(ctx)
	}()
	n.t.Cleanup(func() {
		cancel()
		<-u.ended
	})
	return u
}

func simulated(t *testing.T, kind, id, name string) *device.Host {
	t.Helper()
	s, err := sim.New(kind, device.Config{ID: id, Name: name, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s.Host()
}

// watch is a Watch with what it told and logged.
type watch struct {
	t    *testing.T
	stop func()

	mu      sync.Mutex // guards what follows
	told    []string
	devices map[string]lan.Device
	log     []string // warnings
}

// watch watches the network from 10.0.0.1 until the test ends.
func (n *network) watch(cfg lan.Config) *watch {
	w := &watch{t: n.t, devices: map[string]lan.Device{}}
	cfg.Listen = func(to netip.Addr) (coap.PacketConn, error) {
		if !to.Is4() {
			return nil, errors.New("no IPv6")
		}
		return n.Listen("10.0.0.1:0"), nil
	}
	if cfg.Groups == nil {
		cfg.Groups = n.hears
	}
	cfg.Log = slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn}))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- lan.Watch(ctx, cfg, w.tell) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != context.Canceled {
			n.t.Errorf("Watch: %v", err)
		}
	})
	n.t.Cleanup(w.stop)
	return w
}

func (w *watch) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, string(line))
	return len(line), nil
}

func (w *watch) tell(c lan.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = append(w.told, fmt.Sprint([]string{"+", "~", "-"}[c.Kind], c.Device.Name))
	w.devices[c.Device.ID] = c.Device
}

// told compares what has been told since last time, in any order of devices.
func (w *watch) expect(want ...string) {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.Sort(w.told)
	slices.Sort(want)
	if !slices.Equal(w.told, want) {
		w.t.Errorf("at %v: told %q, want %q\n%s", time.Now().UTC(), w.told, want, strings.Join(w.log, ""))
	}
	w.told = nil
}

// warned counts the warnings with a text.
func (w *watch) warned(text string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, line := range w.log {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func (w *watch) device(id string) lan.Device {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.devices[id]
}

// read returns a resource as JSON.
func read(t *testing.T, h oic.Handler, href string) string {
	t.Helper()
	resp, err := h.Handle(t.Context(), &oic.Request{Href: href})
	if err != nil {
		return err.Error()
	}
	text, err := oic.ToJSON(resp.Format, resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// answers answers with JSON texts, by path.
func answers(f oic.ContentFormat, texts map[string]string) oic.Handler {
	return oic.HandlerFunc(func(_ context.Context, req *oic.Request) (*oic.Response, error) {
		path, _ := oic.SplitHref(req.Href)
		text, ok := texts[path]
		if !ok {
			return nil, oic.Errorf(oic.NotFound, "no %s", path)
		}
		b, err := oic.FromJSON(f, []byte(text))
		return &oic.Response{Status: oic.Content, Format: f, Body: b}, err
	})
}

func pass(d time.Duration) {
	time.Sleep(d) // in a bubble
	synctest.Wait()
}
