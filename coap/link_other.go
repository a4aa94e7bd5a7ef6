//go:build !unix

package coap

import "net"

// newLink returns the best link for nc.
func newLink(nc net.Conn) link { return blocking{nc} }
