package e2e_test

import (
	"cmp"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/farreach/farreach/internal/localca"
	"github.com/farreach/farreach/internal/xmppservers"
)

// turnstile is a way to a server that counts who takes it.
type turnstile struct {
	addr  string
	tries atomic.Int32
}

func countTo(t *testing.T, server string) *turnstile {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &turnstile{addr: ln.Addr().String()}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			c.tries.Add(1)
			running.Go(func() {
				defer near.Close()
				far, err := net.Dial("tcp", server)
				if err != nil {
					return
				}
				defer far.Close()
				go func() { _, _ = io.Copy(far, near); far.Close() }()
				_, _ = io.Copy(near, far)
			})
		}
	})
	t.Cleanup(func() { ln.Close() })
	return c
}

// TestLogInRefused: what keeps a device and a command from an XMPP account is
// said in the words of A-04, with an exit status, and not tried again and again
// (RA-031, RA-061, RA-062).
func TestLogInRefused(t *testing.T) {
	other, err := localca.Open(localca.Config{Dir: t.TempDir(), Hosts: []string{"other.example"}})
	if err != nil {
		t.Fatal(err)
	}
	with := func(more string) string { return strings.Replace(refusing, "$more", more, 1) }
	for name, tt := range map[string]struct {
		text, password, ca string
		reason             string
	}{
		"wrong password":                {password: "mars and venus", reason: "auth-failed: "},
		"certificate of a stranger":     {ca: other.CAFile(), reason: "tls-failed: "},
		"certificate of another domain": {text: strings.ReplaceAll(with(""), "$dir/tls", filepath.Dir(other.CAFile())), ca: other.CAFile(), reason: "tls-failed: "},
		"nothing but PLAIN":             {text: with(`disable_sasl_mechanisms = { "SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS" }`), reason: "auth-failed: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := xmppservers.Run(t, xmppservers.Prosody, xmppservers.Config{Text: tt.text})
			way := countTo(t, s.Addr)
			p := refusedPath(t, s, way, cmp.Or(tt.password, "venus and mars"), cmp.Or(tt.ca, s.CAFile))
			p.refused(5, tt.reason, "get", "lamp/a/light")
			if n := way.tries.Load(); n != 1 {
				t.Errorf("the command tried %d times", n)
			}
			said := p.lamp(p.home)
			eventually(t, func() bool {
				return strings.Contains(said.String(), "not on XMPP, account ann@"+s.Domain+": "+tt.reason)
			})
			p.noStorm(way, 3)
		})
	}
}

// TestServerRenames: a server that gives the second of two with one name
// another one gets rid of it, and is told why (RA-063, A-09).
func TestServerRenames(t *testing.T) {
	t.Parallel()
	s := xmppservers.Run(t, xmppservers.Prosody, xmppservers.Config{Text: strings.Replace(refusing, "$more", `conflict_resolve = "random"`, 1)})
	way := countTo(t, s.Addr)
	p := refusedPath(t, s, way, "venus and mars", s.CAFile)
	first := p.lamp(p.home)
	eventually(t, func() bool { return strings.Contains(first.String(), "on XMPP, account ann@") })
	clone := t.TempDir()
	if out, err := exec.Command("cp", "-a", p.home+"/.", clone).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
	second := p.lamp(clone)
	eventually(t, func() bool {
		return strings.Contains(second.String(), "not on XMPP, account ann@"+s.Domain+": jid-changed: ")
	})
	p.noStorm(way, 3)
	if strings.Contains(first.String(), "not on XMPP") {
		t.Errorf("the first was thrown out: %s", first)
	}
}

// refusedPath is the account of a Prosody, by way of a turnstile.
func refusedPath(t *testing.T, s *xmppservers.Server, way *turnstile, password, ca string) *path {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return &path{t: t, home: dir, env: []string{"FARREACH_XMPP=ann@" + s.Domain, "FARREACH_XMPP_ADDR=" + way.addr,
		"FARREACH_PASSWORD_FILE=" + file, "FARREACH_CA_FILE=" + ca}}
}

// lamp runs a lamp until the test ends, and returns what it says.
func (p *path) lamp(home string) *lockedBuffer {
	p.t.Helper()
	cmd := exec.Command("farreach", "device", "--type", "lamp", "--name", "lamp")
	cmd.Env = append(append(os.Environ(), "HOME="+home), p.env...)
	said := new(lockedBuffer)
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return said
}

// noStorm looks for two seconds whether there are more tries than that.
func (p *path) noStorm(way *turnstile, most int32) {
	p.t.Helper()
	<-time.After(2 * time.Second)
	if n := way.tries.Load(); n > most {
		p.t.Errorf("%d connections, want %d at most", n, most)
	}
}

// refusing is Prosody as internal/xmppservers has it, but for $more.
const refusing = `
run_as_root = true
daemonize = false
pidfile = "$dir/prosody.pid"
data_path = "$dir/data"
plugin_paths = {}
interfaces = { "127.0.0.1" }
c2s_ports = { $port }
c2s_direct_tls_ports = { $tlsport }
c2s_require_encryption = true
authentication = "internal_hashed"
storage = "internal"
modules_enabled = { "disco", "roster", "saslauth", "tls", "ping", "posix" }
modules_disabled = { "s2s", "offline" }
limits = {}
log = { { levels = { min = "info" }, to = "console" } }
ssl = { key = "$dir/tls/server.pem", certificate = "$dir/tls/server.pem" }
$more
VirtualHost "$domain"
`
