package main

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/device/sim"
	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/internal/secret"
)

// member is a simulated device that belongs to a cloud, or wants to.
type member struct {
	kind, name string
	servers    []string // "coaps+tcp://host:port" or the like, in the order of preference
	dialect    cloudlink.Dialect
	provider   string // who gave the code
	lan        bool   // answers on the local network, too
	trust      *tls.Config
	state      cloudlink.FileState
	code       func(ctx context.Context) (secret.String, error) // asked for only by a device that has not joined
	changed    func(cloudlink.Status)
	listening  func(at netip.AddrPort) // nil: nobody is told where it answers on the local network
	log        *slog.Logger
}

// run keeps the device registered until ctx ends or the cloud refuses it.
func (m member) run(ctx context.Context) error {
	state, err := m.state.Load()
	if err != nil {
		return err
	}
	var code secret.String
	if state.Grant.Account == "" {
		if code, err = m.code(ctx); err != nil {
			return err
		}
	}
	if state.Device == "" {
		state.Device = uuid.NewString()
		if err := m.state.Save(state); err != nil {
			return err // without it a lost answer would cost the code
		}
	}
	device, err := sim.New(m.kind, state.Device, m.name, m.log)
	if err != nil {
		return err
	}
	host := device.Host()
	client, err := cloudlink.New(cloudlink.Config{
		Servers: m.servers, TLS: m.trust, Handler: host.Remote(),
		Device: host.ID(), Name: host.Name, App: "farreach", Links: host.Links,
		Code: code, Provider: m.provider, Dialect: m.dialect, State: m.state, Backoff: patience(m.servers), OnChange: m.changed, Log: m.log,
	})
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return device.Run(ctx) })
	group.Go(func() error { return client.Run(ctx) })
	if m.lan {
		group.Go(func() error { return m.serveLAN(ctx, host) })
	}
	return group.Wait()
}

// patience is how a device waits for its servers. Those on the same machine
// have few devices and cannot be overrun by them, so they come back sooner.
func patience(servers []string) backoff.Backoff {
	for _, server := range servers {
		u, err := coap.ParseURI(server)
		if err != nil {
			return backoff.Backoff{}
		}
		if ip := net.ParseIP(u.Host); u.Host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return backoff.Backoff{}
		}
	}
	return backoff.Backoff{Base: 200 * time.Millisecond, Max: 5 * time.Second, Spread: time.Second}
}
