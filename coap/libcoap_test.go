package coap_test

import (
	"bytes"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/coap"
)

// program returns the path of a program of libcoap; without it the test is
// skipped.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skip(name + " is not installed")
	}
	return path
}

// libcoap's client against our server, plain and over TLS.
func TestLibcoapClient(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: certificate().Certificate[0]}
	if err := os.WriteFile(ca, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		name, scheme string
		args         []string
		cfg          coap.Config
	}{
		{"coap-client-notls", "coap+tcp", nil, coap.Config{Handler: echo}},
		{"coap-client-openssl", "coaps+tcp", []string{"-R", ca}, coap.Config{Handler: echo, TLS: serverTLS()}},
	} {
		t.Run(v.scheme, func(t *testing.T) {
			path := program(t, v.name)
			addr, _ := serving(t, func(nc net.Conn) *coap.Conn { return coap.Server(nc, v.cfg) })
			cmd := exec.CommandContext(t.Context(), path, append(v.args, "-B", "5", "-m", "get", v.scheme+"://"+addr+"/a/light")...)
			out, err := cmd.CombinedOutput()
			if err != nil || strings.TrimSpace(string(out)) != "/a/light" {
				t.Errorf("%v: %v\n%s", cmd, err, out)
			}
		})
	}
}

// Our client against libcoap's server: a request, an observation, a Ping whose
// Pong has no token, an orderly end.
func TestLibcoapServer(t *testing.T) {
	path := program(t, "coap-server-notls")
	free := listen(t)
	port := free.Addr().(*net.TCPAddr).Port
	free.Close()
	cmd := exec.CommandContext(t.Context(), path, "-A", "127.0.0.1", "-p", strconv.Itoa(port))
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()

	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	nc, err := net.Dial("tcp", addr)
	for tries := 0; err != nil && tries < 50; tries++ {
		time.Sleep(20 * time.Millisecond) // until it listens
		nc, err = net.Dial("tcp", addr)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := run(t, coap.Client(nc, coap.Config{}))
	m, err := c.Do(t.Context(), get("/"))
	if err != nil || m.Code != coap.Content || !strings.Contains(string(m.Payload), "libcoap") {
		t.Fatalf("Do = %v, %v", m, err)
	}
	if p := c.Peer(); !p.SentCSM || p.MaxMessage <= 1152 {
		t.Errorf("settings of libcoap: %+v", p)
	}
	if _, err := c.Custody(t.Context()); err != nil {
		t.Errorf("Ping: %v", err)
	}
	times := make(heard, 10)
	o, err := c.Observe(get("/time"), times.each)
	if err != nil {
		t.Fatal(err)
	}
	times.want(t, "2.05 Content ", "2.05 Content ") // the second comes within a second
	o.Cancel()
	if err := c.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	<-c.Done()
}
