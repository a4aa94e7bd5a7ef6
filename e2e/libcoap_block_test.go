package e2e

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"

	"github.com/farreach/farreach/coap"
)

// blockSizes are bodies around and far beyond one block.
var blockSizes = []int{1, 1023, 1024, 1025, 5000, 200_000}

// asker is *coap.Conn or *coap.Peer.
type asker interface {
	Do(ctx context.Context, req *coap.Message) (*coap.Message, error)
	Observe(req *coap.Message, each func(*coap.Message, error)) (*coap.Observation, error)
}

// runEndpoint runs an endpoint on a free port of loopback until the test ends,
// and returns its address too.
func runEndpoint(t *testing.T, cfg coap.EndpointConfig) (*coap.Endpoint, string) {
	t.Helper()
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	e := coap.NewEndpoint(pc, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = e.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return e, pc.LocalAddr().String()
}

// overBlocks runs f with libcoap's server behind UDP, and behind TCP where we
// take messages of 4,096 bytes at most, so that it must cut what it answers.
func overBlocks(t *testing.T, f func(t *testing.T, c asker)) {
	server := foreign(t, "coap-server-notls", "coap-server-openssl", "coap-server-gnutls")
	t.Run("udp", func(t *testing.T) {
		addr := start(t, regexp.MustCompile(`created UDP +endpoint (\S+)`), server, "-A", "127.0.0.1", "-p", "0", "-v", "7")
		e, _ := runEndpoint(t, coap.EndpointConfig{})
		f(t, e.Peer(netip.MustParseAddrPort(addr)))
	})
	t.Run("tcp", func(t *testing.T) {
		addr := start(t, regexp.MustCompile(`created TCP +endpoint (\S+)`), server, "-A", "127.0.0.1", "-p", "0", "-v", "7")
		c := dial(t, addr, coap.Config{MaxMessage: 4096, BlockWise: true})
		if _, err := c.Ping(t.Context()); err != nil { // and its CSM is here
			t.Fatal(err)
		}
		if !c.Peer().BlockWise {
			t.Fatalf("libcoap's settings: %+v", c.Peer())
		}
		f(t, c)
	})
}

// Bodies of any length to libcoap's server and back, and notifications of them.
func TestLibcoapServerBlockwise(t *testing.T) {
	overBlocks(t, func(t *testing.T, c asker) {
		ask := func(code coap.Code, payload []byte) *coap.Message {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			req := &coap.Message{Code: code, Payload: payload}
			req.SetPath("/example_data")
			resp, err := c.Do(ctx, req)
			if err != nil || resp.Code.Class() != 2 {
				t.Fatalf("%v of %d bytes: %v, %v", code, len(payload), resp, err)
			}
			return resp
		}
		ask(coap.PUT, []byte("first"))
		heard := make(chan []byte, 64)
		req := &coap.Message{Code: coap.GET}
		req.SetPath("/example_data")
		o, err := c.Observe(req, func(m *coap.Message, err error) {
			if err != nil {
				t.Errorf("observation ended: %v", err)
				return
			}
			heard <- bytes.Clone(m.Payload)
		})
		if err != nil {
			t.Fatal(err)
		}
		defer o.Cancel()
		<-heard
		for _, n := range blockSizes {
			body := pattern(n)
			ask(coap.PUT, body)
			if got := ask(coap.GET, nil).Payload; !bytes.Equal(got, body) {
				t.Errorf("%d bytes came back as %d: %.40q…", n, len(got), got)
			}
			if got := <-heard; !bytes.Equal(got, body) {
				t.Errorf("heard %d bytes of %d: %.40q…", len(got), n, got)
			}
		}
	})
}

// serveKnown is serveOurs for peers that are not strangers.
func serveKnown(t *testing.T, cfg coap.Config) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
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
	return ln.Addr().String()
}

// libcoap's client fetches and puts bodies of any length; over UDP in the sizes
// of block that it asks for, over TCP where we take only short messages.
func TestLibcoapClientBlockwise(t *testing.T) {
	tool := foreign(t, "coap-client-notls", "coap-client-openssl", "coap-client-gnutls")
	_, udp := runEndpoint(t, coap.EndpointConfig{Handler: new(ourServer)})
	for _, v := range []struct {
		name, base string
		args       []string
	}{
		{"udp", "coap://" + udp, nil},
		{"udp in blocks of 64", "coap://" + udp, []string{"-b", "64"}},
		{"tcp", "coap+tcp://" + serveKnown(t, coap.Config{Handler: new(ourServer), MaxMessage: 4096, BlockWise: true}), nil},
	} {
		t.Run(v.name, func(t *testing.T) {
			client := func(args ...string) string { return run(t, "", tool, append(v.args, args...)...) }
			file := filepath.Join(t.TempDir(), "body")
			for _, n := range blockSizes {
				if v.args != nil && n > 10_000 {
					continue // thousands of round trips
				}
				if got := client(v.base + "/size/" + strconv.Itoa(n)); got != string(pattern(n)) {
					t.Errorf("%d bytes came as %d: %.40q…", n, len(got), got)
				}
				if err := os.WriteFile(file, pattern(n), 0o600); err != nil {
					t.Fatal(err)
				}
				client("-m", "put", "-f", file, v.base+"/store")
				if got := client(v.base + "/store"); got != string(pattern(n)) {
					t.Errorf("put %d bytes, got %d back: %.40q…", n, len(got), got)
				}
			}
		})
	}
}
