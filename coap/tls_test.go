package coap_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/coap"
)

// certificate makes one for 127.0.0.1, valid for ever.
var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

func serverTLS() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{certificate()}, NextProtos: []string{coap.ALPN}}
}

func clientTLS() *tls.Config {
	cert, err := x509.ParseCertificate(certificate().Certificate[0])
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", NextProtos: []string{coap.ALPN}}
}

// scripted is a transport whose Read gives what the test says.
type scripted struct {
	net.Conn // nil: anything else panics
	in       []byte
	wrote    bytes.Buffer
}

type tryLater struct{}

func (tryLater) Error() string   { return "try later" }
func (tryLater) Timeout() bool   { return true }
func (tryLater) Temporary() bool { return true }

func (s *scripted) Read(b []byte) (int, error) {
	if len(s.in) == 0 {
		return 0, tryLater{}
	}
	n := copy(b, s.in)
	s.in = s.in[n:]
	return n, nil
}

func (s *scripted) Write(b []byte) (int, error) { return s.wrote.Write(b) }

// TestCryptoTLSGoesOn pins what the TLS link needs of crypto/tls and its
// documentation does not promise: when the transport has nothing more and says
// so with a temporary net.Error, anywhere in a record, Read returns that error,
// keeps what it has, and goes on when more is there. It has taken all that
// there was.
func TestCryptoTLSGoesOn(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		a, b := net.Pipe()
		far := &scripted{Conn: a}
		near := &scripted{Conn: b}
		cfg := clientTLS()
		cfg.MaxVersion = version
		client, server := tls.Client(switching(far), cfg), tls.Server(switching(near), serverTLS())
		shaken := make(chan error, 1)
		go func() { shaken <- client.Handshake() }()
		if err := server.Handshake(); err != nil {
			t.Fatal(err)
		}
		if err := <-shaken; err != nil {
			t.Fatal(err)
		}
		script(client, server)
		for i := range 3 {
			msg := bytes.Repeat([]byte{byte('a' + i)}, 1000)
			if _, err := client.Write(msg); err != nil {
				t.Fatal(err)
			}
			records := bytes.Clone(far.wrote.Bytes())
			far.wrote.Reset()
			var got []byte
			buf := make([]byte, 16<<10)
			for j := range records {
				near.in = records[j : j+1]
				n, err := server.Read(buf)
				got = append(got, buf[:n]...)
				if n == 0 && err != error(tryLater{}) {
					t.Fatalf("TLS %x, byte %d of a record: Read = %d, %v", version, j, n, err)
				}
				if len(near.in) > 0 {
					t.Fatalf("byte %d was not taken", j)
				}
			}
			if !bytes.Equal(got, msg) {
				t.Errorf("read %d bytes, want %d", len(got), len(msg))
			}
		}
		a.Close()
		b.Close()
	}
}

// switchable passes everything through until script is called.
type switchable struct {
	net.Conn
	to *scripted
	on bool
}

func switching(s *scripted) *switchable { return &switchable{Conn: s.Conn, to: s} }

// script makes the transports of cs follow their scripts.
func script(cs ...*tls.Conn) {
	for _, c := range cs {
		c.NetConn().(*switchable).on = true
	}
}

func (s *switchable) Read(b []byte) (int, error) {
	if s.on {
		return s.to.Read(b)
	}
	return s.Conn.Read(b)
}

func (s *switchable) Write(b []byte) (int, error) {
	if s.on {
		return s.to.Write(b)
	}
	return s.Conn.Write(b)
}

// corked keeps what is written after the first write, until uncork.
type corked struct {
	net.Conn
	writes int
	kept   []byte
}

func (c *corked) Write(b []byte) (int, error) {
	if c.writes++; c.writes == 1 {
		return c.Conn.Write(b)
	}
	c.kept = append(c.kept, b...)
	return len(b), nil
}

// A request that comes together with the last record of the handshake is
// answered.
func TestRequestWithHandshake(t *testing.T) {
	a, b := pair(t)
	wire := &corked{Conn: a}
	run(t, coap.Server(b, coap.Config{Handler: echo, TLS: serverTLS()}))
	p := &peer{t: t, nc: tls.Client(wire, clientTLS())}
	p.tell(request(1, "/early"))
	if _, err := a.Write(wire.kept); err != nil {
		t.Fatal(err)
	}
	p.expect(coap.CSM)
	p.expect(coap.Content)
}

// ALPN (CI-010; RFC 8323, section 8.2): a client offers coap. A server chooses
// it, goes on without an offer, and refuses others.
func TestALPN(t *testing.T) {
	for _, shared := range []bool{true, false} { // NextProtos set by the caller, or by us
		for _, v := range []struct {
			offer  []string
			chosen string
			ok     bool
		}{
			{[]string{"coap"}, "coap", true},
			{[]string{"h2", "coap"}, "coap", true},
			{nil, "", true},
			{[]string{"h2", "http/1.1"}, "", false},
		} {
			a, b := pair(t)
			cfg := serverTLS()
			if !shared {
				cfg.NextProtos = nil
			}
			run(t, coap.Server(b, coap.Config{TLS: cfg}))
			ccfg := clientTLS()
			ccfg.NextProtos = v.offer
			c := tls.Client(a, ccfg)
			err := c.HandshakeContext(t.Context())
			if err != nil && strings.Contains(err.Error(), "no application protocol") == v.ok || (err == nil) != v.ok {
				t.Errorf("offer %q: %v", v.offer, err)
			}
			if got := c.ConnectionState().NegotiatedProtocol; got != v.chosen {
				t.Errorf("offer %q: chosen %q, want %q", v.offer, got, v.chosen)
			}
		}
	}
	a, b := pair(t)
	offered := make(chan []string, 1)
	cfg := serverTLS()
	cfg.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		offered <- h.SupportedProtos
		return nil, nil
	}
	ccfg := clientTLS()
	ccfg.NextProtos = nil
	c := run(t, coap.Client(a, coap.Config{TLS: ccfg}))
	s := run(t, coap.Server(b, coap.Config{TLS: cfg}))
	if got := <-offered; !slices.Equal(got, []string{"coap"}) {
		t.Errorf("our client offers %q", got)
	}
	for _, c := range []*coap.Conn{c, s} {
		<-c.Ready()
		if state := c.TLS(); state == nil || state.NegotiatedProtocol != "coap" || state.Version != tls.VersionTLS13 {
			t.Errorf("TLS state %+v", state)
		}
	}
}

// A client checks the certificate as crypto/tls does, and a server that is not
// trusted sees no request.
func TestUntrusted(t *testing.T) {
	a, b := pair(t)
	cfg := clientTLS()
	cfg.ServerName = "example.org"
	c := coap.Client(a, coap.Config{TLS: cfg})
	run(t, coap.Server(b, coap.Config{TLS: serverTLS(), Handler: coap.HandlerFunc(func(x *coap.Exchange) { t.Error("request served") })}))
	asked := make(chan error, 1)
	go func() {
		_, err := c.Do(t.Context(), get("/secret"))
		asked <- err
	}()
	_, named := errors.AsType[x509.HostnameError](c.Run(t.Context()))
	if err := <-asked; !named || !errors.Is(err, coap.ErrClosed) {
		t.Errorf("Do: %v; name refused: %v", err, named)
	}
}

// An orderly end of a TLS connection is told by a close_notify.
func TestCloseNotify(t *testing.T) {
	p := servePeer(t, "tls", coap.Config{})
	p.expect(coap.CSM)
	p.conn.Abort("enough")
	p.expect(coap.Abort)
	if _, err := p.read(); err != io.EOF {
		t.Errorf("end is %v, want io.EOF", err)
	}
	p = servePeer(t, "tls", coap.Config{})
	p.expect(coap.CSM)
	p.nc.Close()
	if err := p.reason(); err != io.EOF {
		t.Errorf("Run = %v, want EOF", err)
	}
}

// Messages longer than a record pass both ways.
func TestLongOverTLS(t *testing.T) {
	h := coap.HandlerFunc(func(x *coap.Exchange) {
		x.Reply(&coap.Message{Code: coap.Content, Payload: x.Request().Payload})
	})
	p := servePeer(t, "tls", coap.Config{Handler: h})
	p.expect(coap.CSM)
	p.send("50e1 24 ffffffff")
	for _, n := range []int{1, 1000, 16 << 10, 100 << 10, 262100} {
		m := request(uint64(n), "/")
		m.Payload = bytes.Repeat([]byte{byte(n >> 8)}, n)
		go p.tell(m)
		if got := p.expect(coap.Content); !bytes.Equal(got.Payload, m.Payload) {
			t.Errorf("%d bytes came back as %d", n, len(got.Payload))
		}
	}
}
