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
		once := sync.OnceFunc(func() { begun <- true })
		req, each := &oic.Request{Op: oic.Retrieve, Href: lampHref}, func(*oic.Response) { once() }
		tasks.Go(func() { failed <- lamps[i%len(lamps)].Observe(ctx, req, each) })
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
