package sasl

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
)

// The types of channel binding. tls-unique is not among them: TLS 1.3 has
// none, and that of TLS 1.2 can be forged without the extended master secret.
const (
	TLSExporter       = "tls-exporter"         // RFC 9266
	TLSServerEndPoint = "tls-server-end-point" // RFC 5929, section 4
)

// Binding is what both ends of one TLS connection know and nobody in the
// middle can have the same of.
type Binding struct {
	Type string // TLSExporter, …
	Data []byte
}

// ClientBindings returns by what a client can bind its connection, the best
// first.
func ClientBindings(state *tls.ConnectionState) []Binding {
	if len(state.PeerCertificates) == 0 {
		return bindings(state, nil)
	}
	return bindings(state, state.PeerCertificates[0])
}

// ServerBindings returns by what a server can bind a connection for which it
// has shown cert, the best first. A nil cert means that tls-server-end-point
// cannot be had.
func ServerBindings(state *tls.ConnectionState, cert *x509.Certificate) []Binding {
	return bindings(state, cert)
}

func bindings(state *tls.ConnectionState, cert *x509.Certificate) (all []Binding) {
	// In TLS 1.2 there is none without the extended master secret, and
	// crypto/tls refuses (RFC 9266, section 4.1).
	if data, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32); err == nil {
		all = append(all, Binding{TLSExporter, data})
	}
	if data := endPoint(cert); data != nil {
		all = append(all, Binding{TLSServerEndPoint, data})
	}
	return all
}

// endPoint hashes a certificate with the hash of its own signature, at least
// SHA-256 (RFC 5929, section 4.1). A signature without one hash gives nil.
func endPoint(cert *x509.Certificate) []byte {
	if cert == nil {
		return nil
	}
	switch cert.SignatureAlgorithm {
	case x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.MD5WithRSA,
		x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.ECDSAWithSHA256:
		sum := sha256.Sum256(cert.Raw)
		return sum[:]
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		sum := sha512.Sum384(cert.Raw)
		return sum[:]
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		sum := sha512.Sum512(cert.Raw)
		return sum[:]
	}
	return nil
}
