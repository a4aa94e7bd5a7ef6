package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/coap/coaptest"
	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmppd/xmppdtest"
)

// porch runs a lamp that has an owner and no account, until stop is called, and
// returns where it answers him.
func porch(t *testing.T, dir string, srv *xmppdtest.Server) (target string, stop func()) {
	t.Helper()
	at := make(chan string, 2)
	m := member{
		kind: "lamp", name: "porch", lan: true, state: cloudlink.FileState(filepath.Join(dir, "porch.json")),
		owner: ownerKey{Identity: []byte("owner"), Key: "0123456789abcdef"}, log: coaptest.Quiet,
		changed: func(cloudlink.Status) {},
		trust:   func([]string) (*tls.Config, error) { return nil, nil },
		remote:  &remote{trust: func(jid.JID) (*tls.Config, error) { return trusting(srv.Roots), nil }},
		listening: func(scheme string, port uint16) {
			if scheme == "coaps" {
				at <- fmt.Sprintf("coaps://127.0.0.1:%d", port)
			}
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.run(ctx) }()
	stop = func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the lamp ended: %v", err)
		}
	}
	return <-at, stop
}

// E-01, RA-028, RA-029, RA-031, A-23, on CoAP, DTLS and an XMPP server: a person gives a
// device its account, is told what is wrong with it, and sees what became of
// it. A restart changes nothing.
func TestProvisionedOverTheNetwork(t *testing.T) {
	srv := xmppdtest.Run(t, xmppdtest.Config{})
	dir := t.TempDir()
	file := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	key, right, wrong := file("key", "0123456789abcdef\n"), file("right", xmppdtest.Password.Reveal()), file("wrong", "wrong")
	_, port, err := net.SplitHostPort(srv.Addr)
	if err != nil {
		t.Fatal(err)
	}
	at, stop := porch(t, filepath.Join(dir, "porch"), srv)
	provision := func(password, port string) result {
		return farreach(t, "ra provision "+at+" --psk-file "+key+" --jid ann@home.example --password-file "+password+" --address 127.0.0.1 --port "+port+" --for 10s --json")
	}
	show := func() result { return farreach(t, "ra show "+at+" --psk-file "+key+" --json") }
	for _, c := range []struct {
		name   string
		run    func() result
		code   exitCode
		status string
		text   string // on standard error
	}{
		{"before", show, exitDone, "NotInitialized", ""},
		{"wrong password", func() result { return provision(wrong, port) }, exitNotAllowed, "Error", "auth-failed: not-authorized; try: another --jid or --password-file"},
		{"wrong port", func() result { return provision(right, "1") }, exitNoConnect, "Error", "host-unreachable: connection refused; try: another --address or --port"},
		{"all right", func() result { return provision(right, port) }, exitDone, "Connected", "told of ann@home.example at 127.0.0.1:" + port},
		{"after", show, exitDone, "Connected", ""},
	} {
		r := c.run()
		var doc raDoc
		if err := json.Unmarshal([]byte(r.out), &doc); err != nil {
			t.Fatalf("%s: %v: %+v", c.name, err, r)
		}
		if r.code != c.code || doc.Status != c.status || !strings.Contains(r.err, c.text) || strings.Contains(r.out+r.err, "wrong\n") {
			t.Errorf("%s: exit %d, %+v, %s", c.name, r.code, doc, r.err)
		}
		if c.name == "after" && (doc.Account != "ann@home.example" || doc.Address != "127.0.0.1" || fmt.Sprint(doc.Port) != port || doc.Reason != "") {
			t.Errorf("%+v", doc)
		}
	}
	stop()
	at, stop = porch(t, filepath.Join(dir, "porch"), srv)
	defer stop()
	for end := time.Now().Add(time.Minute); !strings.Contains(show().out, `"status":"Connected"`); {
		if time.Now().After(end) {
			t.Fatalf("after a restart: %+v", show())
		}
	}
	if r := farreach(t, "ra show "+at+" --psk-file "+key); !strings.HasPrefix(r.out, "ann@home.example\t127.0.0.1\t"+port+"\tConnected\t") {
		t.Errorf("in a pipe: %+v", r)
	}
}

// What was set survives as it was, and nothing of it is for others.
func TestMemoryOfXMPP(t *testing.T) {
	state := cloudlink.FileState(filepath.Join(t.TempDir(), "porch.json"))
	ann, err := jid.Parse("ann@home.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []rae.Settings{
		{Account: ann, Password: "pässword"},
		{Server: rae.Server{Address: "a.example", Port: 5222}},
		{Account: ann, Password: "p", Server: rae.Server{Address: "::1", Port: 1}, Before: rae.Server{Address: "b.example"}},
		{},
	} {
		m, err := remember(state)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.keepXMPP(want); err != nil {
			t.Fatal(err)
		}
		if m, err = remember(state); err != nil {
			t.Fatal(err)
		}
		if got, err := m.xmpp(); got != want || err != nil {
			t.Errorf("%+v came back as %+v, %v", want, got, err)
		}
		if info, err := os.Stat(m.file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	}
}

func TestParseServer(t *testing.T) {
	for addr, want := range map[string]string{
		"a.example:5222":         "a.example:5222",
		"[::1]:443":              "[::1]:443",
		"wss://a.example/xmpp":   "a.example:443",
		"wss://[::1]:8443/xmpp":  "[::1]:8443",
		"a.example":              "",
		":5222":                  "",
		"a:0":                    "",
		"a:65536":                "",
		"https://a.example/xmpp": "",
	} {
		s, err := parseServer(addr)
		if s.String() != want || (err == nil) != (want != "") {
			t.Errorf("%s: %s, %v; want %s", addr, s, err, want)
		}
	}
}
