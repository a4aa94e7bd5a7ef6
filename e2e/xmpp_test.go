package e2e_test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/internal/localca"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/internal/xmppservers"
	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stanza"
)

// A stock client of another make logs in with STARTTLS and SCRAM, sees its
// sibling come and go, pings, and exchanges bytes in-band. It knows channel
// binding by tls-unique only, which TLS 1.3 has not.
func TestSlixmpp(t *testing.T) {
	t.Parallel()
	const python = "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import slixmpp").Run(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("python3-slixmpp is not installed")
		}
		t.Skip("python3-slixmpp is not installed")
	}
	for _, command := range []string{"up", "xmppd"} {
		c := newChild(t, "--xmpp-channel-binding=false")
		c.command = command
		c.start()
		out, err := exec.CommandContext(t.Context(), python, "testdata/xmpp/home.py", filepath.Join(c.home, "addr.json")).Output()
		if err != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
		want := "presence True\nping True\nbytes True\nbytes True\ngone True\ndone"
		if got := strings.TrimSpace(string(out)); got != want {
			t.Errorf("%s: it saw:\n%s", command, got)
		}
	}
}

// The configurations of deploy/ make of Prosody and ejabberd a server that fits:
// farreach doctor finds nothing broken. Ours fits too.
func TestDeployedServers(t *testing.T) {
	t.Parallel()
	for _, kind := range xmppservers.Kinds {
		t.Run(string(kind), func(t *testing.T) {
			s := xmppservers.Run(t, kind, xmppservers.Config{Text: deployed(t, kind), SHA256: true})
			password := filepath.Join(t.TempDir(), "password")
			if err := os.WriteFile(password, []byte("venus and mars\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			fits(t, t.TempDir(), "--xmpp", "ann@"+s.Domain, "--xmpp-addr", s.Addr, "--password-file", password, "--ca-file", s.CAFile)
		})
	}
	t.Run("ours", func(t *testing.T) {
		c := newChild(t)
		c.start()
		where := c.where()
		fits(t, c.home, "--xmpp", "home@"+where.Domain, "--xmpp-addr", where.XMPP, "--password-file", where.PasswordFile, "--ca-file", where.CAFile)
		fits(t, c.home, "--xmpp", "home@"+where.Domain, "--xmpp-addr", where.XMPPS, "--direct-tls", "--password-file", where.PasswordFile, "--ca-file", where.CAFile)
	})
}

// deployed is the configuration of deploy/ with this test's ports and files.
func deployed(t *testing.T, kind xmppservers.Kind) string {
	name, change := "../deploy/prosody.cfg.lua", []string{
		"/run/prosody/prosody.pid", "$dir/prosody.pid", "/var/lib/prosody", "$dir/data",
		"/etc/prosody/certs/home.example.key", "$dir/tls/server.pem", "/etc/prosody/certs/home.example.crt", "$dir/tls/server.pem",
		"c2s_ports = { 5222 }", "run_as_root = true\ndaemonize = false\ninterfaces = { \"127.0.0.1\" }\nc2s_ports = { $port }",
		"{ 5223 }", "{ $tlsport }", `log = { info = "*syslog" }`, `log = { { levels = { min = "info" }, to = "console" } }`,
	}
	if kind == xmppservers.Ejabberd {
		name, change = "../deploy/ejabberd.yml", []string{
			"/etc/ejabberd/home.example.pem", "$dir/tls/server.pem",
			"port: 5222", "port: $port\n    ip: \"127.0.0.1\"", "port: 5223", "port: $tlsport\n    ip: \"127.0.0.1\"",
		}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(change); i += 2 {
		if !strings.Contains(string(text), change[i]) {
			t.Errorf("%s does not say %s", name, change[i])
		}
	}
	return strings.NewReplacer(change...).Replace(string(text))
}

// fits checks that farreach doctor finds nothing broken.
func fits(t *testing.T, home string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "farreach", append([]string{"doctor"}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+home)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("farreach doctor: %v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// whereabouts are what the address file says of XMPP.
type whereabouts struct {
	XMPP         string `json:"xmpp"`
	XMPPS        string `json:"xmpps"`
	Domain       string `json:"domain"`
	PasswordFile string `json:"password_file"`
	CAFile       string `json:"ca_file"`
}

func (c *child) where() (s whereabouts) {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(c.home, "addr.json"))
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

// feed runs a command of farreach, which reads stdin, and must succeed.
func (c *child) feed(stdin string, args ...string) {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), "farreach", args...)
	cmd.Env, cmd.Stdin = append(os.Environ(), "HOME="+c.home), strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("farreach %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// config is how a client gets into the server.
func (c *child) config(user, resource, password string) xmpp.Config {
	c.t.Helper()
	where := c.where()
	roots, err := localca.Pool(where.CAFile)
	if err != nil {
		c.t.Fatal(err)
	}
	j, err := jid.New(user, where.Domain, resource)
	if err != nil {
		c.t.Fatal(err)
	}
	return xmpp.Config{JID: j, Password: secret.String(password), Addr: where.XMPP, TLS: &tls.Config{RootCAs: roots},
		Log: slog.New(slog.DiscardHandler)}
}

// a password that the command makes for one device opens the account's
// XMPP for that device alone, outlasts the account's password, and ends with what
// it opened when it is removed.
func TestDeviceLogIn(t *testing.T) {
	const di = "0685b960-736f-46f7-bec0-9e6cbd61adc1"
	c := newChild(t)
	c.start()
	c.feed("a long password\n", "account", "add", "ada", "--password-stdin")
	file := filepath.Join(t.TempDir(), "lamp")
	c.feed("", "account", "login", "add", "ada", "lamp", "--device", di, "--password-file", file)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatal("the file with the password is readable by others: ", err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lamp := strings.TrimSpace(string(text))
	c.feed("another password\n", "account", "passwd", "ada", "--password-stdin")
	s, err := xmpp.Dial(t.Context(), c.config("ada", "OIC/1.0/oic.d.light/"+di, lamp))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var refused *stanza.Error
	if _, err := xmpp.Dial(t.Context(), c.config("ada", "phone", lamp)); !errors.As(err, &refused) || refused.Condition != stanza.NotAllowed {
		t.Errorf("another resource: %v", err)
	}
	c.feed("", "account", "login", "rm", "ada", "lamp")
	select {
	case <-s.Done():
	case <-time.After(patience):
		t.Error("the session is open still")
	}
	if _, err := xmpp.Dial(t.Context(), c.config("ada", "OIC/1.0/oic.d.light/"+di, lamp)); err == nil {
		t.Error("the password lets in")
	}
}

// An account made by the command is one of XMPP too. What it opened ends when its
// password changes, and when it is removed (threats rule 2).
func TestAccountsOfBothWorlds(t *testing.T) {
	c := newChild(t)
	c.start()
	c.feed("a long password\n", "account", "add", "ada", "--password-stdin")
	enter := func(password string) (*xmpp.Session, error) {
		return xmpp.Dial(t.Context(), c.config("ada", "phone", password))
	}
	for _, lose := range []func(){
		func() { c.feed("another password\n", "account", "passwd", "ada", "--password-stdin") },
		func() { c.feed("", "account", "rm", "ada", "--yes") },
	} {
		s, err := enter("a long password")
		if err != nil {
			s, err = enter("another password")
		}
		if err != nil {
			t.Fatal(err)
		}
		lose()
		select {
		case <-s.Done():
		case <-time.After(patience):
			t.Error("the session is open still")
		}
		s.Close()
		if s, err := enter("a long password"); err == nil {
			s.Close()
			t.Error("the old password lets in")
		}
	}
	if s, err := enter("another password"); err == nil {
		s.Close()
		t.Error("an account that is no more lets in")
	}
}
