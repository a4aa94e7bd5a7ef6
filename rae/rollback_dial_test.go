package rae_test

import (
	"net"
	"strings"
	"testing"

	"github.com/farreach/farreach/rae"
)

// Threats rule 20, A-24: an address inside the network that somebody sets from
// afar is not dialled, in whatever form, unless the server before was inside.
func TestBad28SetFromAfar(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	for _, c := range []struct {
		before, host string
		refused      bool
	}{
		{"", "127.0.0.1", false}, // set near the device
		{"127.0.0.1", "127.0.0.1", false},
		{"10.1.2.3", "127.0.0.1", false},
		{"localhost", "127.0.0.1", false},
		{"192.0.2.7", "127.0.0.1", true},
		{"192.0.2.7", "localhost", true},
		{"192.0.2.7", "::ffff:127.0.0.1", true},
		{"192.0.2.7", "169.254.169.254", true},
		{"192.0.2.7", "10.1.2.3", true},
		{"192.0.2.7", "100.64.0.1", true},
		{"192.0.2.7", "0.0.0.0", true},
		{"2001:db8::7", "fe80::1", true},
		{"2001:db8::7", "fd00::1", true},
	} {
		s := rae.Settings{Before: rae.Server{Address: c.before, Port: 5222}}
		if c.before == "" {
			s.Before = rae.Server{}
		}
		nc, err := s.Dial(t.Context(), "tcp", net.JoinHostPort(c.host, port))
		if err == nil {
			nc.Close()
		}
		if refused := err != nil && strings.Contains(err.Error(), "set from afar"); refused != c.refused || !refused && err != nil {
			t.Errorf("%s after %s: %v", c.host, c.before, err)
		}
	}
}
