//go:build !unix

package wire

import "net"

// New returns the best link for nc.
func New(nc net.Conn) Link {
	if l, ok := nc.(Link); ok {
		return l
	}
	return blocking{nc}
}
