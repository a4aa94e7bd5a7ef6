package xmpp

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/farreach/farreach/internal/wire/websocket"
	"github.com/farreach/farreach/xmpp/stream/framing"
)

// XMPP over WebSocket (RFC 7395) differs from a stream over TCP in how it is
// opened, in that TLS lies below it, and in that its end is confirmed twice: by
// a <close/>, and by the WebSocket.

// isWebSocket reports whether an address is the URI of a WebSocket.
func isWebSocket(addr string) bool {
	return strings.HasPrefix(addr, "wss://") || strings.HasPrefix(addr, "ws://")
}

// checkWebSocket checks Addr, which is a URI.
func (cfg *Config) checkWebSocket() error {
	u, err := url.Parse(cfg.Addr)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return errors.New("xmpp: Addr is no URI of a WebSocket, wss://host[:port]/path")
	case cfg.Direct:
		return errors.New("xmpp: Direct is not for WebSockets")
	case cfg.Insecure != (u.Scheme == "ws"):
		return errors.New("xmpp: wss:// is for TLS, ws:// for Insecure")
	}
	return nil
}

// openWebSocket opens a WebSocket whose certificate, if there is TLS, is for the
// domain of JID, wherever it leads (RFC 7395, section 3.9; threats rule 20).
func (cfg *Config) openWebSocket(ctx context.Context, uri string) (*conn, error) {
	ws, err := websocket.Dial(ctx, uri, framing.Protocol(), cfg.tlsConfig(false), cfg.Dial)
	if err != nil {
		return nil, err
	}
	c := newConn(ws)
	c.ws = ws
	return c, nil
}

// followWebSocket returns where a <close/> sends us (RFC 7395, section 3.6.1),
// if that is allowed: never to where there is no TLS from where there is.
func (cfg *Config) followWebSocket(uri string, from target) (to target, ok bool) {
	u, err := url.Parse(uri)
	if err != nil || !isWebSocket(uri) || u.Scheme == "ws" && strings.HasPrefix(from.addr, "wss") {
		return target{}, false
	}
	return target{addr: uri}, cfg.allows(u.Hostname())
}
