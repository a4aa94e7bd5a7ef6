package dtls_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/coap/dtls"
	"github.com/farreach/farreach/internal/simnet"
)

// TestMain fails the package if a test leaves a goroutine behind.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// issue makes a certificate that vouches for itself, and the pool that trusts
// it.
func issue(t testing.TB, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(time.Hour),
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// endpoint runs an Endpoint over pc until the test ends or stop is called.
func endpoint(t testing.TB, pc coap.PacketConn, secure dtls.Config, cfg coap.EndpointConfig) (e *coap.Endpoint, stop func()) {
	t.Helper()
	secure.Log, cfg.Log = quiet, quiet
	e = coap.NewEndpoint(dtls.New(pc, secure), cfg)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := e.Run(ctx); err != context.Canceled {
			t.Errorf("Run = %v", err)
		}
	}()
	stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(stop)
	return e, stop
}

// who answers with what the peer has proved.
var who = coap.HandlerFunc(func(x *coap.Exchange) {
	resp := &coap.Message{Code: coap.Content}
	if s := x.Peer().Security(); s != nil {
		resp.Payload = append(resp.Payload, s.PSKIdentity...)
		if len(s.Certificates) > 0 {
			resp.Payload = append(resp.Payload, s.Certificates[0].Subject.CommonName...)
		}
	}
	x.Reply(resp)
})

func ask(t testing.TB, e *coap.Endpoint, to netip.AddrPort) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m, err := e.Do(ctx, to, &coap.Message{Code: coap.GET})
	if err != nil {
		return "", err
	}
	if m.Code != coap.Content {
		t.Errorf("answered %v", m)
	}
	return string(m.Payload), nil
}

func keys(identity []byte) ([]byte, error) {
	if string(identity) != "lamp" && string(identity) != "hub" {
		return nil, errors.New("unknown")
	}
	return []byte("0123456789abcdef"), nil
}

func TestHandshakes(t *testing.T) {
	server, serverRoots := issue(t, "server.test")
	client, clientRoots := issue(t, "client.test")
	_, otherRoots := issue(t, "server.test")
	cases := []struct {
		name           string
		client, server dtls.Config
		want           string
		refused        bool
	}{
		{"certificate", dtls.Config{TLS: &tls.Config{RootCAs: serverRoots, ServerName: "server.test"}},
			dtls.Config{TLS: &tls.Config{Certificates: []tls.Certificate{server}}}, "", false},
		{"both certified", dtls.Config{TLS: &tls.Config{RootCAs: serverRoots, ServerName: "server.test", Certificates: []tls.Certificate{client}}},
			dtls.Config{TLS: &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clientRoots}},
			"client.test", false},
		{"certificate nobody verified", dtls.Config{TLS: &tls.Config{RootCAs: serverRoots, ServerName: "server.test", Certificates: []tls.Certificate{client}}},
			dtls.Config{TLS: &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAnyClientCert}}, "", false},
		{"client without certificate", dtls.Config{TLS: &tls.Config{RootCAs: serverRoots, ServerName: "server.test"}},
			dtls.Config{TLS: &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clientRoots}},
			"", true},
		{"unknown root", dtls.Config{TLS: &tls.Config{RootCAs: otherRoots, ServerName: "server.test"}},
			dtls.Config{TLS: &tls.Config{Certificates: []tls.Certificate{server}}}, "", true},
		{"wrong name", dtls.Config{TLS: &tls.Config{RootCAs: serverRoots, ServerName: "other.test"}},
			dtls.Config{TLS: &tls.Config{Certificates: []tls.Certificate{server}}}, "", true},
		{"no name", dtls.Config{TLS: &tls.Config{RootCAs: serverRoots}},
			dtls.Config{TLS: &tls.Config{Certificates: []tls.Certificate{server}}}, "", true},
		{"shared key", dtls.Config{PSK: keys, PSKIdentity: []byte("lamp")}, dtls.Config{PSK: keys, PSKIdentity: []byte("hub")}, "lamp", false},
		{"wrong key", dtls.Config{PSK: func([]byte) ([]byte, error) { return []byte("wrong"), nil }, PSKIdentity: []byte("lamp")},
			dtls.Config{PSK: keys, PSKIdentity: []byte("hub")}, "", true},
	}
	for _, c := range cases {
		test := func(t *testing.T) {
			n := simnet.New(simnet.Config{})
			a, b := n.Listen("10.0.0.1:0"), n.Listen("10.0.0.2:5684")
			c.server.Listen = true
			endpoint(t, b, c.server, coap.EndpointConfig{Handler: who})
			e, _ := endpoint(t, a, c.client, coap.EndpointConfig{})
			switch got, err := ask(t, e, b.Addr()); {
			case c.refused && !errors.Is(err, coap.ErrClosed):
				t.Errorf("%q, %v; want it refused", got, err)
			case !c.refused && (err != nil || got != c.want):
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		}
		t.Run(c.name, func(t *testing.T) { synctest.Test(t, test) })
	}
}

// A real socket, and a network that loses and doubles.
func TestNetworks(t *testing.T) {
	server, roots := issue(t, "server.test")
	serving := dtls.Config{Listen: true, TLS: &tls.Config{Certificates: []tls.Certificate{server}}}
	asking := dtls.Config{TLS: &tls.Config{RootCAs: roots, ServerName: "server.test"}}
	t.Run("socket", func(t *testing.T) {
		var pcs [2]*net.UDPConn
		for i := range pcs {
			pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			pcs[i] = pc
		}
		endpoint(t, pcs[0], serving, coap.EndpointConfig{Handler: who})
		e, _ := endpoint(t, pcs[1], asking, coap.EndpointConfig{})
		for range 100 {
			if _, err := ask(t, e, pcs[0].LocalAddr().(*net.UDPAddr).AddrPort()); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("bad network", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := simnet.New(simnet.Config{Loss: 0.05, Duplicate: 0.2, Jitter: 20 * time.Millisecond, Seed: 3})
			a, b := n.Listen("10.0.0.1:0"), n.Listen("10.0.0.2:5684")
			endpoint(t, b, serving, coap.EndpointConfig{Handler: who})
			e, _ := endpoint(t, a, asking, coap.EndpointConfig{})
			for range 5 {
				if _, err := ask(t, e, b.Addr()); err != nil {
					t.Fatal(err)
				}
			}
		})
	})
}

// A peer that has lost its session begins another at the same address.
func TestPeerRestarts(t *testing.T) {
	server, roots := issue(t, "server.test")
	n := simnet.New(simnet.Config{})
	b := n.Listen("10.0.0.2:5684")
	endpoint(t, b, dtls.Config{Listen: true, TLS: &tls.Config{Certificates: []tls.Certificate{server}}}, coap.EndpointConfig{Handler: who})
	for range 3 {
		a := n.Listen("10.0.0.1:5684")
		// What it says at its end is lost.
		mute := struct{ *deaf }{&deaf{Socket: a}}
		e, stop := endpoint(t, mute, dtls.Config{TLS: &tls.Config{RootCAs: roots, ServerName: "server.test"}}, coap.EndpointConfig{})
		if _, err := ask(t, e, b.Addr()); err != nil {
			t.Fatal(err)
		}
		mute.stop.Store(true)
		stop()
	}
}

// deaf is a socket that sends nothing after stop.
type deaf struct {
	*simnet.Socket
	stop atomic.Bool
}

func (d *deaf) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if d.stop.Load() {
		return len(b), nil
	}
	return d.Socket.WriteToUDPAddrPort(b, to)
}

// The end of a session ends what waits for its peer.
func TestSessionEnds(t *testing.T) {
	server, roots := issue(t, "server.test")
	n := simnet.New(simnet.Config{})
	a, b := n.Listen("10.0.0.1:0"), n.Listen("10.0.0.2:5684")
	asked := make(chan struct{}, 64)
	silent := coap.HandlerFunc(func(x *coap.Exchange) { asked <- struct{}{} })
	_, stop := endpoint(t, b, dtls.Config{Listen: true, TLS: &tls.Config{Certificates: []tls.Certificate{server}}}, coap.EndpointConfig{Handler: silent})
	e, _ := endpoint(t, a, dtls.Config{TLS: &tls.Config{RootCAs: roots, ServerName: "server.test"}}, coap.EndpointConfig{})
	go func() {
		<-asked
		stop()
	}()
	if _, err := ask(t, e, b.Addr()); !errors.Is(err, coap.ErrClosed) {
		t.Error(err)
	}
}

// TestBad31ClearText: a record in clear text, or a plain message, is dropped,
// before the handshake and after it.
func TestBad31ClearText(t *testing.T) {
	server, roots := issue(t, "server.test")
	n := simnet.New(simnet.Config{})
	a, b := n.Listen("10.0.0.1:0"), n.Listen("10.0.0.2:5684")
	served := make(chan string, 100)
	handler := coap.HandlerFunc(func(x *coap.Exchange) {
		served <- x.Request().Options.Path()
		who(x)
	})
	endpoint(t, b, dtls.Config{Listen: true, TLS: &tls.Config{Certificates: []tls.Certificate{server}}}, coap.EndpointConfig{Handler: handler})
	e, _ := endpoint(t, a, dtls.Config{TLS: &tls.Config{RootCAs: roots, ServerName: "server.test"}}, coap.EndpointConfig{})
	forge := func() {
		m := &coap.Message{Type: coap.NonConfirmable, Code: coap.POST, ID: 1}
		m.SetPath("/forged")
		plain, _ := m.Append(coap.UDP, nil)
		for epoch := range byte(3) {
			record := append([]byte{23, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 9, 0, byte(len(plain))}, plain...)
			a.Forge(a.Addr(), record, b.Addr())
		}
		a.Forge(a.Addr(), plain, b.Addr())
	}
	forge()
	for range 3 {
		if _, err := ask(t, e, b.Addr()); err != nil {
			t.Fatal(err)
		}
		forge()
	}
	if _, err := ask(t, e, b.Addr()); err != nil {
		t.Fatal(err)
	}
	for len(served) > 0 {
		if path := <-served; path != "/" {
			t.Errorf("served %s", path)
		}
	}
}

// TestBad32Fragments: what is no handshake, or lies about its lengths, costs
// nothing; and those who begin many are held to 256.
func TestBad32Fragments(t *testing.T) {
	server, roots := issue(t, "server.test")
	n := simnet.New(simnet.Config{})
	a, b := n.Listen("10.0.0.1:0"), n.Listen("10.0.0.2:5684")
	endpoint(t, b, dtls.Config{Listen: true, TLS: &tls.Config{Certificates: []tls.Certificate{server}}}, coap.EndpointConfig{Handler: who})
	e, _ := endpoint(t, a, dtls.Config{TLS: &tls.Config{RootCAs: roots, ServerName: "server.test"}}, coap.EndpointConfig{})
	header := []byte{22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0}
	for i, body := range [][]byte{
		nil,
		{1},
		{1, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff},                   // a fragment of 16 MiB
		{1, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4},                // the first 4 bytes of 16 MiB
		{1, 0, 0, 4, 0, 0, 0xff, 0xff, 0xff, 0, 0, 4, 1, 2, 3, 4},                // behind its end
		{1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4},                         // longer than the whole
		append([]byte{1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0}, make([]byte, 256)...), // a hello of zeros
	} {
		for _, declared := range []int{len(body), 0, 0xffff} {
			record := append(append(bytes.Clone(header), byte(declared>>8), byte(declared)), body...)
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 2, 0, byte(i)}), uint16(1000+declared))
			a.Forge(from, record, b.Addr())
		}
	}
	hello := append(append(bytes.Clone(header), 0, 12), 1, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	for i := range 1000 {
		a.Forge(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 3, byte(i >> 8), byte(i)}), 1), hello, b.Addr())
	}
	if _, err := ask(t, e, b.Addr()); err != nil { // when those who hold the places are 2 s old
		t.Error(err)
	}
	stacks := make([]byte, 16<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	if n := bytes.Count(stacks, []byte("dtls.(*session).run(")); n > 260 {
		t.Errorf("%d handshakes are under way, want 256", n)
	}
}

func BenchmarkGet(b *testing.B) {
	server, roots := issue(b, "server.test")
	n := simnet.New(simnet.Config{})
	near, far := n.Listen("10.0.0.1:0"), n.Listen("10.0.0.2:5684")
	endpoint(b, far, dtls.Config{Listen: true, TLS: &tls.Config{Certificates: []tls.Certificate{server}}}, coap.EndpointConfig{Handler: who})
	e, _ := endpoint(b, near, dtls.Config{TLS: &tls.Config{RootCAs: roots, ServerName: "server.test"}}, coap.EndpointConfig{})
	ask(b, e, far.Addr())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ask(b, e, far.Addr()); err != nil {
			b.Fatal(err)
		}
	}
}
