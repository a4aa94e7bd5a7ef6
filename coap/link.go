package coap

import (
	"crypto/tls"
	"time"

	"github.com/farreach/farreach/internal/wire"
	"github.com/farreach/farreach/internal/wire/websocket"
)

// ALPN is the name of CoAP in TLS's protocol negotiation (RFC 8323, section
// 8.2). A client offers it. A server chooses it, goes on with a client that
// offers nothing, and refuses one that offers only other names.
const ALPN = "coap"

// handshakeTimeout is how long the TLS handshake may take.
const handshakeTimeout = 15 * time.Second

// secure puts TLS over the link of c.
func (c *Conn) secure(cfg *tls.Config) {
	if len(cfg.NextProtos) == 0 {
		cfg = cfg.Clone()
		cfg.NextProtos = []string{ALPN}
	}
	if c.client {
		c.sec = wire.Client(c.nc, c.link, cfg)
	} else {
		c.sec = wire.Server(c.nc, c.link, cfg)
	}
	c.link = c.sec
}

// bottom is the link to the socket itself.
func (c *Conn) bottom() wire.Link {
	if c.sec != nil {
		return c.sec.Inner()
	}
	return c.link
}

// limitLink tells a WebSocket how long options and payload of a message may be.
func (c *Conn) limitLink(n int) {
	if w, ok := c.link.(*websocket.Conn); ok {
		w.SetLimit(webSocketLimit(n))
	}
}
