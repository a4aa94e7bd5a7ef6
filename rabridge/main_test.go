package rabridge

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmppd/xmppdtest"
)

// TestMain fails the package if a test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	lampID = "0685b960-736f-46f7-bec0-9e6cbd61adc1"
	doorID = "3f2d9a4e-5b7c-4d1e-8f60-1a2b3c4d5e6f"
)

var quiet = slog.New(slog.DiscardHandler)

// house is an XMPP server in memory, with a bridge to a ledger.
type house struct {
	*testing.T
	srv    *xmppdtest.Server
	bridge *Bridge
	cloud  *ledger
	stop   func()
}

// inHouse runs test in a bubble, where time is fake.
func inHouse(t *testing.T, test func(h *house)) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{T: t, cloud: &ledger{refuse: map[string]error{}, sets: map[string]cloudlink.Publication{}, sessions: map[string]cloudlink.Session{}}}
		cfg := xmppdtest.Config{Memory: true}
		cfg.Presence = func(j jid.JID) { h.bridge.Presence(j) }
		h.srv = xmppdtest.Run(t, cfg)
		in := h.srv.Inside()
		var err error
		h.bridge, err = New(Config{
			Cloud: h.cloud, Seen: h.srv.Seen, Log: quiet,
			Login: func(name string) xmpp.Config {
				cfg := h.srv.Client(name, "")
				cfg.Password, cfg.Inside, cfg.NoResume, cfg.KeepAlive = "", true, true, -1
				cfg.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return in.Dial(ctx, name, anyResource{}) }
				return cfg
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var tasks sync.WaitGroup
		tasks.Go(func() { h.srv.Serve(ctx, in) })
		tasks.Go(func() { h.bridge.Run(ctx) })
		h.stop = sync.OnceFunc(func() { cancel(); tasks.Wait() })
		t.Cleanup(h.stop)
		test(h)
	})
}

// anyResource is a pass for everything, which nobody takes away.
type anyResource struct{}

func (anyResource) May(string) bool              { return true }
func (anyResource) Enter(func()) (func(), error) { return func() {}, nil }

// joins has a device come to the server as an account, until leave is called.
func (h *house) joins(account string, d oic.Handler) (leave func()) {
	h.Helper()
	e, err := rae.New(rae.Config{XMPP: h.srv.Client(account, ""), Device: d, Log: quiet})
	if err != nil {
		h.Fatal(err)
	}
	ctx, cancel := context.WithCancel(h.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		e.Run(ctx)
	}()
	leave = sync.OnceFunc(func() { cancel(); <-over; synctest.Wait() })
	h.Cleanup(leave)
	synctest.Wait()
	return leave
}

// newDevice has a switch at /a/light, and what nobody does from afar.
func newDevice(di, name string) *device.Host {
	d := device.NewHost(device.Config{ID: di, Type: "oic.d.light", Name: name, Reset: func(context.Context) error { return nil }})
	d.Add(&bulb{})
	return d
}

type bulb struct{ on bool }

func (*bulb) Link() oic.Link {
	return oic.Link{Href: "/a/light", Types: []string{"oic.r.switch.binary"}, Interfaces: []string{oic.IfActuator, oic.IfBaseline},
		Policy: oic.Policy{Mask: oic.Discoverable | oic.Observable}}
}

type bulbRep struct {
	Value bool `json:"value"`
}

func (b *bulb) Retrieve(context.Context, string) (any, error) { return bulbRep{b.on}, nil }

func (b *bulb) Update(_ context.Context, _ string, rep []byte) (any, error) {
	var want bulbRep
	err := oic.Decode(oic.OCF, rep, &want)
	b.on = want.Value
	return nil, err
}

var lightOn = []byte("\xa1\x65value\xf5")

// ledger is a cloud that writes down what it is told.
type ledger struct {
	mu       sync.Mutex                       // guards what follows
	refuse   map[string]error                 // by di: what Adopt says
	sets     map[string]cloudlink.Publication // by di
	sessions map[string]cloudlink.Session     // by di
	log      []string
}

func (l *ledger) Adopt(_ context.Context, account string, set cloudlink.Publication) (oic.Identity, []oic.Link, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.refuse[set.Device]; err != nil {
		l.log = append(l.log, "refused "+set.Device)
		return oic.Identity{}, nil, err
	}
	l.keep("adopted", account, set)
	return oic.Identity{Account: account, Device: set.Device}, set.Links, nil
}

func (l *ledger) Amend(_ context.Context, who oic.Identity, set cloudlink.Publication) ([]oic.Link, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if before := l.sets[who.Device]; before.Name != set.Name || len(before.Links) != len(set.Links) {
		l.keep("amended", who.Account, set)
	}
	return set.Links, nil
}

// keep keeps a set. l.mu is held.
func (l *ledger) keep(how, account string, set cloudlink.Publication) {
	var hrefs []string
	for _, link := range set.Links {
		hrefs = append(hrefs, link.Href)
	}
	slices.Sort(hrefs)
	l.sets[set.Device] = set
	l.log = append(l.log, fmt.Sprintf("%s %s %s %v", how, account, set.Name, hrefs))
}

func (l *ledger) AttachSpare(_ context.Context, who oic.Identity, s cloudlink.Session) (detach func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sessions[who.Device] = s
	l.log = append(l.log, "here")
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.sessions, who.Device)
		l.log = append(l.log, "gone")
	}, nil
}

func (l *ledger) Report(_ context.Context, who oic.Identity, reports []cloudlink.Report) []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range reports {
		body, _ := oic.ToJSON(r.Rep.Format, r.Rep.Body)
		l.log = append(l.log, r.Href+" "+strings.TrimSpace(string(body)))
	}
	return nil
}

// take returns what was written down since the last time.
func (l *ledger) take() []string {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	log := l.log
	l.log = nil
	return log
}

func (l *ledger) session(di string) cloudlink.Session {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sessions[di]
}

// logged fails the test unless the ledger has these lines since the last time, in
// any order.
func (h *house) logged(what string, want ...string) {
	h.Helper()
	got := h.cloud.take()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		h.Errorf("%s:\n%s\nwant:\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// minute lets a minute pass.
func minute() { time.Sleep(time.Minute) }
