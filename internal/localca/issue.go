package localca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"slices"
	"time"

	"github.com/farreach/farreach/internal/kept"
)

// clockSkew is how far the clock of a device may be behind ours.
const clockSkew = time.Hour

// makeCA makes the authority. The key is written first: a crash between the
// two files leaves a key without certificate, which openCA names.
func (a *Authority) makeCA() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	cert, err := sign(&x509.Certificate{
		Subject:               pkix.Name{CommonName: "farreach on " + hostname()},
		NotAfter:              time.Now().Add(caLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true, // signs servers, no further authorities
	}, nil, key, key)
	if err != nil {
		return err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return err
	}
	if err := kept.Write(a.path("ca-key.pem"), keyPEM, 0o600); err != nil {
		return err
	}
	if err := kept.Write(a.CAFile(), encodeCert(cert.Raw), 0o644); err != nil {
		return err
	}
	a.cert, a.key, a.fresh = cert, key, true
	return nil
}

// renew makes a server certificate for all hosts, with a key of its own, and
// keeps both in one file, so that no crash can part them.
func (a *Authority) renew() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: hostname()},
		NotAfter:    earlier(time.Now().Add(serverLife), a.cert.NotAfter),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range a.hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	cert, err := sign(template, a.cert, key, a.key)
	if err != nil {
		return err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return err
	}
	file := slices.Concat(keyPEM, encodeCert(cert.Raw), encodeCert(a.cert.Raw))
	if err := kept.Write(a.path("server.pem"), file, 0o600); err != nil {
		return err
	}
	a.server = &tls.Certificate{Certificate: [][]byte{cert.Raw, a.cert.Raw}, PrivateKey: key, Leaf: cert}
	a.cfg.Log.Debug("new server certificate", "hosts", a.hosts, "ends", cert.NotAfter)
	return nil
}

// sign completes template and has it signed by signer, whose certificate is
// parent; nil: by itself.
func sign(template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) // RFC 5280, section 4.1.2.2: at most 20 bytes
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-clockSkew)
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// allHosts returns the names of this machine and extra, each once, sorted.
func allHosts(extra []string) []string {
	hosts := append([]string{"localhost", "127.0.0.1", "::1", hostname()}, extra...)
	hosts = slices.DeleteFunc(hosts, func(h string) bool { return h == "" })
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
