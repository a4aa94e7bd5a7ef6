package xmppd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/internal/ports"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/xmpp/stream"
)

// A relay as it is told (XEP-0215, section 3.2), with a password that openssl has
// computed as well.
func TestRelayPassword(t *testing.T) {
	r := Relay{Type: "turn", Host: "turn.example", Secret: "north"}
	e := r.element("ann", time.Unix(1_800_000_000, 123))
	const want = "<service xmlns='urn:xmpp:extdisco:2' type='turn' host='turn.example' port='3478' transport='udp' restricted='1' " +
		"username='1800003600:ann' password='Cr6BV9Y6S/ZFXiZ47vdlFLWYOog=' expires='2027-01-15T09:00:00Z'/>"
	if got := string(e.Append(nil, stream.NSClient)); got != want {
		t.Errorf("told\n%s\nwant\n%s", got, want)
	}
}

const turnSecret = secret.String("a secret that two share")

// turnServer runs coturn, which knows the secret, and returns its port.
func turnServer(t *testing.T) int {
	t.Helper()
	program, err := exec.LookPath("turnserver")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("coturn is not installed")
		}
		t.Skip("coturn is not installed: apt-get install coturn")
	}
	held, err := ports.Hold(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(held.Release)
	port := held.First
	dir := t.TempDir()
	config := filepath.Join(dir, "turnserver.conf")
	text := fmt.Sprintf("listening-ip=127.0.0.1\nrelay-ip=127.0.0.1\nmin-port=49152\nmax-port=60999\nlistening-port=%d\nrealm=home.example\nuse-auth-secret\nstatic-auth-secret=%s\n"+
		"no-tls\nno-dtls\nno-cli\nallow-loopback-peers\npidfile=%s/pid\nuserdb=%s/db\nlog-file=stdout\n", port, turnSecret.Reveal(), dir, dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-c", config)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for deadline := time.Now().Add(time.Minute); ; {
		nc, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			nc.Close()
			return port
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// allocate has coturn's client send something through a relay, and reports
// whether that may be.
func allocate(t *testing.T, r *Relay, user, password string) bool {
	args := []string{"-u", user, "-w", password, "-p", strconv.Itoa(r.Port), "-y", "-c", "-n", "1"}
	if r.Transport == "tcp" {
		args = append(args, "-t")
	}
	out, err := exec.CommandContext(t.Context(), "turnutils_uclient", append(args, r.Host)...).CombinedOutput()
	if _, refused := errors.AsType[*exec.ExitError](err); err != nil && !refused {
		t.Errorf("%v: %s", err, out)
	}
	return err == nil
}

// TestCoturn: a TURN server that shares the secret lets in whom we gave a
// password, until it ends, and nobody else.
func TestCoturn(t *testing.T) {
	port := turnServer(t)
	var tasks sync.WaitGroup
	defer tasks.Wait()
	for _, transport := range []string{"udp", "tcp"} {
		r := &Relay{Type: "turn", Host: "127.0.0.1", Port: port, Transport: transport, Secret: turnSecret}
		good, late := r.element("ann", time.Now()), r.element("ann", time.Now().Add(-61*time.Minute))
		stranger := Relay{Secret: "another secret"}
		bad := stranger.element("ann", time.Now())
		for _, tt := range []struct {
			name, user, password string
			ok                   bool
		}{
			{"good", good.Attr("username"), good.Attr("password"), true},
			{"late", late.Attr("username"), late.Attr("password"), false},
			{"another's", good.Attr("username") + "a", good.Attr("password"), false},
			{"another secret", bad.Attr("username"), bad.Attr("password"), false},
		} {
			tasks.Go(func() {
				ok := allocate(t, r, tt.user, tt.password)
				for tries := 1; !ok && tt.ok && tries < 5; tries++ { // a relay that was taken, or a datagram that came late
					ok = allocate(t, r, tt.user, tt.password)
				}
				if ok != tt.ok {
					t.Errorf("%s, %s password: let in: %v", transport, tt.name, ok)
				}
			})
		}
	}
}
