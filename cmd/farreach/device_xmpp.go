package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"

	"github.com/farreach/farreach/cmd/farreach/internal/screen"
	"github.com/farreach/farreach/cmd/farreach/internal/settings"
	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
)

// remote is how a simulated device is reached over XMPP.
type remote struct {
	chosen  rae.Settings                                                                 // at the start; none: what was set near the device
	addr    string                                                                       // of chosen.Server, if it is a WebSocket
	direct  bool                                                                         // chosen.Server begins with TLS
	login   func(ctx context.Context, account jid.JID, di string) (secret.String, error) // the password of chosen, if that has none
	trust   func(account jid.JID) (*tls.Config, error)
	changed func(account jid.JID, s rae.State) // nil: nobody is told
}

// remote is what the flags say of it; nil if the device has neither an account
// nor an owner who could give it one.
func (a *app) remote(name string, d *deviceFlags, owned bool) (*remote, error) {
	r := &remote{
		login: func(ctx context.Context, account jid.JID, di string) (secret.String, error) {
			return a.deviceLogin(ctx, d.access, account, di)
		},
		trust:   func(account jid.JID) (*tls.Config, error) { return a.xmppTrust(d.access, account) },
		changed: func(account jid.JID, s rae.State) { a.attendance(name, account, s) },
	}
	if d.xmpp.jid == "" {
		if d.xmpp.addr != "" || d.password != (passwordSource{}) {
			return nil, misuse("--xmpp ann@home.example", "an XMPP address or a password says nothing without an account")
		}
		if !owned {
			r = nil
		}
		return r, nil
	}
	cfg, err := a.deviceAccount(d)
	if err != nil {
		return nil, err
	}
	r.addr, r.direct = cfg.Addr, cfg.Direct
	r.chosen = rae.Settings{Account: cfg.JID, Password: cfg.Password, Server: rae.Server{Address: cfg.JID.Domain()}}
	if cfg.Addr != "" {
		if r.chosen.Server, err = parseServer(cfg.Addr); err != nil {
			return nil, misuse("--xmpp-addr HOST:PORT", "--xmpp-addr: %w", err)
		}
	}
	return r, nil
}

// deviceAccount is the account that the flags name. If it is that of the profile,
// the profile knows where its server is, which needs no password of ours.
func (a *app) deviceAccount(d *deviceFlags) (cfg xmpp.Config, err error) {
	if cfg, err = d.xmpp.config(); err != nil {
		return cfg, err
	}
	s, err := a.profileOf(cfg.JID)
	if err != nil {
		return cfg, err
	}
	if cfg.Addr == "" {
		cfg.Addr, cfg.Direct = s.XMPPAddr()
	}
	if s.API() != "" && !a.named(d.password) {
		return cfg, nil // the server makes one
	}
	cfg.Password, err = a.password(d.password)
	return cfg, err
}

// profileOf is the profile, if it has this account; else an empty one.
func (a *app) profileOf(account jid.JID) (*settings.Server, error) {
	s, err := a.server()
	if err != nil && !errors.Is(err, settings.ErrNoProfile) {
		return nil, err
	}
	if err != nil || s.JID() != account.String() {
		s = new(settings.Server)
	}
	return s, nil
}

// parseServer reads where a server is: host:port, or the URI of a WebSocket.
func parseServer(addr string) (s rae.Server, err error) {
	if u, err := url.Parse(addr); err == nil && u.Scheme == "wss" {
		addr = net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "443"))
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return s, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || host == "" {
		return s, fmt.Errorf("%q: not a host and a port", addr)
	}
	return rae.Server{Address: host, Port: uint16(n)}, nil
}

// xmppTrust is whom a device believes on that account. The profile's authority
// vouches for the profile's account alone.
func (a *app) xmppTrust(x access, account jid.JID) (*tls.Config, error) {
	s, err := a.profileOf(account)
	if err != nil {
		return nil, err
	}
	return a.tls(x, s)
}

// attendance tells the user how it stands with the XMPP server.
func (a *app) attendance(name string, account jid.JID, s rae.State) {
	switch s.Status {
	case rae.Connected:
		a.say("%s: on XMPP, account %s", name, account)
		a.stands(standingDoc{Name: name, By: "xmpp", There: true, Account: account.String()})
	case rae.Error:
		a.say("%s: not on XMPP, account %s: %s", name, account, screen.Printable(s.Reason))
		a.stands(standingDoc{Name: name, By: "xmpp", Account: account.String(), Why: s.Reason})
	}
}

// directPort is where XMPP servers begin with TLS (XEP-0368).
const directPort = 5223

// provisioning leads the device to the XMPP server that was named at the start,
// or that its owner has named near it.
func (m member) provisioning(ctx context.Context, host *device.Host, memory *memory) (*rae.Provisioning, error) {
	chosen, err := m.remote.settings(ctx, host.ID(), memory)
	if err != nil {
		return nil, err
	}
	return rae.NewProvisioning(rae.ProvisioningConfig{
		Host: host, Chosen: chosen, Keep: memory.keepXMPP, Log: m.log,
		Serve: func(ctx context.Context, s rae.Settings, tell func(rae.State)) error {
			return m.attend(ctx, host, s, tell)
		},
	}), nil
}

// settings are those that the device di starts with. A password that was made for
// it is remembered.
func (r *remote) settings(ctx context.Context, di string, memory *memory) (rae.Settings, error) {
	last, err := memory.xmpp()
	if err != nil || r.chosen.Account.IsZero() {
		return last, err
	}
	s := r.chosen
	if s.Password != "" {
		return s, nil
	}
	if s.Password = last.Password; s.Password != "" && last.Account == s.Account {
		return s, nil
	}
	if s.Password, err = r.login(ctx, s.Account, di); err != nil {
		return s, err
	}
	return s, memory.keepXMPP(s)
}

// attend is an endpoint with these settings until ctx ends.
func (m member) attend(ctx context.Context, host *device.Host, s rae.Settings, tell func(rae.State)) error {
	trust, err := m.remote.trust(s.Account)
	if err != nil {
		return err
	}
	var wait backoff.Backoff
	if isHere(s.Server.Address) {
		wait = here
	}
	addr, direct := m.remote.way(s.Server)
	e, err := rae.New(rae.Config{
		Device: host.Remote(), Log: m.log,
		XMPP: xmpp.Config{JID: s.Account, Password: s.Password, TLS: trust, Addr: addr, Direct: direct, Dial: s.Dial, Backoff: wait},
		OnState: func(state rae.State) {
			if tell(state); m.remote.changed != nil {
				m.remote.changed(s.Account, state)
			}
		},
	})
	if err != nil {
		return err
	}
	return e.Run(ctx)
}

// way is how to get to a server: as was said of the one that was named at the
// start, and else by its port.
func (r *remote) way(s rae.Server) (addr string, direct bool) {
	if s == r.chosen.Server {
		return cmp.Or(r.addr, s.String()), r.direct
	}
	return s.String(), s.Port == directPort
}
