package cloudlink_test

import (
	"crypto/tls"
	"testing"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/coap"
)

// Who offers other protocols than coap is refused, who offers none is not
// (CI-010, rule 21); nobody speaks TLS 1.1.
func TestHandshakes(t *testing.T) {
	ca := newAuthority(t)
	addr := serve(t, cloudlink.ServerConfig{Backend: newCloud()}, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "cloud")}})
	for _, test := range []struct {
		name   string
		config *tls.Config
		ok     bool
	}{
		{"no ALPN", &tls.Config{}, true},
		{"ALPN coap", &tls.Config{NextProtos: []string{"h2", "coap"}}, true},
		{"other ALPN", &tls.Config{NextProtos: []string{"h2"}}, false},
		{"TLS 1.2", &tls.Config{MaxVersion: tls.VersionTLS12}, true},
		{"TLS 1.1", &tls.Config{MinVersion: tls.VersionTLS11, MaxVersion: tls.VersionTLS11}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.config.RootCAs, test.config.ServerName = ca.pool, "127.0.0.1"
			nc, err := tls.Dial("tcp", addr, test.config)
			if (err == nil) != test.ok {
				t.Fatalf("handshake: %v", err)
			}
			if err != nil {
				return
			}
			if got := rawOn(t, nc).ask("O1"); got.Code != coap.Changed {
				t.Errorf("sign-up: %v", got)
			}
		})
	}
}

// A certificate that names a device speaks for that device only (rule 22).
func TestClientCertificate(t *testing.T) {
	ca := newAuthority(t)
	for name, want := range map[string]coap.Code{
		"uuid:" + device1: coap.Changed,
		"uuid:00000000-cafe-4bad-8000-000000000002": coap.Forbidden,
		"somebody": coap.Changed, // names no device
	} {
		addr := serve(t, cloudlink.ServerConfig{Backend: newCloud()}, &tls.Config{
			Certificates: []tls.Certificate{ca.issue(t, "cloud")}, ClientAuth: tls.RequestClientCert,
		})
		nc, err := tls.Dial("tcp", addr, &tls.Config{
			RootCAs: ca.pool, ServerName: "127.0.0.1", Certificates: []tls.Certificate{ca.issue(t, name)},
		})
		if err != nil {
			t.Fatal(err)
		}
		r := rawOn(t, nc)
		if got := r.ask("O1"); got.Code != want {
			t.Errorf("sign-up as %s: %v %s, want %v", name, got.Code, got.Payload, want)
		}
		if got := r.ask("O3"); want == coap.Forbidden && got.Code != want {
			t.Errorf("sign-in as %s: %v %s, want %v", name, got.Code, got.Payload, want)
		}
	}
}
