package e2e

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/coap/dtls"
)

// endpoint runs an Endpoint on a socket of its own until the test ends; over
// DTLS if secure is given.
func endpoint(t *testing.T, cfg coap.EndpointConfig, secure *dtls.Config) *coap.Endpoint {
	t.Helper()
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var pc coap.PacketConn = udp
	if secure != nil {
		pc = dtls.New(udp, *secure)
	}
	e := coap.NewEndpoint(pc, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = e.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return e
}

// overLibcoapDatagrams runs a test against libcoap's coap-server, over UDP and
// DTLS.
func overLibcoapDatagrams(t *testing.T, f func(t *testing.T, p *coap.Peer)) {
	t.Run("udp", func(t *testing.T) {
		server := foreign(t, "coap-server-notls", "coap-server-openssl", "coap-server-gnutls")
		addr := start(t, regexp.MustCompile(`created UDP +endpoint (\S+)`), server, "-A", "127.0.0.1", "-p", freePair(t), "-v", "7")
		f(t, endpoint(t, coap.EndpointConfig{}, nil).Peer(netip.MustParseAddrPort(addr)))
	})
	t.Run("dtls", func(t *testing.T) {
		server, id := foreign(t, "coap-server-openssl", "coap-server-gnutls"), newIdentity(t)
		addr := start(t, regexp.MustCompile(`created DTLS +endpoint (\S+)`), server, "-A", "127.0.0.1", "-p", freePair(t), "-v", "7",
			"-c", id.certFile, "-j", id.keyFile, "-n")
		f(t, endpoint(t, coap.EndpointConfig{}, &dtls.Config{TLS: id.client}).Peer(netip.MustParseAddrPort(addr)))
	})
	t.Run("dtls with a shared key", func(t *testing.T) {
		server := foreign(t, "coap-server-openssl", "coap-server-gnutls")
		addr := start(t, regexp.MustCompile(`created DTLS +endpoint (\S+)`), server, "-A", "127.0.0.1", "-p", freePair(t), "-v", "7", "-k", "0123456789abcdef", "-h", "hub")
		key := func([]byte) ([]byte, error) { return []byte("0123456789abcdef"), nil }
		f(t, endpoint(t, coap.EndpointConfig{}, &dtls.Config{PSK: key, PSKIdentity: []byte("lamp")}).Peer(netip.MustParseAddrPort(addr)))
	})
}

// Our endpoint asks libcoap's server, observes it, and cancels.
func TestLibcoapServerDatagrams(t *testing.T) {
	overLibcoapDatagrams(t, func(t *testing.T, p *coap.Peer) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		ask := func(code coap.Code, path string, body string, want coap.Code) *coap.Message {
			t.Helper()
			m := &coap.Message{Code: code, Payload: []byte(body)}
			m.SetPath(path)
			resp, err := p.Do(ctx, m)
			if err != nil {
				t.Fatalf("%v %s: %v", code, path, err)
			}
			if resp.Code != want {
				t.Errorf("%v %s = %v, want %v", code, path, resp, want)
			}
			return resp
		}
		if got := ask(coap.GET, "/", "", coap.Content); !bytes.Contains(got.Payload, []byte("libcoap")) {
			t.Errorf("GET / = %q", got.Payload)
		}
		ask(coap.GET, "/no/such", "", coap.NotFound)
		ask(coap.PUT, "/example_data", "first", coap.Created)
		heard := make(chan string, 64)
		req := &coap.Message{Code: coap.GET}
		req.SetPath("/example_data")
		o, err := p.Observe(req, func(m *coap.Message, err error) {
			if err != nil {
				heard <- err.Error()
				return
			}
			heard <- string(m.Payload)
		})
		if err != nil {
			t.Fatal(err)
		}
		hear := func(want string) {
			t.Helper()
			select {
			case got := <-heard:
				if got != want {
					t.Errorf("heard %q, want %q", got, want)
				}
			case <-time.After(patience):
				t.Fatalf("heard nothing, want %q", want)
			}
		}
		hear("first")
		for i := range 12 { // more than five, so that one is Confirmable
			text := "state " + strconv.Itoa(i)
			ask(coap.PUT, "/example_data", text, coap.Changed)
			hear(text)
		}
		o.Cancel()
		ask(coap.PUT, "/example_data", "late", coap.Changed)
		ask(coap.GET, "/", "", coap.Content)
		if len(heard) > 0 {
			t.Errorf("heard %q of a cancelled observation", <-heard)
		}
		if took, err := p.Ping(ctx); err != nil || took <= 0 {
			t.Errorf("Ping = %v, %v", took, err)
		}
	})
}

// datagrams is ourServer with an observation as datagrams need it.
func datagrams() coap.Handler {
	server := new(ourServer)
	return coap.HandlerFunc(func(x *coap.Exchange) {
		if req := x.Request(); req.Options.Path() != "/count" {
			server.Serve(x)
			return
		}
		x.Go(func(ctx context.Context) {
			for i := range 4 {
				m := coap.Message{Code: coap.Content, Payload: []byte(strconv.Itoa(i))}
				m.AddUint(coap.Observe, 1)
				if x.Send(ctx, &m) != nil {
					return
				}
			}
		})
	})
}

// libcoap's client asks our endpoint, over UDP and DTLS.
func TestLibcoapClientDatagrams(t *testing.T) {
	ask := func(t *testing.T, client func(args ...string) string, base string) {
		for _, n := range []int{0, 1, 11, 12, 13, 14, 260, 1000} {
			if got := client(base + "/size/" + strconv.Itoa(n)); got != string(pattern(n)) {
				t.Errorf("%d bytes came as %d: %.40q…", n, len(got), got)
			}
		}
		if got := client(base + "/slow"); got != "done" {
			t.Errorf("GET /slow = %q", got)
		}
		if got := client("-N", base+"/slow"); got != "done" {
			t.Errorf("NON GET /slow = %q", got)
		}
		if got := client("-s", "1", base+"/count"); got != "0123" {
			t.Errorf("observed %q, want 0123", got)
		}
		client("-m", "put", "-e", "hello", base+"/store")
		if got := client("-l", "2", base+"/store"); got != "hello" { // its second datagram is lost
			t.Errorf("GET /store = %q", got)
		}
	}
	t.Run("udp", func(t *testing.T) {
		tool := foreign(t, "coap-client-notls", "coap-client-openssl", "coap-client-gnutls")
		e := endpoint(t, coap.EndpointConfig{Handler: datagrams(), Closed: true}, nil)
		ask(t, func(args ...string) string { return run(t, "", tool, args...) }, "coap://"+e.LocalAddr().String())
	})
	t.Run("dtls", func(t *testing.T) {
		tool, id := foreign(t, "coap-client-openssl", "coap-client-gnutls"), newIdentity(t)
		e := endpoint(t, coap.EndpointConfig{Handler: datagrams()}, &dtls.Config{TLS: id.server, Listen: true})
		base := "coaps://" + strings.Replace(e.LocalAddr().String(), "127.0.0.1", "localhost", 1)
		ask(t, func(args ...string) string { return run(t, "", tool, append([]string{"-R", id.certFile}, args...)...) }, base)
	})
	t.Run("dtls with a shared key", func(t *testing.T) {
		tool := foreign(t, "coap-client-openssl", "coap-client-gnutls")
		key := func([]byte) ([]byte, error) { return []byte("0123456789abcdef"), nil }
		e := endpoint(t, coap.EndpointConfig{Handler: datagrams()}, &dtls.Config{PSK: key, PSKIdentity: []byte("hub"), Listen: true})
		ask(t, func(args ...string) string {
			return run(t, "", tool, append([]string{"-k", "0123456789abcdef", "-u", "lamp"}, args...)...)
		}, "coaps://"+e.LocalAddr().String())
	})
}
