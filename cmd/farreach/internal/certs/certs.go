// Package certs chooses the certificate of a listener:
//
//	ClientHello ── for a name of the operator's certificate ──▶ that one, from its files
//	            └─ for anything else, or no name ─────────────▶ the one of the private authority
//
// So a server can have a certificate that everybody trusts, for its name, and
// still be met by devices that know it by its address. The files are read again
// when the operator says so; connections that are open stay as they are.
package certs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Config says where the operator's certificate is, if there is one.
type Config struct {
	Cert    string      // PEM file: the certificate, and those between it and its authority
	Key     string      // PEM file: its key
	Private *tls.Config // for all that it is not for; must have GetCertificate
}

// Chooser is the certificates of a server. It may be used by several goroutines.
type Chooser struct {
	cfg Config

	mu  sync.Mutex // guards own
	own *tls.Certificate
}

// Open reads the operator's certificate, if cfg names one.
func Open(cfg Config) (*Chooser, error) {
	c := &Chooser{cfg: cfg}
	return c, c.Reload()
}

// Reload reads the operator's certificate again. After an error the old one is
// still used.
func (c *Chooser) Reload() error {
	switch {
	case c.cfg.Cert == "" && c.cfg.Key == "":
		return nil
	case c.cfg.Cert == "" || c.cfg.Key == "":
		return errors.New("a certificate and its key belong together: only one is given")
	}
	own, err := tls.LoadX509KeyPair(c.cfg.Cert, c.cfg.Key)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	if end := own.Leaf.NotAfter; !time.Now().Before(end) {
		return fmt.Errorf("certificate: %s ended on %s", c.cfg.Cert, end.Format(time.DateOnly))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.own = &own
	return nil
}

// current is the operator's certificate; nil: there is none.
func (c *Chooser) current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.own
}

// Names are what the operator's certificate is for.
func (c *Chooser) Names() []string {
	if own := c.current(); own != nil {
		return own.Leaf.DNSNames
	}
	return nil
}

// Covers reports whether the operator's certificate is for this name or
// address.
func (c *Chooser) Covers(host string) bool {
	own := c.current()
	return own != nil && own.Leaf.VerifyHostname(host) == nil
}

// Ends is when the operator's certificate does; zero: there is none.
func (c *Chooser) Ends() time.Time {
	if own := c.current(); own != nil {
		return own.Leaf.NotAfter
	}
	return time.Time{}
}

// ServerConfig returns what a listener needs: that of the private authority,
// with the choice. The caller adds its ALPN names.
func (c *Chooser) ServerConfig() *tls.Config {
	cfg := c.cfg.Private.Clone()
	if c.current() == nil {
		return cfg
	}
	private := cfg.GetCertificate
	cfg.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		own := c.current()
		if hello.ServerName != "" && own.Leaf.VerifyHostname(hello.ServerName) == nil {
			return own, nil
		}
		return private(hello)
	}
	cfg.CipherSuites = append(cfg.CipherSuites, // of TLS 1.2, for a certificate with an RSA key
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256)
	return cfg
}
