package dtls_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/coap/dtls"
)

// suites are those of RFC 7252, section 9.1.3, and of OCF, as OpenSSL calls
// them; the first two of a kind are mandatory there.
var suites = []struct {
	name   string
	shared bool
}{
	{"ECDHE-ECDSA-AES128-CCM8", false},
	{"PSK-AES128-CCM8", true},
	{"ECDHE-ECDSA-AES128-CCM", false},
	{"ECDHE-ECDSA-AES128-GCM-SHA256", false},
	{"ECDHE-PSK-AES128-CBC-SHA256", true},
	{"PSK-AES128-CCM", true},
	{"PSK-AES128-GCM-SHA256", true},
}

// openssl is OpenSSL with what both its client and its server need.
func openssl(t *testing.T, command, suite string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip(err)
	}
	args = append([]string{command, "-dtls1_2", "-cipher", suite + ":@SECLEVEL=0",
		"-psk_identity", "lamp", "-psk", hex.EncodeToString([]byte("0123456789abcdef"))}, args...)
	return exec.CommandContext(t.Context(), path, args...)
}

// files writes a certificate and its key where OpenSSL can read them.
func files(t *testing.T, c tls.Certificate) (cert, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: c.Certificate[0]},
		key:  {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// Each suite of the LAN's devices works with another's implementation, as
// client and as server.
func TestSuitesOfDevices(t *testing.T) {
	cert, roots := issue(t, "server.test")
	certFile, keyFile := files(t, cert)
	for _, suite := range suites {
		server, client := dtls.Config{Listen: true}, dtls.Config{}
		if suite.shared {
			server.PSK, server.PSKIdentity = keys, []byte("hub")
			client.PSK = func([]byte) ([]byte, error) { return []byte("0123456789abcdef"), nil } // there may be no hint
			client.PSKIdentity = []byte("lamp")
		} else {
			server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
			client.TLS = &tls.Config{RootCAs: roots, ServerName: "server.test"}
		}
		t.Run(suite.name+", their client", func(t *testing.T) {
			pc := loopback(t)
			endpoint(t, pc, server, coap.EndpointConfig{Handler: who})
			cmd := openssl(t, "s_client", suite.name, "-connect", pc.LocalAddr().String(), "-CAfile", certFile, "-verify_return_error")
			for line := range lines(t, cmd) {
				if strings.Contains(line, "Cipher is ") {
					if !strings.HasSuffix(line, "Cipher is "+suite.name) {
						t.Error(line)
					}
					return
				}
			}
			t.Error("no session")
		})
		t.Run(suite.name+", their server", func(t *testing.T) {
			cmd := openssl(t, "s_server", suite.name, "-accept", "127.0.0.1:0", "-cert", certFile, "-key", keyFile)
			e, _ := endpoint(t, loopback(t), client, coap.EndpointConfig{})
			for line := range lines(t, cmd) {
				at, listens := strings.CutPrefix(line, "ACCEPT ")
				switch {
				case listens:
					go e.Do(t.Context(), netip.MustParseAddrPort(at), &coap.Message{Code: coap.GET})
				case strings.HasPrefix(line, "CIPHER is "):
					if line != "CIPHER is "+suite.name {
						t.Error(line)
					}
					return
				}
			}
			t.Error("no session")
		})
	}
}

func loopback(t *testing.T) *net.UDPConn {
	t.Helper()
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return pc
}

// lines starts a program, which the test's end kills, and returns what it
// writes.
func lines(t *testing.T, cmd *exec.Cmd) <-chan string {
	t.Helper()
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	stdin, err := cmd.StdinPipe() // at whose end it would end
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out, read := make(chan string, 1024), make(chan struct{})
	go func() {
		defer close(read)
		defer close(out)
		for s := bufio.NewScanner(r); s.Scan(); {
			select {
			case out <- s.Text():
			default:
			}
		}
	}()
	overdue := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cmd.Wait()
		w.Close()
	}()
	t.Cleanup(func() {
		overdue.Stop()
		cmd.Process.Kill()
		stdin.Close()
		<-ended
		<-read
	})
	return out
}
