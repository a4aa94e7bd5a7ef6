package lan

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"github.com/farreach/farreach/coap/dtls"
	"github.com/farreach/farreach/internal/secret"
)

// Credentials are how we and one device prove to each other who we are: by a
// shared key, or by certificates.
type Credentials struct {
	ID  string        // ours, a UUID, as the device knows us; with Key
	Key secret.String // the bytes of the shared key; "": certificates

	Certificate tls.Certificate
	Roots       *x509.CertPool // that vouch for the device's certificate, whose name is its di
}

// minKey is the shortest shared key, in bytes: OCF's are 16 or 32.
const minKey = 16

// LoadCredentials reads a directory with one file for each device,
// "<di>.json", that nobody else may read:
//
//	{"id": "<our UUID>", "psk": "<hexadecimal>"}
//	{"certificate": "proxy.pem", "key": "proxy.key", "roots": "household.pem"}
//
// Files that these name are beside it. An error names the file, and nothing that
// is in it.
func LoadCredentials(dir string) (map[string]Credentials, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(dir); err != nil {
		return nil, err
	}
	all := map[string]Credentials{}
	for _, name := range files {
		di := strings.ToLower(strings.TrimSuffix(filepath.Base(name), ".json"))
		if !isUUID(di) {
			return nil, fmt.Errorf("%s: the name is not the di of a device", name)
		}
		c, err := loadCredentials(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all[di] = c
	}
	return all, nil
}

func loadCredentials(name string) (c Credentials, err error) {
	b, err := readPrivate(name)
	if err != nil {
		return c, err
	}
	var f struct {
		ID          string `json:"id"`
		PSK         string `json:"psk"`
		Certificate string `json:"certificate"`
		Key         string `json:"key"`
		Roots       string `json:"roots"`
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if d.Decode(&f) != nil {
		return c, errors.New("not a JSON object with id and psk, or certificate, key and roots")
	}
	beside := func(file string) string { return filepath.Join(filepath.Dir(name), filepath.Base(file)) }
	switch {
	case f.PSK != "" && f.Certificate == "" && f.Key == "" && f.Roots == "":
		key, err := hex.DecodeString(f.PSK)
		if err != nil || len(key) < minKey {
			return c, fmt.Errorf("psk is not %d bytes or more in hexadecimal", minKey)
		}
		if !isUUID(strings.ToLower(f.ID)) {
			return c, errors.New("id is not a UUID")
		}
		return Credentials{ID: strings.ToLower(f.ID), Key: secret.String(key)}, nil
	case f.PSK == "" && f.Certificate != "" && f.Key != "" && f.Roots != "":
		return loadCertificate(beside(f.Certificate), beside(f.Key), beside(f.Roots))
	}
	return c, errors.New("there must be id and psk, or certificate, key and roots")
}

func loadCertificate(certificate, key, roots string) (c Credentials, err error) {
	cert, err := os.ReadFile(certificate)
	if err != nil {
		return c, err
	}
	private, err := readPrivate(key)
	if err != nil {
		return c, err
	}
	if c.Certificate, err = tls.X509KeyPair(cert, private); err != nil {
		return c, fmt.Errorf("%s and %s do not belong together: %w", filepath.Base(certificate), filepath.Base(key), err)
	}
	trusted, err := os.ReadFile(roots)
	if err != nil {
		return c, err
	}
	c.Roots = x509.NewCertPool()
	if !c.Roots.AppendCertsFromPEM(trusted) {
		return c, fmt.Errorf("%s has no certificate", filepath.Base(roots))
	}
	return c, nil
}

// readPrivate reads a file that nobody else may read.
func readPrivate(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("others may read it; chmod 600")}
	}
	return os.ReadFile(name)
}

// config is how a session with a device is begun.
func (c Credentials) config(di string) (dtls.Config, error) {
	if c.Key != "" {
		id, err := uuid.Parse(c.ID)
		if err != nil {
			return dtls.Config{}, fmt.Errorf("credentials of %s: our id is not a UUID", di)
		}
		key := func([]byte) ([]byte, error) { return []byte(c.Key.Reveal()), nil }
		return dtls.Config{PSK: key, PSKIdentity: id[:]}, nil
	}
	if c.Roots == nil {
		return dtls.Config{}, fmt.Errorf("credentials of %s: neither a key nor roots", di)
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, // names are not those of hosts: see VerifyPeerCertificate
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error { return verify(raw, c.Roots, di) }}
	if len(c.Certificate.Certificate) > 0 {
		t.Certificates = []tls.Certificate{c.Certificate}
	}
	return dtls.Config{TLS: t}, nil
}

// verify checks that a device's certificate is of this di, which is its common
// name (OCF security: "uuid:<di>"), and that roots vouch for it.
func verify(raw [][]byte, roots *x509.CertPool, di string) error {
	if len(raw) == 0 {
		return errors.New("the device has no certificate")
	}
	var certs []*x509.Certificate
	for _, der := range raw {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		certs = append(certs, cert)
	}
	opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	for _, cert := range certs[1:] {
		opts.Intermediates.AddCert(cert)
	}
	if _, err := certs[0].Verify(opts); err != nil {
		return err
	}
	if cn := certs[0].Subject.CommonName; !strings.EqualFold(cn, "uuid:"+di) {
		return fmt.Errorf("the certificate is that of %.60q", cn)
	}
	return nil
}
