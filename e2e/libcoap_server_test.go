package e2e_test

import (
	"bytes"
	"cmp"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/coap"
)

// do sends a request, and fails the test if the answer has not the code want.
func (a asker) do(t *testing.T, code coap.Code, path string, payload []byte, want coap.Code) *coap.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req := &coap.Message{Code: code, Payload: payload}
	req.SetPath(path)
	resp, err := a.Do(ctx, req)
	if err != nil {
		t.Fatalf("%v %s: %v", code, path, err)
	}
	if resp.Code != want {
		t.Fatalf("%v %s: %v %.40q, want %v", code, path, resp.Code, resp.Payload, want)
	}
	return resp
}

// Our client and libcoap's server.
func TestLibcoapServer(t *testing.T) {
	computes(t)
	overWires(t, func(t *testing.T, w wire) {
		id := newIdentity(t)
		addr := w.theirServer(t, id)
		client := w.ourClient(t, addr, id, coap.Config{BlockWise: true})
		t.Run("requests", func(t *testing.T) { client.requests(t) })
		t.Run("bodies", func(t *testing.T) { client.bodies(t, w.bodySizes()) })
		t.Run("observe", func(t *testing.T) { client.observes(t) })
		if client.conn != nil {
			t.Run("short messages", func(t *testing.T) { // so that it must cut what it answers
				short := w.ourClient(t, addr, id, coap.Config{BlockWise: true, MaxMessage: 4096})
				short.bodies(t, []int{1024, 1025, 5000, 200_000})
				short.observes(t)
			})
			if err := client.conn.Shutdown(t.Context()); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
		}
	}, "coap", "coaps", "coap+tcp", "coaps+tcp")
}

func (a asker) requests(t *testing.T) {
	if got := a.do(t, coap.GET, "/", nil, coap.Content); !bytes.Contains(got.Payload, []byte("libcoap")) {
		t.Errorf("GET / = %q", got.Payload)
	}
	got := a.do(t, coap.GET, "/.well-known/core", nil, coap.Content)
	if format, ok := got.Options.Uint(coap.ContentFormat); !ok || format != 40 || !bytes.Contains(got.Payload, []byte("</time>")) {
		t.Errorf("GET /.well-known/core = format %d, %q", format, got.Payload)
	}
	a.do(t, coap.GET, "/no/such", nil, coap.NotFound)
	a.do(t, coap.POST, "/example_data", []byte("x"), coap.MethodNotAllowed)
	a.do(t, coap.PUT, "/example_data", []byte("first"), coap.Created)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if rtt, err := a.ping(ctx); err != nil || rtt <= 0 {
		t.Errorf("Ping = %v, %v", rtt, err)
	}
	if a.conn == nil {
		return
	}
	if p := a.conn.Peer(); !p.SentCSM || !p.BlockWise || p.MaxMessage < 1<<20 {
		t.Errorf("peer settings %+v", p)
	}
}

// Whatever we send, in any length form or in blocks, comes back.
func (a asker) bodies(t *testing.T, sizes []int) {
	for _, n := range sizes {
		body := pattern(n)
		a.do(t, coap.PUT, "/example_data", body, coap.Changed)
		if got := a.do(t, coap.GET, "/example_data", nil, coap.Content).Payload; !bytes.Equal(got, body) {
			t.Errorf("%d bytes came back as %d: %.40q…", n, len(got), got)
		}
	}
}

// Notifications come until they are cancelled, long ones and other requests
// meanwhile. There are more than five, so that on datagrams one is Confirmable. The
// longest comes last: on streams libcoap keeps back what follows one in blocks.
func (a asker) observes(t *testing.T) {
	a.do(t, coap.PUT, "/example_data", []byte("before"), coap.Changed)
	heard := make(chan string, 64)
	req := &coap.Message{Code: coap.GET}
	req.SetPath("/example_data")
	o, err := a.Observe(req, func(m *coap.Message, err error) {
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
				t.Errorf("heard %d bytes, %.40q, want %d, %.40q", len(got), got, len(want), want)
			}
		case <-time.After(patience):
			t.Fatalf("heard nothing, want %.40q", want)
		}
	}
	hear("before")
	for _, n := range []int{1, 2, 3, 4, 5, 6, 7, 1025, 3, 20_000} {
		a.do(t, coap.PUT, "/example_data", pattern(n), coap.Changed)
		hear(string(pattern(n)))
	}
	o.Cancel()
	a.do(t, coap.PUT, "/example_data", []byte("late"), coap.Changed)
	a.do(t, coap.GET, "/", nil, coap.Content)
	if len(heard) > 0 {
		t.Errorf("heard %q of a cancelled observation", <-heard)
	}
}

// Our commands and a device that has never heard of OCF or of us.
func TestLibcoapServerCommands(t *testing.T) {
	computes(t)
	keyFile := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(keyFile, []byte(sharedKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	overWires(t, func(t *testing.T, w wire) {
		id := newIdentity(t)
		base := w.scheme + "://" + w.theirServer(t, id)
		var always []string
		switch {
		case w.key:
			always = []string{"--psk-file", keyFile, "--psk-identity", "phone"}
		case w.secure():
			always = []string{"--ca-file", id.certFile}
		}
		command := func(want int, args ...string) string { return commandIn(t, want, append(args, always...)...) }
		if got := command(0, "get", base+"/.well-known/core"); !strings.Contains(got, "</time>") {
			t.Errorf("GET /.well-known/core = %q", got)
		}
		command(9, "get", base+"/no/such")
		command(0, "put", base+"/example_data", `"hello"`)
		if got := command(0, "get", base+"/example_data"); !strings.Contains(got, "hello") {
			t.Errorf("GET /example_data = %q", got)
		}
		file := filepath.Join(t.TempDir(), "long.json")
		long := string(pattern(min(60_000, cmp.Or(w.most, 60_000)-1000)))
		if err := os.WriteFile(file, []byte(`"`+long+`"`), 0o600); err != nil {
			t.Fatal(err)
		}
		command(0, "put", base+"/example_data", "@"+file)
		if got := command(0, "observe", base+"/example_data", "--count", "1"); !strings.Contains(got, long) {
			t.Errorf("observed %d bytes", len(got))
		}
		if got := command(0, "ping", base, "-c", "1"); !strings.Contains(got, "\t1\t1\t") {
			t.Errorf("ping: %q", got)
		}
		if w.secure() && !(w.key && w.tls == "gnutls") { // which is silent where it could refuse
			commandIn(t, 5, "get", base+"/")
		}
	}, "coap", "coaps", "coap+tcp", "coaps+tcp")
	t.Run("nobody", func(t *testing.T) {
		commandIn(t, 6, "get", "coap+tcp://127.0.0.1:1/time")
	})
}

// commandIn runs our program with profiles of its own, and returns what it
// writes.
func commandIn(t *testing.T, want int, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "farreach", append(args, "--profile-dir", t.TempDir())...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, _ := cmd.Output()
	if got := cmd.ProcessState.ExitCode(); got != want {
		t.Errorf("farreach %s: exit %s, want %d: %s", strings.Join(args, " "), strconv.Itoa(got), want, stderr.String())
	}
	return string(out)
}
