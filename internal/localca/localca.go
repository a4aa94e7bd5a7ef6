// Package localca keeps a private certificate authority for one machine, so
// that devices and clients can check whom they talk to before anybody has
// bought a name or a certificate.
//
//	first start ── Open ──▶ tls/ca-key.pem   0600  signs, never leaves
//	                        tls/ca.pem       0644  devices and clients trust it
//	                        tls/server.pem   0600  key and chain of our listeners
//	later starts ─ Open ──▶ the same authority; a new server certificate when the
//	                        names have changed or a third of its life is left
//
// Whoever has ca-key.pem can pose as this server, so a key that others may
// read is refused and not repaired in silence.
package localca

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// The lives of the two certificates. Devices keep the authority for as long as
// they are joined; nobody keeps the server's.
const (
	caLife     = 20 * 365 * 24 * time.Hour
	serverLife = 90 * 24 * time.Hour
	renewLeft  = serverLife / 3 // a new one when no more than this is left
)

// Config says where an authority lives and for whom it vouches.
type Config struct {
	Dir   string       // the directory of the files, made with mode 0700
	Hosts []string     // names and addresses besides localhost, 127.0.0.1, ::1 and the host name
	Log   *slog.Logger // nil: slog.Default()
}

// Authority is an open certificate authority with a server certificate that
// is renewed while it is used. It may be used by several goroutines.
type Authority struct {
	cfg   Config
	hosts []string // all of them, sorted
	fresh bool
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey

	mu     sync.Mutex // guards server
	server *tls.Certificate
}

// Open reads the authority in cfg.Dir, or makes it when there is none, and
// sees to it that its server certificate is good for cfg.Hosts.
//
// It fails when a key can be read by other users, and when only half of the
// authority is there: a new one would lock out every device that trusts the
// old.
func Open(cfg Config) (*Authority, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	a := &Authority{cfg: cfg, hosts: allHosts(cfg.Hosts)}
	if err := a.openCA(); err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	if err := a.openServer(); err != nil {
		return nil, fmt.Errorf("server certificate: %w", err)
	}
	return a, nil
}

// CAFile is the PEM file that clients and devices need in order to trust the
// servers of this authority.
func (a *Authority) CAFile() string { return a.path("ca.pem") }

// Fresh reports whether Open had to make the authority.
func (a *Authority) Fresh() bool { return a.fresh }

// Fingerprint is the SHA-256 of the authority's certificate, in the form that
// people compare: "7F:3A:91:…", 32 bytes.
func (a *Authority) Fingerprint() string {
	sum := sha256.Sum256(a.cert.Raw)
	return strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":")
}

// Ends is when the server certificate ends that is used now.
func (a *Authority) Ends() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.server.Leaf.NotAfter
}

// ServerConfig returns what a listener needs: TLS 1.2 and 1.3 and nothing but
// ECDHE with authenticated encryption. The caller adds its ALPN names. The
// certificate is renewed by itself during the life of the process.
func (a *Authority) ServerConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{ // of TLS 1.2, for a certificate with an ECDSA key
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return a.current() },
	}
}

// Pool reads the certificates of a PEM file, such as CAFile, for use as the
// roots of a client.
func Pool(file string) (*x509.CertPool, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s: no certificate in it", file)
	}
	return pool, nil
}

// current returns the server certificate, a new one if the old is near its
// end. A certificate that cannot be renewed is used until it expires.
func (a *Authority) current() (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Until(a.server.Leaf.NotAfter) > renewLeft {
		return a.server, nil
	}
	if err := a.renew(); err != nil {
		a.cfg.Log.Error("server certificate not renewed", "err", err, "ends", a.server.Leaf.NotAfter)
	}
	return a.server, nil
}

func (a *Authority) openCA() error {
	keyPEM, err := readPrivate(a.path("ca-key.pem"))
	certPEM, certErr := os.ReadFile(a.CAFile())
	switch {
	case errors.Is(err, os.ErrNotExist) && errors.Is(certErr, os.ErrNotExist):
		return a.makeCA()
	case errors.Is(certErr, os.ErrNotExist) && err == nil:
		return fmt.Errorf("%s is missing beside its key: restore it, or remove the key to start anew", a.CAFile())
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%s is missing beside its certificate: restore it, or remove the certificate to start anew", a.path("ca-key.pem"))
	case err != nil:
		return err
	case certErr != nil:
		return certErr
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return fmt.Errorf("%s: %w", a.CAFile(), err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return fmt.Errorf("%s: not an authority with an ECDSA key", a.CAFile())
	}
	if !time.Now().Before(pair.Leaf.NotAfter) {
		return fmt.Errorf("%s: expired on %s", a.CAFile(), pair.Leaf.NotAfter.Format(time.DateOnly))
	}
	a.cert, a.key = pair.Leaf, key
	return nil
}

// openServer takes the server certificate of the directory if it is ours, good
// for all hosts and far from its end, and makes one otherwise.
func (a *Authority) openServer() error {
	b, err := readPrivate(a.path("server.pem"))
	if errors.Is(err, os.ErrNotExist) {
		return a.renew()
	}
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(b, b)
	if err != nil {
		return fmt.Errorf("%s: %w; remove it to get a new one", a.path("server.pem"), err)
	}
	if a.outdated(pair.Leaf) {
		return a.renew()
	}
	a.server = &pair
	return nil
}

func (a *Authority) outdated(leaf *x509.Certificate) bool {
	if time.Until(leaf.NotAfter) <= renewLeft || leaf.CheckSignatureFrom(a.cert) != nil {
		return true
	}
	for _, host := range a.hosts {
		if leaf.VerifyHostname(host) != nil {
			return true
		}
	}
	return false
}

func (a *Authority) path(name string) string { return filepath.Join(a.cfg.Dir, name) }
