package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/farreach/farreach/internal/xmppservers"
)

// clockID is the di that a person has given to libcoap's server.
const clockID = "c10c0000-5d5f-4a8b-9d3a-0c1b2d3e4f50"

// describedClock is what a person writes of libcoap's server, which knows nothing of
// OIC.
func describedClock(t *testing.T, address string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "devices.json")
	text := fmt.Sprintf(`[{
  "address": %q, "di": %q, "n": "clock", "rt": ["x.example.clock"],
  "links": [
    {"href": "/time", "rt": ["x.example.time"], "if": ["oic.if.r"], "p": {"bm": 3}},
    {"href": "/example_data", "rt": ["x.example.data"], "if": ["oic.if.rw"], "p": {"bm": 3}}
  ]
}]`, address, clockID)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestProxyOfOthers: libcoap's server as it is, described by hand, and a device of
// OIC as it should be, are both read, written and watched from afar, over XMPP
// servers by three hands (RA-008, RA-009, RA-070).
func TestProxyOfOthers(t *testing.T) {
	for _, name := range []string{"xmppd", "prosody", "ejabberd"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := wires[0]
			clock := describedClock(t, w.theirServer(t, identity{}))
			phone := xmppAccountOf(t, name)
			lamp := startProc(t, exec.Command("farreach", "device", "--type", "lamp", "--name", "porch", "--lan"), "HOME="+t.TempDir())
			proxy := phone.begin("proxy", "--device", lanAddress(t, lamp), "--describe", clock, "--allow", "all", "--state", filepath.Join(t.TempDir(), "proxy.json"))
			proxy.says(t, " porch: on XMPP")
			proxy.says(t, " clock: on XMPP")

			phone.sees("clock", "reachable")
			phone.prints(`[{"href":"/time","rt":["x.example.time"],"if":["oic.if.r"],"anchor":"ocf://`+clockID+`","p":{"bm":3}}]`, "get", "clock/oic/res?rt=x.example.time")
			stamp := regexp.MustCompile(`^"[A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d"$`)
			if got := strings.TrimSpace(phone.does(0, "get", "clock/time")); !stamp.MatchString(got) {
				t.Errorf("the time is %s", got)
			}
			ticks := phone.begin("observe", "clock/time", "--count", "2")
			err := ticks.cmd.Wait()
			if told := strings.Split(ticks.out.String(), "\n"); err != nil || len(told) != 3 || !stamp.MatchString(told[0]) || told[0] == told[1] {
				t.Errorf("two seconds were told as %q, %v", told, err)
			}
			phone.does(0, "put", "clock/example_data", `{"note":"hello"}`)
			phone.prints(`{"note":"hello"}`, "get", "clock/example_data")
			phone.does(0, "put", "clock/example_data", `"hello"`)
			phone.prints(`"hello"`, "get", "clock/example_data")
			phone.refused(9, "4.05", "post", "clock/example_data", "value=1")
			phone.refused(9, "4.04", "get", "clock/async") // which was not described

			phone.does(0, "post", "porch/a/light", "value=true")
			phone.prints(`{"value":true,"dimming":100}`, "get", "porch/a/light")
			watch := phone.begin("observe", "porch/a/light")
			watch.says(t, `"value":true`)
			phone.does(0, "set", "porch/a/light", "value=false")
			watch.says(t, `"value":false`)
		})
	}
}

// xmppAccountOf is a person with an account of that server, and nothing else.
func xmppAccountOf(t *testing.T, server string) *path {
	t.Helper()
	p := &path{t: t, home: t.TempDir(), by: "xmpp"}
	if server == "xmppd" {
		c := newChild(t)
		c.command = "xmppd"
		c.start()
		where := c.where()
		p.env = []string{"FARREACH_XMPP=home@" + where.Domain, "FARREACH_XMPP_ADDR=" + where.XMPP, "FARREACH_PASSWORD_FILE=" + where.PasswordFile, "FARREACH_CA_FILE=" + where.CAFile}
		return p
	}
	s := xmppservers.Run(t, xmppservers.Kind(server), xmppservers.Config{})
	password := filepath.Join(p.home, "password")
	if err := os.WriteFile(password, []byte("venus and mars\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.env = []string{"FARREACH_XMPP=ann@" + s.Domain, "FARREACH_XMPP_ADDR=" + s.Addr, "FARREACH_PASSWORD_FILE=" + password, "FARREACH_CA_FILE=" + s.CAFile}
	return p
}

// lanAddress is where a device answers that was started with --lan.
func lanAddress(t *testing.T, device *proc) string {
	t.Helper()
	answers := regexp.MustCompile(`answers on the local network at coap://HOST:(\d+)`)
	device.says(t, " at coap://HOST:")
	return "127.0.0.1:" + answers.FindStringSubmatch(device.out.String())[1]
}
