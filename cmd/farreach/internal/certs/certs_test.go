package certs

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"

	"github.com/farreach/farreach/internal/localca"
)

// issue makes a certificate for host, in the files of a server of its own.
func issue(t *testing.T, host string) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	if _, err := localca.Open(localca.Config{Dir: dir, Hosts: []string{host}}); err != nil {
		t.Fatal(err)
	}
	both := filepath.Join(dir, "server.pem") // has key and certificate
	return both, both
}

func choose(t *testing.T, c *Chooser, name string) *tls.Certificate {
	t.Helper()
	got, err := c.ServerConfig().GetCertificate(&tls.ClientHelloInfo{ServerName: name})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func private(t *testing.T) *tls.Config {
	t.Helper()
	ca, err := localca.Open(localca.Config{Dir: t.TempDir(), Hosts: []string{"192.0.2.7"}})
	if err != nil {
		t.Fatal(err)
	}
	return ca.ServerConfig()
}

func TestChoice(t *testing.T) {
	cert, key := issue(t, "hub.example.org")
	c, err := Open(Config{Cert: cert, Key: key, Private: private(t)})
	if err != nil {
		t.Fatal(err)
	}
	own := choose(t, c, "hub.example.org")
	for _, name := range []string{"", "192.0.2.7", "other.example.org"} {
		if choose(t, c, name).Leaf.Equal(own.Leaf) {
			t.Errorf("%q was given the certificate of hub.example.org", name)
		}
	}
	if !c.Covers("hub.example.org") || c.Covers("192.0.2.7") || !c.Ends().Equal(own.Leaf.NotAfter) {
		t.Errorf("covers %v, ends %v", c.Names(), c.Ends())
	}
}

// A reload takes the new certificate, and one that fails leaves the old.
func TestReload(t *testing.T) {
	cert, key := issue(t, "hub.example.org")
	c, err := Open(Config{Cert: cert, Key: key, Private: private(t)})
	if err != nil {
		t.Fatal(err)
	}
	first := choose(t, c, "hub.example.org")
	next, _ := issue(t, "hub.example.org")
	if err := os.Rename(next, cert); err != nil {
		t.Fatal(err)
	}
	if err := c.Reload(); err != nil {
		t.Fatal(err)
	}
	second := choose(t, c, "hub.example.org")
	if second.Leaf.Equal(first.Leaf) {
		t.Error("still the old certificate")
	}
	if err := os.Truncate(cert, 100); err != nil {
		t.Fatal(err)
	}
	if err := c.Reload(); err == nil {
		t.Error("a torn file was taken")
	}
	if !choose(t, c, "hub.example.org").Leaf.Equal(second.Leaf) {
		t.Error("the failed reload has changed the certificate")
	}
}

func TestNoCertificate(t *testing.T) {
	c, err := Open(Config{Private: private(t)})
	if err != nil {
		t.Fatal(err)
	}
	if choose(t, c, "hub.example.org") == nil || c.Names() != nil || !c.Ends().IsZero() || c.Covers("localhost") {
		t.Error("the private one alone is not enough")
	}
	cert, key := issue(t, "hub.example.org")
	for _, cfg := range []Config{{Cert: cert}, {Key: key}, {Cert: cert, Key: cert + "x"}} {
		cfg.Private = private(t)
		if _, err := Open(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}
