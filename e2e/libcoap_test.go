package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/coap"
)

// Bodies whose options, marker and payload are at the edges of the length forms
// of RFC 8323, section 3.2, however many bytes the options take, and one that
// takes many reads.
var bodySizes = []int{0, 1, 10, 11, 12, 13, 14, 250, 260, 267, 268, 269, 65790, 65803, 65804, 65805, 200000}

// overLibcoap runs a test against libcoap's coap-server, over TCP and TLS.
func overLibcoap(t *testing.T, f func(t *testing.T, c *coap.Conn)) {
	t.Run("tcp", func(t *testing.T) {
		server := foreign(t, "coap-server-notls", "coap-server-openssl", "coap-server-gnutls")
		addr := start(t, regexp.MustCompile(`created TCP +endpoint (\S+)`), server, "-A", "127.0.0.1", "-p", "0", "-v", "7")
		f(t, dial(t, addr, coap.Config{}))
	})
	t.Run("tls", func(t *testing.T) {
		server, id := foreign(t, "coap-server-openssl", "coap-server-gnutls"), newIdentity(t)
		addr := start(t, regexp.MustCompile(`created TLS +endpoint (\S+)`), server, "-A", "127.0.0.1", "-p", freePair(t), "-v", "7",
			"-c", id.certFile, "-j", id.keyFile, "-n")
		f(t, dial(t, addr, coap.Config{TLS: id.client}))
	})
}

// freePair is a port that is free, as is the next one: coap-server takes the
// second for TLS.
func freePair(t *testing.T) string {
	t.Helper()
	for range 100 {
		first, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := first.Addr().(*net.TCPAddr).Port
		second, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+1)))
		first.Close()
		if err == nil {
			second.Close()
			return strconv.Itoa(port)
		}
	}
	t.Fatal("no two neighbouring ports are free")
	return ""
}

// dial runs a connection to addr until the test ends.
func dial(t *testing.T, addr string, cfg coap.Config) *coap.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c := coap.Client(nc, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = c.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return c
}

// do sends a request, and fails the test if the answer has not the code want.
func do(t *testing.T, c *coap.Conn, code coap.Code, path string, payload []byte, want coap.Code) *coap.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req := &coap.Message{Code: code, Payload: payload}
	req.SetPath(path)
	resp, err := c.Do(ctx, req)
	if err != nil {
		t.Fatalf("%v %s: %v", code, path, err)
	}
	if resp.Code != want {
		t.Fatalf("%v %s: %v %q, want %v", code, path, resp.Code, resp.Payload, want)
	}
	return resp
}

func TestLibcoapServer(t *testing.T) {
	overLibcoap(t, func(t *testing.T, c *coap.Conn) {
		if got := do(t, c, coap.GET, "/", nil, coap.Content); !bytes.Contains(got.Payload, []byte("libcoap")) {
			t.Errorf("GET / = %q", got.Payload)
		}
		got := do(t, c, coap.GET, "/.well-known/core", nil, coap.Content)
		if format, ok := got.Options.Uint(coap.ContentFormat); !ok || format != 40 || !bytes.Contains(got.Payload, []byte("</time>")) {
			t.Errorf("GET /.well-known/core = format %d, %q", format, got.Payload)
		}
		do(t, c, coap.GET, "/no/such", nil, coap.NotFound)

		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if rtt, err := c.Ping(ctx); err != nil || rtt <= 0 {
			t.Errorf("Ping = %v, %v", rtt, err)
		}
		if p := c.Peer(); !p.SentCSM || !p.BlockWise || p.MaxMessage < 1<<20 {
			t.Errorf("peer settings %+v", p)
		}
	})
}

// Whatever we send in any length form, libcoap reads and gives back.
func TestLibcoapServerBodies(t *testing.T) {
	overLibcoap(t, func(t *testing.T, c *coap.Conn) {
		do(t, c, coap.PUT, "/example_data", []byte("first"), coap.Created)
		for _, n := range bodySizes {
			if n == 0 {
				continue // a PUT without payload is refused
			}
			body := pattern(n)
			do(t, c, coap.PUT, "/example_data", body, coap.Changed)
			if got := do(t, c, coap.GET, "/example_data", nil, coap.Content).Payload; !bytes.Equal(got, body) {
				t.Errorf("%d bytes came back as %d: %.40q…", n, len(got), got)
			}
		}
	})
}

// Notifications come until they are cancelled, and other requests meanwhile.
func TestLibcoapServerObserve(t *testing.T) {
	overLibcoap(t, func(t *testing.T, c *coap.Conn) {
		heard := make(chan string, 64)
		req := &coap.Message{Code: coap.GET}
		req.SetPath("/example_data")
		o, err := c.Observe(req, func(m *coap.Message, err error) {
			if err != nil {
				heard <- err.Error()
				return
			}
			heard <- string(m.Payload)
		})
		if err != nil {
			t.Fatal(err)
		}
		hear := func() string {
			select {
			case s := <-heard:
				return s
			case <-time.After(patience):
				t.Fatal("heard nothing")
			}
			return ""
		}
		hear() // what was there before
		for _, text := range []string{"one", "two", "three"} {
			do(t, c, coap.PUT, "/example_data", []byte(text), coap.Changed)
			if got := hear(); got != text {
				t.Errorf("heard %.40q, want %q", got, text)
			}
		}
		o.Cancel()
		do(t, c, coap.PUT, "/example_data", []byte("four"), coap.Changed)
		do(t, c, coap.GET, "/time", nil, coap.Content)
		if len(heard) > 0 {
			t.Errorf("heard %q of a cancelled observation", <-heard)
		}
	})
}

// pattern is n bytes of text of which no two parts are alike.
func pattern(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%d,", i)
	}
	return b.Bytes()[:n]
}

// ourServer is a server of ours for libcoap's coap-client.
//
//	/size/N   GET: N bytes
//	/store    PUT, GET: what was put
//	/count    GET with Observe: 0, 1, 2, 3
//	/slow     GET: answered from another goroutine, a little later
type ourServer struct {
	mu     sync.Mutex // guards stored
	stored []byte
}

func (s *ourServer) Serve(x *coap.Exchange) {
	req := x.Request()
	resp := coap.Message{Code: coap.NotFound}
	switch path := req.Options.Path(); {
	case req.Code == coap.GET && strings.HasPrefix(path, "/size/"):
		n, err := strconv.Atoi(strings.TrimPrefix(path, "/size/"))
		if err != nil {
			resp.Code = coap.BadRequest
			break
		}
		resp.Code, resp.Payload = coap.Content, pattern(n)
	case req.Code == coap.PUT && path == "/store":
		s.mu.Lock()
		s.stored = bytes.Clone(req.Payload)
		s.mu.Unlock()
		resp.Code = coap.Changed
	case req.Code == coap.GET && path == "/store":
		s.mu.Lock()
		resp.Code, resp.Payload = coap.Content, s.stored
		s.mu.Unlock()
	case req.Code == coap.GET && path == "/count":
		x.Go(func(ctx context.Context) { count(ctx, x) })
		return
	case req.Code == coap.GET && path == "/slow":
		x.Go(func(ctx context.Context) {
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
			_ = x.Reply(&coap.Message{Code: coap.Content, Payload: []byte("done")})
		})
		return
	}
	_ = x.Reply(&resp)
}

// count answers with 0 and notifies of 1, 2 and 3 if that is what was asked.
func count(ctx context.Context, x *coap.Exchange) {
	resp := coap.Message{Code: coap.Content, Payload: []byte("0")}
	if n, ok := x.Request().Options.Uint(coap.Observe); !ok || n != 0 {
		_ = x.Reply(&resp)
		return
	}
	for i := range uint32(4) {
		m := coap.Message{Code: coap.Content, Token: x.Request().Token, Payload: []byte(strconv.Itoa(int(i)))}
		m.AddUint(coap.Observe, i+1)
		_ = x.Conn().Send(ctx, &m)
	}
}

// serveOurs serves until the test ends, and returns host and port.
func serveOurs(t *testing.T, cfg coap.Config) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		_ = coap.Serve(ctx, ln, func(nc net.Conn) *coap.Conn { return coap.Server(nc, cfg) })
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return ln.Addr().String()
}

// overOurs runs a test with coap-client and the beginning of its URIs, over TCP
// and TLS.
func overOurs(t *testing.T, f func(t *testing.T, client func(stdin string, args ...string) string, base string)) {
	t.Run("tcp", func(t *testing.T) {
		tool := foreign(t, "coap-client-notls", "coap-client-openssl", "coap-client-gnutls")
		base := "coap+tcp://" + serveOurs(t, coap.Config{Handler: new(ourServer)})
		f(t, func(stdin string, args ...string) string { return run(t, stdin, tool, args...) }, base)
	})
	t.Run("tls", func(t *testing.T) {
		tool, id := foreign(t, "coap-client-openssl", "coap-client-gnutls"), newIdentity(t)
		base := "coaps+tcp://" + serveOurs(t, coap.Config{Handler: new(ourServer), TLS: id.server})
		base = strings.Replace(base, "127.0.0.1", "localhost", 1)
		f(t, func(stdin string, args ...string) string {
			return run(t, stdin, tool, append([]string{"-R", id.certFile}, args...)...)
		}, base)
	})
}

func TestLibcoapClient(t *testing.T) {
	overOurs(t, func(t *testing.T, client func(string, ...string) string, base string) {
		for _, n := range bodySizes {
			if got := client("", base+"/size/"+strconv.Itoa(n)); got != string(pattern(n)) {
				t.Errorf("%d bytes came as %d: %.40q…", n, len(got), got)
			}
		}
		if got := client("", base+"/slow"); got != "done" {
			t.Errorf("GET /slow = %q", got)
		}
		if got := client("", "-s", "1", base+"/count"); got != "0123" {
			t.Errorf("observed %q, want 0123", got)
		}
		// A body from a file, and an empty segment and an encoded slash in the path.
		file := filepath.Join(t.TempDir(), "body")
		for _, n := range []int{1, 11, 260, 65804, 200000} {
			body := pattern(n)
			if err := os.WriteFile(file, body, 0o600); err != nil {
				t.Fatal(err)
			}
			client("", "-m", "put", "-f", file, base+"/store")
			if got := client("", base+"/store"); got != string(body) {
				t.Errorf("put %d bytes, got %d back: %.40q…", n, len(got), got)
			}
		}
	})
}
