package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// patience is how long anything may take that is waited for, on a machine that does
// much else.
const patience = time.Minute

// busy is what such a machine may add to a time that is promised. What it took is
// logged.
const busy = 20 * time.Second

// foreign returns the path of the first of names that is installed.
func foreign(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("none of %s is installed", strings.Join(names, ", "))
	}
	t.Skipf("none of %s is installed", strings.Join(names, ", "))
	return ""
}

// run runs a foreign program to its end, and returns what it wrote on standard
// output, without a newline at its end. What it wrote on standard error is
// logged.
func run(t *testing.T, stdin string, path string, args ...string) string {
	t.Helper()
	out, complaint := runBoth(t, stdin, path, args...)
	if complaint != "" {
		t.Logf("%s: %.2000s", filepath.Base(path), complaint)
	}
	return out
}

// runBoth is run that returns standard error too.
func runBoth(t *testing.T, stdin string, path string, args ...string) (out, complaint string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Errorf("%s: %v", filepath.Base(path), err)
	}
	return strings.TrimSuffix(stdout.String(), "\n"), stderr.String()
}

// start runs a server until the test ends, and returns the part in
// parentheses of what it writes first that matches ready.
func start(t *testing.T, ready *regexp.Regexp, path string, args ...string) string {
	t.Helper()
	cmd := exec.Command(path, args...) // t.Context would kill it before the clean-up asks it to end
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	found, ended := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if m := ready.FindStringSubmatch(lines.Text()); m != nil {
				select {
				case found <- m[1]:
				default:
				}
			}
		}
		_, _ = io.Copy(io.Discard, out) // behind a line too long to scan
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		overdue := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		overdue.Stop()
		in.Close()
		<-ended
	})
	select {
	case s := <-found:
		return s
	case <-time.After(patience):
		t.Fatalf("%s: never ready", strings.Join(cmd.Args, " "))
	}
	return ""
}

// await returns the content of a file as soon as it is there.
func await(t *testing.T, name string) []byte {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	overdue := time.After(patience)
	for {
		text, err := os.ReadFile(name)
		if err == nil {
			return text
		}
		select {
		case <-tick.C:
		case <-overdue:
			t.Fatal(err)
		}
	}
}

// identity is a certificate for localhost that vouches for itself.
type identity struct {
	certFile, keyFile string
	server            *tls.Config // presents it
	client            *tls.Config // trusts it
}

func newIdentity(t *testing.T) identity { return newIdentityOf(t, "") }

// newIdentityOf is one with a common name.
func newIdentityOf(t *testing.T, name string) identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	dir := t.TempDir()
	id := identity{
		certFile: filepath.Join(dir, "cert.pem"), keyFile: filepath.Join(dir, "key.pem"),
		server: &tls.Config{Certificates: []tls.Certificate{pair}},
		client: &tls.Config{RootCAs: roots, ServerName: "localhost"},
	}
	for name, text := range map[string][]byte{id.certFile: certPEM, id.keyFile: keyPEM} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return id
}
