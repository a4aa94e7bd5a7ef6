package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/device/sim"
	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/rae"
)

// member is a simulated device that belongs to a cloud or to an XMPP account, or
// wants to.
type member struct {
	kind, name string
	servers    []string // "coaps+tcp://host:port" or the like, in the order of preference
	dialect    cloudlink.Dialect
	provider   string // who gave the code
	lan        bool   // answers on the local network, too, where people may lead it to another cloud
	trust      func(servers []string) (*tls.Config, error)
	state      cloudlink.FileState
	code       func(ctx context.Context) (secret.String, error) // asked for only by a device that has not joined
	changed    func(cloudlink.Status)
	owner      ownerKey                         // on the local network all but discovery is for who has it; none: for everybody
	remote     *remote                          // how it is reached over XMPP, and led there; nil: not at all
	listening  func(scheme string, port uint16) // nil: nobody is told where it answers on the local network
	log        *slog.Logger
}

// run keeps the device reachable until ctx ends or the cloud refuses it. One on
// the local network does without servers, and is not ended by a refusal.
func (m member) run(ctx context.Context) error {
	memory, err := remember(m.state)
	if err != nil {
		return err
	}
	state, err := m.identity()
	if err != nil {
		return err // without it a lost answer would cost the code
	}
	var code secret.String
	if state.Grant.Account == "" && len(m.servers) > 0 {
		if code, err = m.code(ctx); err != nil {
			return err
		}
	}
	return m.be(ctx, state.Device, memory, code)
}

// identity is what the device remembers of its cloud, at least its di.
func (m member) identity() (cloudlink.State, error) {
	state, err := m.state.Load()
	if err == nil && state.Device == "" {
		state.Device = uuid.NewString()
		err = m.state.Save(state)
	}
	return state, err
}

// be is the device until ctx ends, or the cloud refuses it.
func (m member) be(ctx context.Context, id string, memory *memory, code secret.String) error {
	var host *device.Host
	var remote *rae.Provisioning
	cfg := device.Config{ID: id, Name: m.name, Settings: memory.settings(), Keep: memory.keepSettings, Log: m.log}
	if m.lan && m.owner.known() { // nobody else reaches /oic/mnt
		cfg.Reset = func(ctx context.Context) error { return m.reset(ctx, host, remote) }
	}
	thing, err := sim.New(m.kind, cfg)
	if err != nil {
		return err
	}
	host = thing.Host()
	tasks := []func(context.Context) error{thing.Run}
	switch {
	case m.lan:
		tasks = append(tasks, m.membership(host, memory, code).Run, func(ctx context.Context) error { return m.serveLAN(ctx, host) })
	case len(m.servers) > 0:
		tasks = append(tasks, func(ctx context.Context) error { return m.stay(ctx, host, code) })
	}
	if m.remote != nil {
		if remote, err = m.provisioning(ctx, host, memory); err != nil {
			return err
		}
		tasks = append(tasks, remote.Run)
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, task := range tasks {
		group.Go(func() error { return task(ctx) })
	}
	return group.Wait()
}

// stay is a member of the cloud that was named at the start.
func (m member) stay(ctx context.Context, host *device.Host, code secret.String) error {
	trust, err := m.trust(m.servers)
	if err != nil {
		return err
	}
	cfg := m.client(m.servers, trust)
	cfg.Servers, cfg.Code, cfg.Provider = m.servers, code, m.provider
	cfg.Device, cfg.Name, cfg.Links, cfg.Handler = host.ID(), host.Name, host.Links, host.Remote()
	client, err := cloudlink.New(cfg)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return client.Run(ctx) })
	group.Go(func() error { client.Follow(ctx, host); return nil })
	return group.Wait()
}

// membership lets people choose the cloud, if none was named at the start.
func (m member) membership(host *device.Host, memory *memory, code secret.String) *cloudlink.Membership {
	chosen := memory.cloud()
	if len(m.servers) > 0 {
		chosen = device.Onboarding{Server: m.servers[0], Provider: m.provider, Code: code}
		for _, s := range m.servers[1:] {
			chosen.Others = append(chosen.Others, device.CloudServer{URI: s})
		}
	}
	return cloudlink.NewMembership(cloudlink.MembershipConfig{
		Host: host, State: m.state, Chosen: chosen, Keep: memory.keepCloud, Log: m.log,
		Client: func(to device.Onboarding) cloudlink.Config {
			servers := []string{to.Server}
			for _, s := range to.Others {
				servers = append(servers, s.URI)
			}
			trust, err := m.trust(servers)
			if err != nil {
				m.log.Error("nobody is trusted", "err", err)
				trust = trusting(x509.NewCertPool())
			}
			return m.client(servers, trust)
		},
	})
}

// client is how the device stays in a cloud with these servers.
func (m member) client(servers []string, trust *tls.Config) cloudlink.Config {
	return cloudlink.Config{
		App: "farreach", TLS: trust, Dialect: m.dialect, State: m.state, Backoff: patience(servers), Log: m.log,
		OnChange: func(s cloudlink.Status) {
			s.Server = cmp.Or(s.Server, servers[0])
			m.changed(s)
		},
	}
}

// patience is how a device waits for its servers. Those on the same machine
// have few devices and cannot be overrun by them, so they come back sooner.
func patience(servers []string) backoff.Backoff {
	for _, server := range servers {
		u, err := coap.ParseURI(server)
		if err != nil || !isHere(u.Host) {
			return backoff.Backoff{}
		}
	}
	return here
}

// here is how one waits for a server on the same machine.
var here = backoff.Backoff{Base: 200 * time.Millisecond, Max: 5 * time.Second, Spread: time.Second}

func isHere(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
