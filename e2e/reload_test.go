package e2e_test

import (
	"crypto/tls"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/farreach/farreach/internal/localca"
)

// certificate writes a new certificate for hub.example.org to a file, which has
// its key, too.
func certificate(t *testing.T, file string) {
	t.Helper()
	dir := t.TempDir()
	if _, err := localca.Open(localca.Config{Dir: dir, Hosts: []string{"hub.example.org"}}); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "server.pem"), file); err != nil {
		t.Fatal(err)
	}
}

// serial is the number of the certificate that addr shows to who asks for name;
// "": for none.
func serial(t *testing.T, addr, name string) *big.Int {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber
}

// A hangup makes the server show a renewed certificate, to who asks by its name;
// what is open stays open, and a certificate that is broken changes nothing.
func TestReload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert := filepath.Join(dir, "hub.pem")
	certificate(t, cert)
	config := filepath.Join(dir, "farreach.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(config, []byte("tls_cert: "+cert+"\ntls_key: "+cert+"\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("listen: 127.0.0.1\n")
	c := newChild(t, "--config", config)
	said := &lockedBuffer{}
	c.stderr = said
	c.start()
	lampProcess(t, t.TempDir(), nil, c)
	before := c.await("reachable")
	hangup := func(want string) {
		t.Helper()
		n := strings.Count(said.String(), want)
		if err := c.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for start := time.Now(); strings.Count(said.String(), want) == n; <-tick.C {
			if time.Since(start) > patience {
				t.Fatalf("the server never said %q, but %s", want, said)
			}
		}
	}

	_, port, _ := net.SplitHostPort(c.CoAPS)
	addr := net.JoinHostPort("127.0.0.1", port)
	private, first := serial(t, addr, ""), serial(t, addr, "hub.example.org")
	if first.Cmp(private) == 0 {
		t.Fatal("the certificate of the operator is not shown")
	}
	certificate(t, cert)
	hangup("certificate of hub.example.org, ")
	second := serial(t, addr, "hub.example.org")
	if second.Cmp(first) == 0 {
		t.Error("the old certificate is shown still")
	}
	if serial(t, c.HTTP, "hub.example.org").Cmp(second) != 0 {
		t.Error("HTTP shows another certificate")
	}
	if serial(t, addr, "").Cmp(private) != 0 {
		t.Error("who asks for no name is shown another certificate than before")
	}

	if err := os.Truncate(cert, 50); err != nil {
		t.Fatal(err)
	}
	hangup("; the old certificate stays")
	if serial(t, addr, "hub.example.org").Cmp(second) != 0 {
		t.Error("a broken file has changed the certificate")
	}
	certificate(t, cert)
	write("listen: 127.0.0.1\nretention_age: 1d\n")
	hangup("retention_age: takes effect at the next start")
	write("lissten: 127.0.0.1\n")
	hangup(`unknown key "lissten"; did you mean listen?; the old settings stay`)

	if after := c.await("reachable"); !after.Since.Equal(before.Since) {
		t.Error("the lamp's connection was lost")
	}
	c.commanded()
}
