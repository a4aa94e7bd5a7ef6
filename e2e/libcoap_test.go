package e2e_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/coap/coaptest"
	"github.com/farreach/farreach/coap/dtls"
	"github.com/farreach/farreach/internal/ports"
)

// libcoap's programs and ours meet on these wires; each test goes through all
// that it is for:
//
//	                           udp  dtls  dtls, key  tcp  tls  ws, wss
//	TestLibcoapServer           x    x       x        x    x      -     our client, their server
//	TestLibcoapServerCommands   x    x       x        x    x      -     our commands, their server
//	TestLibcoapClient           x    x       x        x    x      +     their client, our server
//	TestLibcoapClientAtCloud                          x    x      +     their client, our cloud, a device behind it
//	TestLibcoapClientAtDevice   x                                       their client, a device on the LAN
//
// Where there is security, it is OpenSSL's and GnuTLS's in turn. +: if this
// libcoap has WebSockets, which 4.3.1 has not. Shared keys over TLS are missing
// because crypto/tls has none.
type wire struct {
	name   string
	scheme string
	tls    string // the library under libcoap: "openssl" or "gnutls"; empty: any, it does not matter
	key    bool   // both ends share a key; else the server has a certificate

	// most is how long a message libcoap can send, bytes; 0: any. With GnuTLS
	// 4.3.1 never sends what does not go into the first record of TLS.
	most int
}

var wires = []wire{
	{name: "udp", scheme: "coap"},
	{name: "dtls, openssl", scheme: "coaps", tls: "openssl"},
	{name: "dtls, gnutls", scheme: "coaps", tls: "gnutls"},
	{name: "dtls with a key, openssl", scheme: "coaps", tls: "openssl", key: true},
	{name: "dtls with a key, gnutls", scheme: "coaps", tls: "gnutls", key: true},
	{name: "tcp", scheme: "coap+tcp"},
	{name: "tls, openssl", scheme: "coaps+tcp", tls: "openssl"},
	{name: "tls, gnutls", scheme: "coaps+tcp", tls: "gnutls", most: 16_000},
	{name: "ws", scheme: "coap+ws"},
	{name: "wss, openssl", scheme: "coaps+ws", tls: "openssl"},
}

const sharedKey = "0123456789abcdef"

// overWires runs f on each wire whose scheme is one of schemes; none: on all.
func overWires(t *testing.T, f func(t *testing.T, w wire), schemes ...string) {
	for _, w := range wires {
		if len(schemes) > 0 && !strings.Contains(" "+strings.Join(schemes, " ")+" ", " "+w.scheme+" ") {
			continue
		}
		t.Run(w.name, func(t *testing.T) { f(t, w) })
	}
}

func (w wire) datagrams() bool { return w.scheme == "coap" || w.scheme == "coaps" }
func (w wire) webSocket() bool { return strings.HasSuffix(w.scheme, "+ws") }
func (w wire) secure() bool    { return strings.HasPrefix(w.scheme, "coaps") }

// program is libcoap's "client" or "server" for the wire.
func (w wire) program(t *testing.T, role string) string {
	t.Helper()
	if w.tls != "" {
		return foreign(t, "coap-"+role+"-"+w.tls)
	}
	return foreign(t, "coap-"+role+"-notls", "coap-"+role+"-openssl", "coap-"+role+"-gnutls")
}

// created is what libcoap's server says once it listens.
var created = map[string]*regexp.Regexp{
	"coap":      regexp.MustCompile(`created UDP +endpoint (\S+)`),
	"coaps":     regexp.MustCompile(`created DTLS +endpoint (\S+)`),
	"coap+tcp":  regexp.MustCompile(`created TCP +endpoint (\S+)`),
	"coaps+tcp": regexp.MustCompile(`created TLS +endpoint (\S+)`),
}

// theirServer runs libcoap's server until the test ends, and returns host and
// port.
func (w wire) theirServer(t *testing.T, id identity) string {
	t.Helper()
	args := []string{"-A", "127.0.0.1", "-p", freePair(t), "-v", "7"}
	switch {
	case w.key:
		args = append(args, "-k", sharedKey, "-h", "hub")
	case w.secure():
		args = append(args, "-c", id.certFile, "-j", id.keyFile, "-n")
	}
	return start(t, created[w.scheme], w.program(t, "server"), args...)
}

// asker asks a server: *coap.Conn, or *coap.Peer.
type asker struct {
	coap.Caller
	ping func(ctx context.Context) (time.Duration, error)
	conn *coap.Conn // nil: by datagrams
}

// ourClient asks the server at addr until the test ends.
func (w wire) ourClient(t *testing.T, addr string, id identity, cfg coap.Config) asker {
	t.Helper()
	if w.datagrams() {
		p := coaptest.Endpoint(t, w.socket(t, id.client, false), coap.EndpointConfig{}).Peer(netip.MustParseAddrPort(addr))
		return asker{Caller: p, ping: p.Ping}
	}
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if w.secure() {
		cfg.TLS = id.client
	}
	cfg.MaxMessage = cmp.Or(cfg.MaxMessage, w.most)
	c := coaptest.Run(t, coap.Client(nc, cfg))
	return asker{c, c.Ping, c}
}

// ourServer answers with h until the test ends, and returns how its URIs begin.
// Who asks is no stranger: long bodies are taken.
func (w wire) ourServer(t *testing.T, id identity, h coap.Handler, cfg coap.Config) string {
	t.Helper()
	var at net.Addr
	if w.datagrams() {
		at = coaptest.Endpoint(t, w.socket(t, id.server, true), coap.EndpointConfig{Handler: h}).LocalAddr()
	} else {
		cfg.Handler, cfg.MaxMessage = h, cmp.Or(cfg.MaxMessage, w.most)
		ln := coaptest.Listen(t)
		switch {
		case w.webSocket() && w.secure():
			ln = coaptest.Web(t, id.server)
		case w.webSocket():
			ln = coaptest.Web(t, nil)
		case w.secure():
			cfg.TLS = id.server
		}
		at = ln.Addr()
		accepting(t, ln, cfg)
	}
	// The certificate is for a name.
	return w.scheme + "://" + strings.Replace(at.String(), "127.0.0.1", "localhost", 1)
}

// accepting accepts connections until the test ends, and has them run.
func accepting(t *testing.T, ln net.Listener, cfg coap.Config) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { _ = coap.Server(nc, cfg).Run(ctx) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		cancel()
		running.Wait()
	})
}

// socket is one for datagrams, with what security the wire has.
func (w wire) socket(t *testing.T, certificate *tls.Config, listen bool) coap.PacketConn {
	switch {
	case w.key:
		key := func([]byte) ([]byte, error) { return []byte(sharedKey), nil }
		return dtls.New(coaptest.UDP(t), dtls.Config{PSK: key, PSKIdentity: []byte("lamp"), Listen: listen})
	case w.secure():
		return dtls.New(coaptest.UDP(t), dtls.Config{TLS: certificate, Listen: listen})
	}
	return coaptest.UDP(t)
}

// theirClient is libcoap's client with what it needs to trust the server.
func (w wire) theirClient(t *testing.T, id identity) (path string, args []string) {
	t.Helper()
	path = w.program(t, "client")
	if w.webSocket() {
		if help, _ := exec.CommandContext(t.Context(), path).CombinedOutput(); !bytes.Contains(help, []byte("coap+ws")) {
			t.Skip("this libcoap has no WebSockets")
		}
	}
	switch {
	case w.key:
		args = []string{"-k", sharedKey, "-u", "phone"}
	case w.secure():
		args = []string{"-R", id.certFile}
	}
	return path, args
}

// freePair is a port that is free, as is the next one: coap-server takes the second
// for TLS.
func freePair(t *testing.T) string {
	t.Helper()
	pair, err := ports.Hold(2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pair.Release)
	return strconv.Itoa(pair.First)
}

// pattern is n bytes of text of which no two parts are alike.
func pattern(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%d,", i)
	}
	return b.Bytes()[:n]
}

// bodySizes are the bodies that go over the wire: around one block, and as long
// as any may be; on streams also at the edges of the length forms of RFC 8323,
// section 3.2, however many bytes the options take.
func (w wire) bodySizes() []int {
	sizes := []int{1, 1023, 1024, 1025, 5000, 200_000, coap.MaxBlockBody}
	if !w.datagrams() {
		sizes = append(sizes, 10, 11, 12, 13, 14, 250, 260, 267, 268, 269, 65790, 65803, 65804, 65805)
	}
	return sizes
}
