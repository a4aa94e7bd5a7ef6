package coap

import (
	"context"
	"net"
)

// Caller is a peer that can be asked: a *Conn, or a *Peer of an Endpoint.
type Caller interface {
	Do(ctx context.Context, req *Message) (*Message, error)
	Observe(req *Message, each func(resp *Message, err error)) (*Observation, error)
	Send(ctx context.Context, m *Message) error
	LocalAddr() net.Addr
	RemoteAddr() net.Addr
}
