package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/coap/coaptest"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// demoHome is a running server with a simulated home.
type demoHome struct {
	HTTP    string `json:"http"`
	CoAP    string `json:"coap_tcp"`
	CoAPS   string `json:"coaps_tcp"`
	CA      string `json:"ca_file"`
	Token   string `json:"token_file"`
	profile string // the address file, which is one too
}

func startHome(t *testing.T) demoHome {
	t.Helper()
	dir := t.TempDir()
	h := demoHome{profile: filepath.Join(dir, "addrs.json")}
	start(t, regexp.MustCompile(`^ready in ([0-9.]+) s`), "farreach", "up", "--demo", "--port-offset", "auto",
		"--data", filepath.Join(dir, "data"), "--profile-dir", filepath.Join(dir, "profiles"), "--addr-file", h.profile)
	if err := json.Unmarshal(await(t, h.profile), &h); err != nil {
		t.Fatal(err)
	}
	token, err := os.ReadFile(h.Token)
	if err != nil {
		t.Fatal(err)
	}
	h.Token = strings.TrimSpace(string(token))
	commandIn(t, 0, "rule", "disable", "lamp-at-the-door", "--profile", h.profile) // the lamp is the test's alone
	return h
}

// base is how the URIs of the home's cloud begin on a wire.
func (h demoHome) base(t *testing.T, w wire) string {
	t.Helper()
	if w.webSocket() {
		return w.scheme + "://" + h.HTTP
	}
	if !w.secure() {
		return w.scheme + "://" + h.CoAP
	}
	_, port, err := net.SplitHostPort(h.CoAPS)
	if err != nil {
		t.Fatal(err)
	}
	return w.scheme + "://localhost:" + port // what the certificate is for
}

// A program that knows nothing of us, and sends its token with each request,
// finds the lamp in our cloud, reads it, switches it and watches it; and so it
// does with a device whose representation is long.
func TestLibcoapClientAtCloud(t *testing.T) {
	computes(t)
	foreign(t, "coap-client-notls", "coap-client-openssl", "coap-client-gnutls")
	h := startHome(t)
	attic := joinAttic(t, h)
	overWires(t, func(t *testing.T, w wire) {
		tool, always := w.theirClient(t, identity{certFile: h.CA})
		client := func(stdin string, args ...string) (out, complaint string) {
			t.Helper()
			return runBoth(t, stdin, tool, append(append([]string{"-v", "3"}, always...), args...)...)
		}
		good := func(stdin string, args ...string) string {
			t.Helper()
			out, complaint := client(stdin, append([]string{"-O", "65002," + h.Token}, args...)...)
			if complaint != "" {
				t.Errorf("%s: %s", strings.Join(args, " "), complaint)
			}
			return out
		}
		base := h.base(t, w)
		lamp := useLamp(t, base, good)
		useAttic(t, base+"/"+attic+"/a/blob", good)

		// Others are told no.
		for name, args := range map[string][]string{"no token": {lamp}, "a wrong token": {"-O", "65002,wrong", lamp}} {
			if out, complaint := client("", args...); out != "" || !strings.HasPrefix(complaint, "4.01") {
				t.Errorf("%s: %q, %q; want 4.01", name, out, complaint)
			}
		}
		out, complaint := client(string(pattern(20_000)), "-O", "65002,wrong", "-m", "put", "-t", "10000", "-f", "-", base+"/"+attic+"/a/blob")
		if out != "" || !strings.HasPrefix(complaint, "4.13") {
			t.Errorf("a long body of a stranger: %q, %q; want 4.13", out, complaint)
		}
	}, "coap+tcp", "coaps+tcp", "coap+ws")
}

// light is what the lamp says of itself.
type light struct {
	Value bool `json:"value"`
}

func readLight(t *testing.T, body string) light {
	t.Helper()
	var l light
	if err := oic.Decode(oic.OCF, []byte(body), &l); err != nil {
		t.Errorf("the lamp said %q: %v", body, err)
	}
	return l
}

func useLamp(t *testing.T, base string, client func(stdin string, args ...string) string) (lamp string) {
	t.Helper()
	sets, err := oic.ParseLinks(oic.OCF, []byte(client("", base+"/oic/res?rt=oic.r.switch.binary")))
	if err != nil || len(sets) != 1 || len(sets[0].Links) != 1 {
		t.Fatalf("found %+v, %v; want one lamp", sets, err)
	}
	lamp = base + sets[0].Links[0].Href
	switchLight(t, lamp, client)
	if full := client("", lamp+"?if=oic.if.baseline"); !strings.Contains(full, "oic.r.switch.binary") {
		t.Errorf("baseline interface: %q", full)
	}
	return lamp
}

// switchLight reads a lamp, turns it there and back, and watches it.
func switchLight(t *testing.T, lamp string, client func(stdin string, args ...string) string) {
	t.Helper()
	before := readLight(t, client("", lamp))
	for range 2 {
		want := light{!before.Value}
		body, err := oic.Encode(oic.OCF, want)
		if err != nil {
			t.Fatal(err)
		}
		client(string(body), "-m", "post", "-t", "10000", "-f", "-", lamp)
		if got := readLight(t, client("", lamp)); got != want {
			t.Errorf("the lamp is %+v, want %+v", got, want)
		}
		before = want
	}
	watches(t, func(args ...string) string { return client("", args...) }, lamp, 1, client("", lamp))
}

// attic is a device with one resource, /a/blob, which is what was put there. Who
// observes it hears of 20,000 bytes, and then of 30,000.
type attic struct {
	mu   sync.Mutex // guards body
	body []byte
}

func blob(b []byte) *oic.Response {
	return &oic.Response{Status: oic.Content, Format: oic.OCF, Body: b}
}

func (a *attic) Handle(_ context.Context, req *oic.Request) (*oic.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if req.Op != oic.Retrieve {
		a.body = bytes.Clone(req.Body)
		return &oic.Response{Status: oic.Changed}, nil
	}
	return blob(a.body), nil
}

func (a *attic) Observe(ctx context.Context, _ *oic.Request, each func(*oic.Response)) error {
	each(blob(pattern(20_000)))
	pause(ctx, 300*time.Millisecond)
	each(blob(pattern(30_000)))
	<-ctx.Done()
	return ctx.Err()
}

// joinAttic makes an attic a device of the home until the test ends, and
// returns its di.
func joinAttic(t *testing.T, h demoHome) string {
	t.Helper()
	const di = "0685b960-736f-46f7-bec0-9e6cbd61adc1"
	var pair struct{ Code string }
	if err := json.Unmarshal([]byte(commandIn(t, 0, "pair", "--json", "--profile", h.profile)), &pair); err != nil {
		t.Fatal(err)
	}
	registered := make(chan struct{})
	once := sync.OnceFunc(func() { close(registered) })
	c, err := cloudlink.New(cloudlink.Config{
		Servers: []string{"coap+tcp://" + h.CoAP}, Handler: &attic{body: pattern(1 << 20)}, Device: di, Name: func() string { return "attic" },
		Code: secret.String(pair.Code), Log: coaptest.Quiet,
		Links: func() []oic.Link {
			return []oic.Link{{Href: "/a/blob", Types: []string{"x.blob"}, Policy: oic.Policy{Mask: 1}}}
		},
		OnChange: func(s cloudlink.Status) {
			if s.Registered {
				once()
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = c.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	select {
	case <-registered:
	case <-time.After(patience):
		t.Fatal("the attic is not registered")
	}
	return di
}

func useAttic(t *testing.T, href string, client func(stdin string, args ...string) string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "body") // of standard input it takes 20,000 bytes
	for _, block := range [][]string{nil, {"-b", "512"}} {
		for _, n := range []int{10_000, 200_000, 1 << 20} {
			if block != nil && n > 200_000 {
				continue // it would take thousands of them
			}
			if err := os.WriteFile(file, pattern(n), 0o600); err != nil {
				t.Fatal(err)
			}
			client("", append([]string{"-m", "put", "-t", "10000", "-f", file}, append(block, href)...)...)
			if got := client("", append(block, href)...); got != string(pattern(n)) {
				t.Errorf("put %d bytes, got %d back", n, len(got))
			}
		}
	}
	watches(t, func(args ...string) string { return client("", args...) }, href, 4, string(pattern(20_000))+string(pattern(30_000)))
}

// A program that knows nothing of us, and a device of ours on its network.
func TestLibcoapClientAtDevice(t *testing.T) {
	computes(t)
	overWires(t, func(t *testing.T, w wire) {
		tool, _ := w.theirClient(t, identity{})
		port := start(t, regexp.MustCompile(`coap://HOST:(\d+)`), "farreach", "device", "--type", "lamp", "--name", "lamp", "--lan",
			"--cloud", "coap+tcp://127.0.0.1:1", "--code", "K3J7-9QWX-42MD", "--state", filepath.Join(t.TempDir(), "lamp.json"), "--profile-dir", t.TempDir())
		base := "coap://127.0.0.1:" + port
		client := func(stdin string, args ...string) string {
			t.Helper()
			out, complaint := runBoth(t, stdin, tool, append([]string{"-v", "3"}, args...)...)
			if complaint != "" {
				t.Errorf("%s: %s", strings.Join(args, " "), complaint)
			}
			return out
		}
		switchLight(t, base+"/a/light", client)
		for _, size := range []string{"16", "64", "1024"} {
			links := client("", "-b", size, base+"/oic/res")
			if _, err := oic.ParseLinks(oic.OCF, []byte(links)); err != nil || !strings.Contains(links, "/a/light") {
				t.Errorf("links in blocks of %s: %q, %v", size, links, err)
			}
		}
	}, "coap")
}
