package storetest

import (
	"syscall"
	"testing"
)

// Ports returns ports of loopback that nobody is given before the end of the
// test who does not ask for them by number: servers of a cluster must know each
// other's before they listen, and find their own again when they come back. A
// socket that is bound and does not listen keeps each.
func Ports(t testing.TB, n int) (ports []int) {
	t.Helper()
	for range n {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Close(fd) })
		if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			t.Fatal(err)
		}
		at, err := syscall.Getsockname(fd)
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, at.(*syscall.SockaddrInet4).Port)
	}
	return ports
}
