package e2e_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/internal/localca"
	"github.com/farreach/farreach/internal/secret"
)

// child is "farreach up" in a process of its own, which can be killed at any
// moment and started again on the same data.
type child struct {
	t    testing.TB
	home string   // its HOME, and where its data are
	args []string // beside those that say where

	command string // "up", or "cloud"
	address string // at which devices find it; "": where it listens

	wrap []string // a program that runs it, with its arguments; nil: none

	cmd    *exec.Cmd
	dead   chan struct{} // closed when cmd has ended
	said   bytes.Buffer  // on standard error; to be read once the process has ended
	stderr io.Writer     // takes that instead; nil: none does

	PID   int    `json:"pid"`
	HTTP  string `json:"http"`
	HTTPS bool   `json:"https"`
	CoAP  string `json:"coap_tcp"` // "": off
	CoAPS string `json:"coaps_tcp"`
	CA    string `json:"ca_file"`
	Token string `json:"token_file"` // the token itself, once started

	client *http.Client
}

func newChild(t testing.TB, args ...string) *child {
	t.Helper()
	c := &child{t: t, home: t.TempDir(), args: args, command: "up"}
	t.Cleanup(func() {
		if c.cmd != nil {
			c.kill()
		}
		if t.Failed() {
			t.Logf("the server said: %s", &c.said)
		}
	})
	return c
}

// start starts the process and waits until it is ready.
func (c *child) start() {
	c.t.Helper()
	addrs := filepath.Join(c.home, "addr.json")
	_ = os.Remove(addrs) // that of one that was killed
	c.HTTPS, c.CoAP = false, ""
	args := append([]string{}, c.wrap...)
	args = append(args, "farreach", c.command, "--port-offset", "auto", "--addr-file", addrs, "--data", filepath.Join(c.home, "data"))
	args = append(args, c.args...)
	c.cmd = exec.Command(args[0], args[1:]...)
	c.cmd.Env = append(os.Environ(), "HOME="+c.home)
	c.cmd.Stderr = &c.said
	if c.stderr != nil {
		c.cmd.Stderr = c.stderr
	}
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.dead = make(chan struct{})
	go func() {
		_ = c.cmd.Wait() // killed
		close(c.dead)
	}()
	text := awaitFile(c.t, addrs, c.dead)
	if err := json.Unmarshal(text, c); err != nil {
		c.t.Fatal(err)
	}
	token, err := os.ReadFile(c.Token)
	if err != nil {
		c.t.Fatal(err)
	}
	c.Token = strings.TrimSpace(string(token))
	pool, err := localca.Pool(c.CA)
	if err != nil {
		c.t.Fatal(err)
	}
	c.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	c.t.Cleanup(c.client.CloseIdleConnections)
}

// awaitFile returns what is in a file as soon as it is there. dead is closed
// when that will not be.
func awaitFile(t testing.TB, name string, dead <-chan struct{}) []byte {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if text, err := os.ReadFile(name); err == nil {
			return text
		}
		select {
		case <-tick.C:
		case <-dead:
			t.Fatalf("the process that makes %s has ended", name)
		case <-limit.C:
			t.Fatalf("%s is not there after %v", name, patience)
		}
	}
}

// kill is kill -9. It returns when the process is gone.
func (c *child) kill() {
	if len(c.wrap) > 0 && c.PID > 0 {
		if p, err := os.FindProcess(c.PID); err == nil {
			_ = p.Kill() // the process itself; what runs it ends with it
		}
	} else {
		_ = c.cmd.Process.Kill() // may be gone already
	}
	<-c.dead
}

// stop ends the process as an operator does, and returns when it is gone.
func (c *child) stop() {
	c.t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		c.t.Fatal(err)
	}
	select {
	case <-c.dead:
	case <-time.After(patience):
		c.t.Fatal("the server does not stop")
	}
}

// farreach runs another command, as the user who runs the server, and returns
// what it writes.
func (c *child) farreach(args ...string) ([]byte, error) {
	cmd := exec.CommandContext(c.t.Context(), "farreach", args...)
	cmd.Env = append(os.Environ(), "HOME="+c.home)
	return cmd.Output()
}

// uri is the way in for devices: plain where that is on.
func (c *child) uri() string {
	if c.CoAP != "" {
		return "coap+tcp://" + c.CoAP
	}
	if c.address != "" {
		_, port, _ := net.SplitHostPort(c.CoAPS)
		return "coaps+tcp://" + net.JoinHostPort(c.address, port)
	}
	return "coaps+tcp://" + c.CoAPS
}

// call does a request of the HTTP API as the first account: in and out are
// JSON documents, or nil.
func (c *child) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	base := "http://" + c.HTTP
	if c.HTTPS {
		base = "https://" + c.HTTP
	}
	req, err := http.NewRequestWithContext(ctx, method, base+"/api/v1"+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.Token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return &httpError{resp.StatusCode, string(b)}
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(b, out)
}

// httpError is an answer that is no success.
type httpError struct {
	status int
	body   string
}

func (e *httpError) Error() string { return fmt.Sprint("status ", e.status, ": ", e.body) }

// code makes a pairing code.
func (c *child) code(ctx context.Context) (secret.String, error) {
	var doc struct{ Code string }
	err := c.call(ctx, http.MethodPost, "/pairing-codes", struct{}{}, &doc)
	return secret.String(doc.Code), err
}

// link connects to the server; the test's end closes it.
func (c *child) link() *cloudlink.Link {
	c.t.Helper()
	l, err := cloudlink.Connect(c.t.Context(), cloudlink.ServerInfo{URI: "coap+tcp://" + c.CoAP, Log: quiet})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { l.Close() })
	return l
}

// eachCount calls each with the events of the devices that count, oldest first.
func (c *child) eachCount(each func(di string, n int64)) {
	c.t.Helper()
	for next, more := "", true; more; more = next != "" {
		var doc struct {
			Events []struct {
				DI, Href string
				Rep      json.RawMessage
			}
			Next string
		}
		if err := c.call(c.t.Context(), http.MethodGet, "/events?order=asc&limit=1000&cursor="+next, nil, &doc); err != nil {
			c.t.Fatal(err)
		}
		for _, e := range doc.Events {
			var rep struct{ N int64 }
			if e.Href != counters[0].Href {
				continue
			}
			if err := json.Unmarshal(e.Rep, &rep); err != nil {
				c.t.Fatal(err)
			}
			each(e.DI, rep.N)
		}
		next = doc.Next
	}
}
