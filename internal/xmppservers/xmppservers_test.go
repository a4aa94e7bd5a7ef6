package xmppservers_test

import (
	"crypto/tls"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/farreach/farreach/internal/xmppservers"
)

// TestServersServe: both answer on both ports, with a certificate for their
// domain, and are gone with the test.
func TestServersServe(t *testing.T) {
	for _, k := range xmppservers.Kinds {
		t.Run(string(k), func(t *testing.T) {
			var pid int
			t.Run("serves", func(t *testing.T) {
				s := xmppservers.Run(t, k, xmppservers.Config{Accounts: map[string]string{"ann.b-c_d": `a "b" \c ä`}})
				pid = s.PID
				nc, err := tls.Dial("tcp", s.TLS, &tls.Config{ServerName: s.Domain, RootCAs: s.Roots})
				if err != nil {
					t.Fatal(err)
				}
				nc.Close()
				s.Kill()
				if err := s.Restart(t.Context()); err != nil {
					t.Fatal(err)
				}
				pid = s.PID
			})
			if pid == 0 {
				t.Skip("not installed")
			}
			if out, _ := exec.Command("ps", "-o", "args=", "-p", strconv.Itoa(pid)).Output(); strings.TrimSpace(string(out)) != "" {
				t.Errorf("left behind: %s", out)
			}
		})
	}
}
