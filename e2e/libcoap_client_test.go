package e2e_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/coap"
)

// library is a server of ours for libcoap's client.
//
//	/size/N   GET: N bytes
//	/store    PUT, GET: what was put
//	/count    GET with Observe: 0, 1, 2, 3
//	/book     GET with Observe: 20,000 bytes, and then 30,000
//	/slow     GET: answered from another goroutine, a little later
type library struct {
	mu     sync.Mutex // guards stored
	stored []byte
}

func (l *library) Serve(x *coap.Exchange) {
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
		l.mu.Lock()
		l.stored = bytes.Clone(req.Payload)
		l.mu.Unlock()
		resp.Code = coap.Changed
	case req.Code == coap.GET && path == "/store":
		l.mu.Lock()
		resp.Code, resp.Payload = coap.Content, l.stored
		l.mu.Unlock()
	case req.Code == coap.GET && path == "/count":
		x.Go(func(ctx context.Context) { tell(ctx, x, 0, []byte("0"), []byte("1"), []byte("2"), []byte("3")) })
		return
	case req.Code == coap.GET && path == "/book":
		x.Go(func(ctx context.Context) { tell(ctx, x, 300*time.Millisecond, pattern(20_000), pattern(30_000)) })
		return
	case req.Code == coap.GET && path == "/slow":
		x.Go(func(ctx context.Context) {
			pause(ctx, 50*time.Millisecond)
			_ = x.Reply(&coap.Message{Code: coap.Content, Payload: []byte("done")})
		})
		return
	}
	_ = x.Reply(&resp)
}

// tell answers with the first state, and notifies of the others if that is what
// was asked.
func tell(ctx context.Context, x *coap.Exchange, every time.Duration, states ...[]byte) {
	if n, ok := x.Request().Options.Uint(coap.Observe); !ok || n != 0 {
		_ = x.Reply(&coap.Message{Code: coap.Content, Payload: states[0]})
		return
	}
	for i, state := range states {
		if i > 0 {
			pause(ctx, every)
		}
		m := coap.Message{Code: coap.Content, Payload: state}
		m.AddUint(coap.Observe, uint32(i+1))
		if x.Send(ctx, &m) != nil {
			return
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// libcoap's client and our server.
func TestLibcoapClient(t *testing.T) {
	overWires(t, func(t *testing.T, w wire) {
		computes(t)
		id := newIdentity(t)
		tool, always := w.theirClient(t, id)
		asks := func(base string) func(args ...string) string {
			return func(args ...string) string {
				t.Helper()
				last := len(args) - 1
				args[last] = base + args[last]
				return run(t, "", tool, append(append([]string{}, always...), args...)...)
			}
		}
		client := asks(w.ourServer(t, id, new(library), coap.Config{BlockWise: true}))
		t.Run("requests", func(t *testing.T) {
			if got := client("/slow"); got != "done" {
				t.Errorf("GET /slow = %q", got)
			}
			client("-m", "put", "-e", "hello", "/store")
			if got := client("/store"); got != "hello" {
				t.Errorf("GET /store = %q", got)
			}
			if got := client("/size/0"); got != "" {
				t.Errorf("GET /size/0 = %q", got)
			}
			if w.datagrams() {
				if got := client("-N", "/slow"); got != "done" {
					t.Errorf("NON GET /slow = %q", got)
				}
			}
			if w.scheme == "coap" {
				if got := client("-l", "2", "/store"); got != "hello" { // its second datagram is lost
					t.Errorf("GET /store = %q", got)
				}
			}
		})
		t.Run("bodies", func(t *testing.T) { bodies(t, client, w.bodySizes()) })
		t.Run("observe", func(t *testing.T) {
			watches(t, client, "/count", 1, "0123")
			watches(t, client, "/book", 5, string(pattern(20_000))+string(pattern(30_000)))
		})
		if w.datagrams() {
			t.Run("small blocks", func(t *testing.T) {
				bodies(t, func(args ...string) string { return client(append([]string{"-b", "64"}, args...)...) }, []int{63, 64, 65, 5000})
			})
			return
		}
		t.Run("short messages", func(t *testing.T) { // so that it must cut what it puts
			bodies(t, asks(w.ourServer(t, id, new(library), coap.Config{BlockWise: true, MaxMessage: 4096})), []int{1024, 1025, 5000, 200_000})
		})
	})
}

// watches has libcoap's client watch what tells want. It looks for so many seconds,
// and longer when the machine was too busy for that.
func watches(t *testing.T, client func(args ...string) string, href string, seconds int, want string) {
	t.Helper()
	got := ""
	for _, longer := range []int{1, 4, 10} {
		if got = client("-s", strconv.Itoa(seconds*longer), href); got == want {
			return
		}
	}
	t.Errorf("observed %d bytes of %s, %.40q, want %d", len(got), href, got, len(want))
}

// bodies gets bodies of these sizes, and puts them and gets them back.
func bodies(t *testing.T, client func(args ...string) string, sizes []int) {
	file := filepath.Join(t.TempDir(), "body")
	for _, n := range sizes {
		if got := client("/size/" + strconv.Itoa(n)); got != string(pattern(n)) {
			t.Errorf("%d bytes came as %d: %.40q…", n, len(got), got)
		}
		if n < 1000 && n%10 > 0 {
			continue // one of a few neighbours will do
		}
		if err := os.WriteFile(file, pattern(n), 0o600); err != nil {
			t.Fatal(err)
		}
		client("-m", "put", "-f", file, "/store")
		if got := client("/store"); got != string(pattern(n)) {
			t.Errorf("put %d bytes, got %d back: %.40q…", n, len(got), got)
		}
	}
}
