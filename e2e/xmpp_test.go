package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A stock client of another make logs in with STARTTLS and SCRAM, sees its
// sibling come and go, pings, and exchanges bytes in-band. It knows channel
// binding by tls-unique only, which TLS 1.3 has not.
func TestSlixmpp(t *testing.T) {
	const python = "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import slixmpp").Run(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("python3-slixmpp is not installed")
		}
		t.Skip("python3-slixmpp is not installed")
	}
	for _, command := range []string{"up", "xmppd"} {
		c := newChild(t, "--xmpp-channel-binding=false")
		c.command = command
		c.start()
		out, err := exec.CommandContext(t.Context(), python, "testdata/xmpp/home.py", filepath.Join(c.home, "addr.json")).Output()
		if err != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
		want := "presence True\nping True\nbytes True\nbytes True\ngone True\ndone"
		if got := strings.TrimSpace(string(out)); got != want {
			t.Errorf("%s: it saw:\n%s", command, got)
		}
	}
}
