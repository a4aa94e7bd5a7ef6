package bench

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/device/sim"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
)

// benchAccount is whose all endpoints are on our own server.
const benchAccount = "bench"

// lampHref is what is asked of the lamps.
const lampHref = "/a/light"

// remote is one endpoint, and the goroutine that runs it.
type remote struct {
	*rae.Endpoint
	cancel context.CancelFunc
	done   chan error
}

func (m *remote) stop() {
	m.cancel()
	<-m.done
}

// remotes are endpoints that run.
type remotes []*remote

func (all remotes) stop() {
	for _, m := range all {
		m.cancel()
	}
	for _, m := range all {
		<-m.done
	}
}

// remoteConfig is how endpoints get into the server.
func (s *xmppTarget) remoteConfig() (cfg rae.Config, err error) {
	account, err := jid.New(s.account, s.domain, "")
	return rae.Config{
		XMPP: xmpp.Config{JID: account, Password: s.password, Addr: s.addr, Keys: &s.keys,
			TLS: &tls.Config{RootCAs: s.roots, InsecureSkipVerify: s.roots == nil}},
		Rate: -1,
		Log:  slog.New(slog.DiscardHandler),
	}, err
}

// run starts an endpoint and waits until it is connected.
func runRemote(ctx context.Context, cfg rae.Config) (*remote, error) {
	connected := make(chan bool, 1)
	cfg.OnState = func(s rae.State) {
		if s.Status == rae.Connected {
			select {
			case connected <- true:
			default:
			}
		}
	}
	e, err := rae.New(cfg)
	if err != nil {
		return nil, err
	}
	run, cancel := context.WithCancel(ctx)
	m := &remote{e, cancel, make(chan error, 1)}
	go func() { m.done <- e.Run(run) }()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-connected:
		return m, nil
	case err := <-m.done:
		cancel()
		return nil, err
	case <-timer.C:
		m.stop()
		return nil, fmt.Errorf("not connected: %s", e.State().Reason)
	}
}

// remoteDevice starts a lamp, as its owner has it.
func (s *xmppTarget) remoteDevice(ctx context.Context) (*remote, error) {
	cfg, err := s.remoteConfig()
	if err != nil {
		return nil, err
	}
	lamp, err := sim.New("lamp", device.Config{Log: cfg.Log})
	if err != nil {
		return nil, err
	}
	cfg.Device = lamp.Host().Remote()
	return runRemote(ctx, cfg)
}

// remoteDevices starts lamps, and adds them to all.
func (s *xmppTarget) remoteDevices(ctx context.Context, n int, all *remotes) error {
	for range n {
		m, err := s.remoteDevice(ctx)
		if err != nil {
			return err
		}
		*all = append(*all, m)
	}
	return nil
}

// remoteClient starts a client.
func (s *xmppTarget) remoteClient(ctx context.Context) (*remote, error) {
	cfg, err := s.remoteConfig()
	if err != nil {
		return nil, err
	}
	cfg.ID = uuid.NewString()
	return runRemote(ctx, cfg)
}

// awaitDevices waits until n devices are there, and returns them.
func (m *remote) awaitDevices(ctx context.Context, n int) (all []*rae.Remote, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = m.Watch(ctx, func(d rae.Device) {
		if d.Available && !d.Name.IsClient() && len(all) < n {
			if all = append(all, m.Open(d.JID)); len(all) == n {
				cancel()
			}
		}
	})
	if len(all) < n {
		return nil, fmt.Errorf("%d of %d devices are there: %w", len(all), n, err)
	}
	return all, nil
}

// open is a device as m reaches it.
func (m *remote) open(lamp *remote) (*rae.Remote, error) {
	to, err := lamp.Name().JID(lamp.Account())
	return m.Open(to), err
}

// get reads the lamp.
func (*remote) get(ctx context.Context, lamp oic.Handler) error {
	resp, err := lamp.Handle(ctx, &oic.Request{Op: oic.Retrieve, Href: lampHref})
	if err == nil && len(resp.Body) == 0 {
		err = errors.New("an answer without a body")
	}
	return err
}

// getToEcho measures a GET and an echo of messages as long as its two, in turn:
// what else the machine does hits both.
func (s *xmppTarget) getToEcho(ctx context.Context, d time.Duration, row *RemoteRow) error {
	lamp, err := s.remoteDevice(ctx)
	if err != nil {
		return err
	}
	defer lamp.stop()
	client, err := s.remoteClient(ctx)
	if err != nil {
		return err
	}
	defer client.stop()
	found, err := client.open(lamp)
	if err != nil {
		return err
	}
	e, err := s.newEcho(ctx, found)
	if err != nil {
		return err
	}
	defer e.stop()
	ways := [2]func() error{func() error { return client.get(ctx, found) }, e.trip}
	var all [2][]time.Duration
	var ratios []float64
	for turn := range turns + 1 {
		var took [2][]time.Duration
		for i := range ways {
			i = (i + turn) % 2 // neither is always the first
			if took[i], err = timed(d/turns/2, ways[i]); err != nil {
				return err
			}
		}
		if turn > 0 { // the first has opened the session
			ratios = append(ratios, float64(quantile(took[0], 0.5))/float64(quantile(took[1], 0.5)))
			for i := range took {
				all[i] = append(all[i], took[i]...)
			}
		}
	}
	row.ToEcho = median(ratios)
	row.Get, row.GetP99, row.Echo = millis(quantile(all[0], 0.5)), millis(quantile(all[0], 0.99)), millis(quantile(all[1], 0.5))
	return nil
}

// remoteEcho sends a message to a sibling and gets one back.
type remoteEcho struct {
	near, far *xmppClient
	there     []byte
	ended     chan struct{}
}

// newEcho makes an echo with messages as long as those of a GET of lamp, from
// clients that do as little as they can.
func (s *xmppTarget) newEcho(ctx context.Context, lamp *rae.Remote) (*remoteEcho, error) {
	there, back, err := sizes(ctx, lamp)
	if err != nil {
		return nil, err
	}
	e := &remoteEcho{ended: make(chan struct{})}
	if e.near, err = s.login(ctx, "", "echo-near", nil); err != nil {
		return nil, err
	}
	if e.far, err = s.login(ctx, "", "echo-far", nil); err != nil {
		e.near.Close()
		return nil, err
	}
	e.there = s.message(e.far.jid, there)
	reply := s.message(e.near.jid, back)
	go func() {
		defer close(e.ended)
		for {
			if _, err := e.far.element(); err != nil {
				return
			}
			if _, err := e.far.Write(reply); err != nil {
				return
			}
		}
	}()
	return e, nil
}

func (e *remoteEcho) trip() error {
	if _, err := e.near.Write(e.there); err != nil {
		return err
	}
	_, err := e.near.element()
	return err
}

func (e *remoteEcho) stop() {
	e.near.Close()
	e.far.Close()
	<-e.ended
}

// sizes is how many characters of base64 a GET of lamp and its answer are.
func sizes(ctx context.Context, lamp *rae.Remote) (there, back int, err error) {
	resp, err := lamp.Handle(ctx, &oic.Request{Op: oic.Retrieve, Href: lampHref})
	if err != nil {
		return 0, 0, err
	}
	meta := rae.Meta{Token: "01234567"}
	name, _ := rae.ParseName(lamp.Peer().Resource())
	c := rae.Call{Request: oic.Request{Op: oic.Retrieve, Href: lampHref, Accept: oic.OCF}, Device: name.Device(), Meta: meta}
	a := rae.Answer{Response: resp, Meta: meta}
	ask, err := c.Document()
	answer, err2 := a.Document(oic.Retrieve)
	if err = errors.Join(err, err2); err != nil {
		return 0, 0, err
	}
	size := func(d *rae.Document) int {
		b, err2 := d.Append(nil, 0)
		err = cmp.Or(err, err2)
		return (len(b) + 2) / 3 * 4
	}
	return size(ask), size(answer), err
}

// remoteRate has clients ask lamps, each its own, several requests at a time.
func (s *xmppTarget) remoteRate(ctx context.Context, cfg RemoteConfig, row *RemoteRow) (err error) {
	var lamps, clients remotes
	defer func() { clients.stop(); lamps.stop() }()
	n := max(cfg.Sessions/2, 1)
	if err := s.remoteDevices(ctx, n, &lamps); err != nil {
		return err
	}
	var got atomic.Int64
	var over atomic.Bool
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, gctx := errgroup.WithContext(ctx)
	defer func() { over.Store(true); cancel(); err = cmp.Or(g.Wait(), err) }()
	for i := range n {
		client, err := s.remoteClient(ctx)
		if err != nil {
			return err
		}
		clients = append(clients, client)
		lamp, err := client.open(lamps[i])
		if err != nil {
			return err
		}
		if err := client.get(ctx, lamp); err != nil {
			return err
		}
		for range cfg.InFlight {
			g.Go(func() error {
				for !over.Load() {
					if err := client.get(gctx, lamp); err != nil {
						return ended(&over, err)
					}
					got.Add(1)
				}
				return nil
			})
		}
	}
	theirs, err := s.cpu()
	if err != nil {
		return err
	}
	ours, had := processorTime(), got.Load()
	_, row.Rate, err = s.meter(gctx, &got, cfg.For)
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(max(got.Load()-had, 1)) }
	row.Cost = each(processorTime() - ours)
	after, err2 := s.cpu()
	row.ServerCPU = each(after - theirs)
	return cmp.Or(err, err2)
}

// observeAll keeps n observations, spread over lamps, until ctx ends. It returns
// when each was told something.
func observeAll(ctx context.Context, lamps []*rae.Remote, n int, tasks *sync.WaitGroup) error {
	begun, failed := make(chan bool, n), make(chan error, n)
	for i := range n {
		tasks.Go(func() {
			once := sync.OnceFunc(func() { begun <- true })
			req := &oic.Request{Op: oic.Retrieve, Href: lampHref}
			failed <- lamps[i%len(lamps)].Observe(ctx, req, func(*oic.Response) { once() })
		})
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for i := range n {
		select {
		case <-begun:
		case err := <-failed:
			return err
		case <-timer.C:
			return fmt.Errorf("%d of %d", i, n)
		}
	}
	return nil
}
