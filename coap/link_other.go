//go:build !unix

package coap

import "net"

// newLink returns the best link for nc.
func newLink(nc net.Conn) link {
	if l, ok := nc.(link); ok {
		return l
	}
	return blocking{nc}
}
