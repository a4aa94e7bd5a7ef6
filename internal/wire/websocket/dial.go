package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/coder/websocket"
)

// handshakeTime is how long TLS, and then the server's answer, may take.
const handshakeTime = 15 * time.Second

// DialFunc opens a connection, as net.Dialer.DialContext does.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Dial opens a WebSocket at a URI, ws://host:port/path or wss://…. cfg is for
// TLS; nil means the system's roots. dial opens the TCP connection below; nil: a
// net.Dialer does. A redirect is not followed, and a proxy not asked.
func Dial(ctx context.Context, uri string, p Protocol, cfg *tls.Config, dial DialFunc) (*Conn, error) {
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	var nc net.Conn
	below := func(ctx context.Context, network, addr string) (_ net.Conn, err error) {
		nc, err = dial(ctx, network, addr)
		return nc, err
	}
	client := &http.Client{
		Transport: &http.Transport{DialContext: below, TLSClientConfig: cfg, TLSHandshakeTimeout: handshakeTime,
			ResponseHeaderTimeout: handshakeTime, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	ws, resp, err := websocket.Dial(ctx, uri, &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{p.Name}})
	switch {
	case err != nil && resp != nil && resp.StatusCode != http.StatusSwitchingProtocols:
		return nil, fmt.Errorf("WebSocket: the server answers %s", resp.Status)
	case err != nil:
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // it repeats the address, which the caller knows
		}
		return nil, fmt.Errorf("WebSocket: %w", err)
	case ws.Subprotocol() != p.Name:
		ws.CloseNow()
		return nil, fmt.Errorf("WebSocket: the server does not speak %q (%s)", p.Name, p.Spec)
	}
	return newConn(ws, &p, nc.LocalAddr(), nc.RemoteAddr(), resp.TLS), nil
}
