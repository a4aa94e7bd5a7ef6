package reach

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/coap/dtls"
	"github.com/farreach/farreach/lan"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
)

// datagrams is a line of datagrams: a socket that speaks with one peer.
type datagrams struct {
	*lan.Socket
	peer   *coap.Peer
	client *oiccoap.Client
}

// directDatagram is Direct for a coap or coaps URI.
func directDatagram(ctx context.Context, u coap.URI, cfg Config) (*Server, error) {
	to, err := lan.Lookup(ctx, u.Host, u.Port)
	if err != nil {
		return nil, &Error{Kind: NoConnect, Err: fmt.Errorf("find %s: %w", u.Host, err), Hint: "is this its name?"}
	}
	pc, err := lan.Listen(to.Addr())
	if err != nil {
		return nil, &Error{Kind: NoConnect, Err: err}
	}
	log := cmp.Or(cfg.Log, slog.Default())
	if u.Secure {
		pc = dtls.New(pc, security(u.Host, cfg, log))
	}
	e := lan.Run(pc, coap.EndpointConfig{Log: log})
	peer := e.Peer(to)
	return &Server{&datagrams{e, peer, oiccoap.NewClient(peer)}}, nil
}

// security is how the server called host proves who it is.
func security(host string, cfg Config, log *slog.Logger) dtls.Config {
	if cfg.Shared.Key == "" {
		return dtls.Config{TLS: clientTLS(cfg.TLS, host), Log: log}
	}
	key := func([]byte) ([]byte, error) { return []byte(cfg.Shared.Key.Reveal()), nil }
	return dtls.Config{PSK: key, PSKIdentity: cfg.Shared.Identity, Log: log}
}

func clientTLS(cfg *tls.Config, host string) *tls.Config {
	if cfg == nil {
		cfg = &tls.Config{}
	}
	cfg = cfg.Clone()
	cfg.ServerName = cmp.Or(cfg.ServerName, host)
	return cfg
}

func (d *datagrams) Peer() oic.Observer { return shaken{d.client} }

// shaken tells of a handshake that failed what can be done about it: the device
// is there.
type shaken struct{ device oic.Observer }

func (s shaken) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	resp, err := s.device.Handle(ctx, req)
	return resp, handshake(err)
}

func (s shaken) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	return handshake(s.device.Observe(ctx, req, each))
}

func handshake(err error) error {
	failed, ok := errors.AsType[*dtls.HandshakeError](err)
	switch {
	case !ok:
		return err
	case untrusted(failed):
		return &Error{Kind: NotAllowed, Err: failed, Hint: "the device's certificate is not one that is trusted here"}
	case errors.Is(failed, context.DeadlineExceeded):
		return &Error{Kind: Timeout, Err: failed, Hint: "is the shared key the same at both ends?"}
	}
	return &Error{Kind: NotAllowed, Err: failed, Hint: "does the device want a shared key, or another certificate?"}
}

func (d *datagrams) Ping(ctx context.Context) (time.Duration, error) { return d.peer.Ping(ctx) }
