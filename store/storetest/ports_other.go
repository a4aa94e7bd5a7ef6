//go:build !linux

package storetest

import (
	"net"
	"testing"
)

// Ports returns ports of loopback that nobody listens at now: here nothing
// keeps others from them.
func Ports(t testing.TB, n int) (ports []int) {
	t.Helper()
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		ports = append(ports, ln.Addr().(*net.TCPAddr).Port)
	}
	return ports
}
