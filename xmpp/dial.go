package xmpp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// connect logs in at the first place that works, and binds a resource there or
// resumes prev, if that can be resumed: then prev is returned.
func connect(ctx context.Context, cfg *Config, prev *Session) (*Session, *conn, [][]byte, error) {
	places := []target{{cfg.Addr, cfg.Direct}}
	if cfg.Addr == "" {
		var err error
		if places, err = targets(ctx, cfg.Resolver, host(cfg.JID.Domain())); err != nil {
			return nil, nil, nil, err
		}
	}
	var failures []error
	redirected := false
	for len(places) > 0 {
		at := places[0]
		places = places[1:]
		s, c, early, err := connectAt(ctx, cfg, at, prev)
		if err == nil {
			return s, c, early, nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", at.addr, err))
		if to, ok := cfg.follow(err, at); ok && !redirected {
			places, redirected = append([]target{to}, places...), true
			continue
		}
		if ctx.Err() != nil || refused(err) {
			break // the same server would say the same elsewhere
		}
	}
	return nil, nil, nil, errors.Join(failures...)
}

// follow returns where a server sends us, if that is allowed (threats rule 20).
func (cfg *Config) follow(err error, from target) (to target, ok bool) {
	r, ok := errors.AsType[redirect](err)
	if !ok {
		return target{}, false
	}
	if isWebSocket(from.addr) {
		return cfg.followWebSocket(r.host, from)
	}
	host, port, err := net.SplitHostPort(r.host)
	if err != nil {
		host, port = strings.Trim(r.host, "[]"), strconv.Itoa(defaultPort)
	}
	return target{net.JoinHostPort(host, port), from.direct}, cfg.allows(host)
}

// allows reports whether a server may send us to a host.
func (cfg *Config) allows(host string) bool {
	return slices.ContainsFunc(cfg.AllowRedirect, func(allowed string) bool { return strings.EqualFold(allowed, host) })
}

// connectAt is connect at one place.
func connectAt(ctx context.Context, cfg *Config, at target, prev *Session) (*Session, *conn, [][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, negotiateTime)
	defer cancel()
	c, err := cfg.open(ctx, at)
	if err != nil {
		return nil, nil, nil, err
	}
	s, early, err := begin(ctx, cfg, c, at, prev)
	if err != nil {
		c.end()
		return nil, nil, nil, err
	}
	return s, c, early, nil
}

// open opens what a stream goes over.
func (cfg *Config) open(ctx context.Context, at target) (*conn, error) {
	if isWebSocket(at.addr) {
		return cfg.openWebSocket(ctx, at.addr)
	}
	nc, err := cfg.Dial(ctx, "tcp", at.addr)
	if err != nil {
		return nil, err
	}
	return newConn(nc), nil
}

// begin negotiates a session on a connection.
func begin(ctx context.Context, cfg *Config, c *conn, at target, prev *Session) (*Session, [][]byte, error) {
	n, err := negotiate(ctx, cfg, c, at)
	if err != nil {
		return nil, nil, err
	}
	defer context.AfterFunc(ctx, func() { c.fail(ctx.Err()) })()
	if prev != nil {
		if id, received := prev.resumable(); id != "" {
			h, err := n.resume(id, received)
			if err == nil {
				return prev, n.early, prev.resumed(n, h)
			}
			if !errors.Is(err, errNotResumed) {
				return nil, nil, err
			}
		}
	}
	j, err := n.bind()
	if err != nil {
		return nil, nil, err
	}
	m, err := n.enable()
	if err != nil {
		return nil, nil, err
	}
	return newSession(cfg, j, n, m), n.early, nil
}

// refused reports whether a server has refused the account.
func refused(err error) bool {
	_, ok := errors.AsType[*AuthError](err)
	return ok
}
