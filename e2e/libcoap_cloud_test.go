package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/farreach/farreach/oic"
)

// farreach builds the binary for this test.
func farreach(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "farreach")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "github.com/farreach/farreach/cmd/farreach")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// home is a running server with a simulated home.
type home struct {
	CoAP  string `json:"coap_tcp"`
	CoAPS string `json:"coaps_tcp"`
	CA    string `json:"ca_file"`
	Token string `json:"token_file"`
}

func startHome(t *testing.T) home {
	t.Helper()
	dir := t.TempDir()
	addrs := filepath.Join(dir, "addrs.json")
	start(t, regexp.MustCompile(`^ready in ([0-9.]+) s`), farreach(t), "up", "--demo", "--port-offset", "auto",
		"--data", filepath.Join(dir, "data"), "--profile-dir", filepath.Join(dir, "profiles"), "--addr-file", addrs)
	var h home
	if err := json.Unmarshal(await(t, addrs), &h); err != nil {
		t.Fatal(err)
	}
	token, err := os.ReadFile(h.Token)
	if err != nil {
		t.Fatal(err)
	}
	h.Token = strings.TrimSpace(string(token))
	return h
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

// A program that knows nothing of us, and sends its token with each request,
// finds the lamp in our cloud, reads it, switches it and watches it.
func TestLibcoapClientAtCloud(t *testing.T) {
	foreign(t, "coap-client-notls", "coap-client-openssl", "coap-client-gnutls")
	h := startHome(t)
	t.Run("tcp", func(t *testing.T) {
		tool := foreign(t, "coap-client-notls", "coap-client-openssl", "coap-client-gnutls")
		useLamp(t, h.Token, tool, "coap+tcp://"+h.CoAP)
	})
	t.Run("tls", func(t *testing.T) {
		_, port, err := net.SplitHostPort(h.CoAPS)
		if err != nil {
			t.Fatal(err)
		}
		tool := foreign(t, "coap-client-openssl", "coap-client-gnutls")
		useLamp(t, h.Token, tool, "coaps+tcp://localhost:"+port, "-R", h.CA)
	})
}

func useLamp(t *testing.T, token, tool, base string, always ...string) {
	client := func(stdin string, args ...string) string {
		t.Helper()
		out, complaint := runBoth(t, stdin, tool, append(append([]string{"-v", "3", "-O", "65002," + token}, always...), args...)...)
		if complaint != "" {
			t.Errorf("%s: %s", strings.Join(args, " "), complaint)
		}
		return out
	}
	sets, err := oic.ParseLinks(oic.OCF, []byte(client("", base+"/oic/res?rt=oic.r.switch.binary")))
	if err != nil || len(sets) != 1 || len(sets[0].Links) != 1 {
		t.Fatalf("found %+v, %v; want one lamp", sets, err)
	}
	lamp := base + sets[0].Links[0].Href

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
	if got := readLight(t, client("", "-s", "1", lamp)); got != before {
		t.Errorf("observed %+v, want %+v", got, before)
	}
	full := client("", lamp+"?if=oic.if.baseline")
	if !strings.Contains(full, "oic.r.switch.binary") {
		t.Errorf("baseline interface: %q", full)
	}

	// Others are told no.
	for name, args := range map[string][]string{"no token": nil, "a wrong token": {"-O", "65002,wrong"}} {
		if out, complaint := runBoth(t, "", tool, append(append(args, always...), lamp)...); out != "" || !strings.HasPrefix(complaint, "4.01") {
			t.Errorf("%s: %q, %q; want 4.01", name, out, complaint)
		}
	}
}

// The command reads, writes and watches a device that has never heard of OCF or
// of us, without a server between.
func TestGetFromLibcoapServer(t *testing.T) {
	server := foreign(t, "coap-server-notls", "coap-server-openssl", "coap-server-gnutls")
	addr := start(t, regexp.MustCompile(`created TCP +endpoint (\S+)`), server, "-A", "127.0.0.1", "-p", "0", "-v", "7")
	binary, base := farreach(t), "coap+tcp://"+addr
	command := func(want int, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), binary, append(args, "--profile-dir", t.TempDir())...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, _ := cmd.Output()
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Errorf("farreach %s: exit %d, want %d: %s", strings.Join(args, " "), got, want, stderr.String())
		}
		return string(out)
	}
	if got := command(0, "get", base+"/.well-known/core"); !strings.Contains(got, "</time>") {
		t.Errorf("GET /.well-known/core = %q", got)
	}
	command(9, "get", base+"/no/such")
	command(0, "put", base+"/example_data", `"hello"`)
	if got := command(0, "get", base+"/example_data"); !strings.Contains(got, "hello") {
		t.Errorf("GET /example_data = %q", got)
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	command(6, "get", fmt.Sprintf("coap+tcp://%s/time", closed.Addr()))
}
