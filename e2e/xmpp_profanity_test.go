package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/disco"
	"github.com/farreach/farreach/xmpp/ping"
	"github.com/farreach/farreach/xmpp/stanza"
)

// A stock client for people, on a terminal: it logs in with STARTTLS and SCRAM,
// sees its sibling, pings the server and the sibling, and is seen by it.
func TestProfanity(t *testing.T) {
	t.Parallel()
	profanity, tmux, openssl := foreign(t, "profanity"), foreign(t, "tmux"), foreign(t, "openssl")
	c := newChild(t)
	c.start()
	where := c.where()
	text, err := os.ReadFile(where.PasswordFile)
	if err != nil {
		t.Fatal(err)
	}
	password := strings.TrimSpace(string(text))

	const client = "https://farreach.example/e2e"
	seen := make(chan string, 10)
	cfg := c.config("home", "tablet", password)
	cfg.Handlers = new(xmpp.Handlers)
	info := &disco.Info{Identities: []disco.Identity{{Category: "client", Type: "handheld"}}, Features: []string{disco.NSInfo, ping.NS}}
	disco.Handle(cfg.Handlers, client, info)
	ping.Handle(cfg.Handlers)
	cfg.Handlers.Presence(func(_ *xmpp.Session, p *stanza.Presence) {
		if p.From.Resource() == "phone" {
			seen <- p.Type
		}
	})
	s, err := xmpp.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Send(t.Context(), &stanza.Presence{Priority: 7, Children: []stanza.Element{info.Caps(client)}}); err != nil {
		t.Fatal(err)
	}

	p := onTerminal(t, tmux, c.home, profanity)
	p.types("/tls certpath set "+believed(t, openssl, where.CAFile), "Certificate path set")
	host, port, _ := strings.Cut(where.XMPP, ":")
	p.types("/connect home@"+where.Domain+"/phone server "+host+" port "+port+" tls force", "password")
	p.types(password, `logged in successfully`)
	sees(t, seen, "")
	p.types("/account", `tablet \(7\), online`)
	p.types("/ping", `Ping response from home@`+where.Domain+`: `)
	p.types("/ping home@"+where.Domain+"/tablet", `Ping response from home@`+where.Domain+`/tablet: `)
	p.types("/quit", "")
	sees(t, seen, "unavailable")
}

// believed makes a directory of certificates as OpenSSL likes it.
func believed(t *testing.T, openssl, file string) string {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "ca.pem"), text, 0o600)
	}
	if err == nil {
		err = exec.Command(openssl, "rehash", dir).Run()
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// sees waits until something of what comes is as wanted.
func sees(t *testing.T, seen <-chan string, want string) {
	t.Helper()
	for late := time.After(patience); ; {
		select {
		case got := <-seen:
			if got == want {
				return
			}
		case <-late:
			t.Fatalf("it is not %q after %v", want, patience)
		}
	}
}

// terminal is one in which a program runs.
type terminal struct {
	t            *testing.T
	tmux, socket string
}

// onTerminal runs a program on a terminal of its own, until the test ends.
func onTerminal(t *testing.T, tmux, home, program string) *terminal {
	t.Helper()
	term := &terminal{t, tmux, filepath.Join(t.TempDir(), "tmux")}
	cmd := exec.Command(term.tmux, "-S", term.socket, "-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "50", program)
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home+"/config", "XDG_DATA_HOME="+home+"/share", "TERM=xterm", "LC_ALL=C.UTF-8")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tmux: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command(term.tmux, "-S", term.socket, "kill-server").Run() }) // it has ended, as a rule
	return term
}

// types types a line, and waits until the screen shows something; "": it does
// not wait.
func (term *terminal) types(line, until string) {
	term.t.Helper()
	if out, err := exec.Command(term.tmux, "-S", term.socket, "send-keys", "-l", line+"\r").CombinedOutput(); err != nil {
		term.t.Fatalf("tmux: %v: %s", err, out)
	}
	if until == "" {
		return
	}
	re := regexp.MustCompile(until)
	limit := time.After(patience)
	for look := time.Tick(50 * time.Millisecond); ; {
		screen, err := exec.Command(term.tmux, "-S", term.socket, "capture-pane", "-p").Output()
		if err == nil && re.Match(screen) {
			return
		}
		select {
		case <-look:
		case <-limit:
			term.t.Fatalf("the screen never shows %q: %v\n%s", until, err, screen)
		}
	}
}
