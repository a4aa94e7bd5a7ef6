package localca

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func open(t *testing.T, dir string, hosts ...string) *Authority {
	t.Helper()
	a, err := Open(Config{Dir: dir, Hosts: hosts, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestFilesAndModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	a := open(t, dir)
	if !a.Fresh() {
		t.Error("the first Open made no authority")
	}
	for name, want := range map[string]os.FileMode{
		"": 0o700, "ca-key.pem": 0o600, "server.pem": 0o600, "ca.pem": 0o644,
	} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%q has mode %04o, want %04o", name, got, want)
		}
	}
	if files, _ := os.ReadDir(dir); len(files) != 3 {
		t.Errorf("%d files, want 3: %v", len(files), files)
	}
}

func TestReopenKeepsBoth(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir)
	b := open(t, dir)
	if b.Fresh() || b.Fingerprint() != a.Fingerprint() {
		t.Error("the second Open made another authority")
	}
	if !b.server.Leaf.Equal(a.server.Leaf) {
		t.Error("the second Open made another server certificate")
	}
	if len(a.Fingerprint()) != 32*3-1 {
		t.Errorf("fingerprint %q", a.Fingerprint())
	}
}

func TestNewHostNewCertificate(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir)
	b := open(t, dir, "192.0.2.7", "hub.example.org")
	if b.Fingerprint() != a.Fingerprint() {
		t.Error("a new host made another authority")
	}
	for _, host := range []string{"localhost", "127.0.0.1", "::1", hostname(), "192.0.2.7", "hub.example.org"} {
		if err := b.server.Leaf.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
	if err := a.server.Leaf.VerifyHostname("hub.example.org"); err == nil {
		t.Error("the first certificate was good for a host that nobody had named")
	}
}

func TestRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		a := open(t, dir)
		get := a.ServerConfig().GetCertificate
		first, err := get(nil)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(serverLife - renewLeft - time.Minute)
		if same, _ := get(nil); same != first {
			t.Error("renewed before it was time")
		}
		time.Sleep(2 * time.Minute)
		second, err := get(nil)
		if err != nil || second == first {
			t.Fatalf("not renewed in a running process: %v", err)
		}
		if got := open(t, dir); !got.server.Leaf.Equal(second.Leaf) {
			t.Error("the renewed certificate was not kept")
		}
		time.Sleep(serverLife)
		if got := open(t, dir); got.server.Leaf.Equal(second.Leaf) || got.Fresh() {
			t.Error("an expired certificate was kept, or the authority was not")
		}
		time.Sleep(caLife)
		if _, err := Open(Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("expired authority: err = %v", err)
		}
	})
}

// TestBad46 refuses what a careless copy or a crash can leave behind.
func TestBad46Files(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(dir string) error
		want   string
	}{
		{"key for all", func(dir string) error { return os.Chmod(filepath.Join(dir, "ca-key.pem"), 0o644) }, "other users can read"},
		{"server key for the group", func(dir string) error { return os.Chmod(filepath.Join(dir, "server.pem"), 0o640) }, "other users can read"},
		{"no key", func(dir string) error { return os.Remove(filepath.Join(dir, "ca-key.pem")) }, "ca-key.pem is missing"},
		{"no certificate", func(dir string) error { return os.Remove(filepath.Join(dir, "ca.pem")) }, "ca.pem is missing"},
		{"no PEM", func(dir string) error { return os.WriteFile(filepath.Join(dir, "ca.pem"), []byte("x"), 0o644) }, "ca.pem"},
		{"not an authority", func(dir string) error {
			b, err := os.ReadFile(filepath.Join(dir, "server.pem"))
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, "ca.pem"), b, 0o644); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, "ca-key.pem"), b, 0o600)
		}, "not an authority"},
		{"torn server file", func(dir string) error { return os.Truncate(filepath.Join(dir, "server.pem"), 100) }, "server.pem"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			open(t, dir)
			if err := tt.damage(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v, want one with %q", err, tt.want)
			}
		})
	}
}

// A certificate of another authority, left by a half restored backup, is
// replaced.
func TestForeignServerCertificate(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	open(t, dir)
	open(t, other)
	b, err := os.ReadFile(filepath.Join(other, "server.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "server.pem"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	a := open(t, dir)
	if err := a.server.Leaf.CheckSignatureFrom(a.cert); err != nil {
		t.Error(err)
	}
}

func TestHandshake(t *testing.T) {
	a := open(t, t.TempDir())
	pool, err := Pool(a.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		client *tls.Config
		ok     bool
	}{
		{"1.3", &tls.Config{RootCAs: pool, ServerName: "localhost"}, true},
		{"1.2 by address", &tls.Config{RootCAs: pool, ServerName: "127.0.0.1", MaxVersion: tls.VersionTLS12}, true},
		{"1.1", &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
		{"CBC", &tls.Config{RootCAs: pool, ServerName: "localhost", MaxVersion: tls.VersionTLS12,
			CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}, false},
		{"another name", &tls.Config{RootCAs: pool, ServerName: "example.org"}, false},
		{"another authority", &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			near, far := net.Pipe()
			done := make(chan struct{})
			go func() {
				defer close(done)
				conn := tls.Server(far, a.ServerConfig())
				if conn.Handshake() == nil {
					_, _ = conn.Write([]byte("ok"))
				}
				far.Close()
			}()
			conn := tls.Client(near, tt.client)
			got, err := io.ReadAll(conn)
			if ok := string(got) == "ok"; ok != tt.ok {
				t.Errorf("got %q, %v; want success: %v", got, err, tt.ok)
			}
			near.Close()
			<-done
		})
	}
}

func TestPoolRefusesOtherFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.pem")
	if _, err := Pool(file); err == nil {
		t.Error("a missing file made a pool")
	}
	if err := os.WriteFile(file, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Pool(file); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("err = %v", err)
	}
}
