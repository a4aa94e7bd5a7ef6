package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cloud"
	"github.com/farreach/farreach/cloud/metrics"
	"github.com/farreach/farreach/cmd/farreach/internal/settings"
	"github.com/farreach/farreach/internal/secret"
	build "github.com/farreach/farreach/internal/version"
	"github.com/farreach/farreach/xmppd"
)

func (a *app) xmppdCmd() *cobra.Command {
	cfg := serverConfig{xmpp: true}
	cmd := &cobra.Command{
		Use:   "xmppd",
		Short: "Start the XMPP server alone",
		Long: `Starts the XMPP server, with its store and the HTTP API by which accounts are
managed, and nothing for devices of the cloud interface. With --nats it has the
accounts of the clouds that use the same NATS server. Flags, files and the first
start are those of up.`,
		Example: `  farreach xmppd --listen home.example.org
  farreach xmppd --nats nats://127.0.0.1:4222 --port-offset 100`,
		GroupID: groupStart,
		Args:    takes(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.serve(cmd.Context(), cfg) },
	}
	a.serverFlags(cmd, &cfg)
	a.xmppFlags(cmd, &cfg)
	cfg.nats.flags(cmd.Flags())
	return cmd
}

func (a *app) xmppFlags(cmd *cobra.Command, cfg *serverConfig) {
	flags := cmd.Flags()
	flags.StringVar(&cfg.domain, "domain", "", "XMPP `domain` of all accounts (default what --listen says, else localhost)")
	flags.BoolVar(&cfg.xmppBind, "xmpp-channel-binding", true, "offer XMPP clients to bind the log-in to TLS; clients that know only tls-unique, such as slixmpp 1.8, need =false")
	flags.StringVar(&cfg.turn, "turn", "", "`HOST:PORT` of a STUN and TURN server, such as coturn, that XMPP clients are told of")
	flags.StringVar(&cfg.turnSecret, "turn-secret-file", "", "`file` with the secret shared with --turn, from which clients get passwords for an hour")
	flags.DurationVar(&cfg.xmppPing, "xmpp-ping", xmppd.DefaultPing, "silence of an XMPP client before it is asked for a sign of life; 10 s later it is gone")
}

// xmppDomain is the domain of all accounts.
func (cfg *serverConfig) xmppDomain() string {
	if cfg.domain != "" {
		return cfg.domain
	}
	ip := net.ParseIP(cfg.listen)
	switch {
	case cfg.listen == "":
		return "localhost"
	case ip == nil:
		return cfg.listen
	case ip.IsUnspecified():
		if name, err := os.Hostname(); err == nil {
			return name
		}
		return "localhost"
	case ip.To4() == nil:
		return "[" + ip.String() + "]"
	}
	return ip.String()
}

// openXMPP makes the XMPP server, if there is to be one.
func (b *booted) openXMPP(ctx context.Context) (err error) {
	if !b.cfg.xmpp {
		return nil
	}
	b.xmpp, err = xmppd.New(ctx, xmppd.Config{
		Domain: b.cfg.xmppDomain(), Accounts: xmppAccounts{b.cloud}, Store: b.store, TLS: b.ca.ServerConfig(),
		Ping: b.cfg.xmppPing, NoBinding: !b.cfg.xmppBind, Relays: b.relays, Version: build.Get(version).Version, Presence: b.came, Log: b.log,
	})
	if err != nil {
		return fail(exitConfig, "another --domain", "%w", err)
	}
	return nil
}

// relays are what --turn stands for: STUN, and TURN over UDP and TCP.
func (cfg *serverConfig) relays() ([]xmppd.Relay, error) {
	if cfg.turn == "" && cfg.turnSecret == "" {
		return nil, nil
	}
	host, port, err := net.SplitHostPort(cfg.turn)
	number, err2 := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil || err2 != nil || host == "" || number == 0:
		return nil, fail(exitConfig, "--turn turn.example.org:3478", "turn %q: not HOST:PORT", cfg.turn)
	case cfg.turnSecret == "":
		return nil, fail(exitConfig, "--turn-secret-file FILE, with what is static-auth-secret in turnserver.conf", "turn: no secret")
	}
	text, err := settings.ReadSecret(cfg.turnSecret)
	if err != nil {
		return nil, fail(exitConfig, "another --turn-secret-file", "turn: %w", err)
	}
	at := xmppd.Relay{Type: "stun", Host: host, Port: int(number)}
	udp := at
	udp.Type, udp.Secret = "turn", secret.String(text)
	tcp := udp
	tcp.Transport = "tcp"
	return []xmppd.Relay{at, udp, tcp}, nil
}

// xmppStats is what the XMPP server has done.
func (b *booted) xmppStats() metrics.XMPPStats {
	c := &b.xmpp.Counters
	return metrics.XMPPStats{
		Sessions: c.Sessions.Load(), Connections: c.Connections.Load(), LogIns: c.LogIns.Load(), LogInsFailed: c.LogInsFailed.Load(),
		Resumed: c.Resumed.Load(), Routed: c.Routed.Load(), Refused: c.Refused.Load(), SlowReceivers: c.Overflows.Load(),
	}
}

// xmppAccounts are the accounts of the cloud, as the XMPP server asks for them.
type xmppAccounts struct{ c *cloud.Cloud }

func (x xmppAccounts) Begin(ctx context.Context, peer netip.Addr, name string) (xmppd.LogIn, error) {
	l, err := x.c.BeginLogIn(ctx, peer, name)
	if err != nil {
		return nil, fmt.Errorf("log-in: %w", err) // never a nil *LogIn in the interface
	}
	return xmppLogIn{l}, nil
}

// xmppLogIn is a log-in of the cloud, as the XMPP server knows it.
type xmppLogIn struct{ *cloud.LogIn }

func (l xmppLogIn) Proved(which int) xmppd.Pass { return l.LogIn.Proved(which) }

func (x xmppAccounts) Since(name string) (time.Time, bool) { return x.c.AccountSince(name) }
