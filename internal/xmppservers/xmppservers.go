// Package xmppservers runs the XMPP servers of other people, Prosody and
// ejabberd from Debian's packages, so that tests meet the real thing.
//
//	Run(t, Prosody, cfg) ── configuration, certificate, accounts ──▶ t.TempDir()
//	     │                                                             │
//	     └── the program, on free ports of 127.0.0.1 ◀─────────────────┘
//	t ends: the program too
//
// The servers are configured to get out of the way: no rate limits, no
// federation, sessions resumed for a minute. Nothing of the machine's own
// configuration is read or changed, and no daemon of the package is needed.
package xmppservers

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/internal/localca"
	"github.com/farreach/farreach/internal/ports"
)

// Kind is a program.
type Kind string

// The programs.
const (
	Prosody  Kind = "prosody"
	Ejabberd Kind = "ejabberd"
)

// Kinds lists them.
var Kinds = []Kind{Prosody, Ejabberd}

// Config says what a server serves. Its zero value is an account ann with the
// password "venus and mars" at home.example.
type Config struct {
	Domain     string            // "": home.example
	Accounts   map[string]string // local part to password; nil: ann
	SHA256     bool              // keep passwords for SCRAM-SHA-256; false: for SCRAM-SHA-1
	MaxStanza  int               // bytes; 0: 262,144
	NoResume   bool              // without stream management
	ResumeTime time.Duration     // whole seconds; 0: 60 s

	// Text is a configuration to use instead of ours, with $dir, $port, $tlsport
	// and $domain in it, and $wssport if it has WebSockets. "": ours.
	Text string
}

// Server is a server that runs.
type Server struct {
	Kind   Kind
	Domain string
	Addr   string         // host:port for STARTTLS
	TLS    string         // host:port for TLS from the first byte
	Web    string         // host:port for WebSockets over TLS; "": none
	Roots  *x509.CertPool // whom its certificate is from
	CAFile string         // the same as a file
	PID    int
	Log    string // file

	ports  *ports.Held // until Stop
	cmd    *exec.Cmd
	exited chan error
}

// startTime is how long a server may take to be there; a busy machine is slow.
const startTime = 60 * time.Second

// Installed reports whether the program is there.
func Installed(k Kind) bool {
	_, err := exec.LookPath(programs[k].name)
	return err == nil
}

var programs = map[Kind]struct{ name, pkg string }{
	Prosody:  {"prosody", "prosody"},
	Ejabberd: {"ejabberdctl", "ejabberd"}, // what runs is erl
}

// Run starts a server for a test, and ends it with the test. Where the program
// is not installed the test is skipped, unless CI=true.
func Run(t testing.TB, k Kind, cfg Config) *Server {
	t.Helper()
	if !Installed(k) {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not installed", programs[k].pkg)
		}
		t.Skipf("%s is not installed: apt-get install %s", k, programs[k].pkg)
	}
	s, err := Start(t.Context(), k, t.TempDir(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// Start starts a server whose files are in dir, and waits until it serves. The
// caller stops it.
func Start(ctx context.Context, k Kind, dir string, cfg Config) (*Server, error) {
	if cfg.Domain == "" {
		cfg.Domain = "home.example"
	}
	if cfg.Accounts == nil {
		cfg.Accounts = map[string]string{"ann": "venus and mars"}
	}
	if cfg.MaxStanza == 0 {
		cfg.MaxStanza = 262_144
	}
	if cfg.ResumeTime == 0 {
		cfg.ResumeTime = time.Minute
	}
	s := &Server{Kind: k, Domain: cfg.Domain, Log: filepath.Join(dir, "log"), exited: make(chan error, 1)}
	if err := s.certify(dir); err != nil {
		return nil, err
	}
	if err := s.choosePorts(); err != nil {
		return nil, err
	}
	var err error
	if k == Prosody {
		s.cmd, err = s.prosody(dir, cfg)
	} else {
		s.cmd, err = s.ejabberd(dir, cfg)
	}
	if err == nil {
		err = s.start(ctx)
	}
	if err != nil {
		s.ports.Release()
		return nil, fmt.Errorf("%s: %w", k, err)
	}
	return s, nil
}

// certify has an authority of its own in dir make a certificate for the domain.
func (s *Server) certify(dir string) error {
	ca, err := localca.Open(localca.Config{Dir: filepath.Join(dir, "tls"), Hosts: []string{s.Domain}})
	if err != nil {
		return err
	}
	s.CAFile = ca.CAFile()
	s.Roots, err = localca.Pool(s.CAFile)
	return err
}

// choosePorts finds ports that stay free until the server asks for them, seconds
// later.
func (s *Server) choosePorts() (err error) {
	addrs := []*string{&s.Addr, &s.TLS, &s.Web}
	if s.ports, err = ports.Hold(len(addrs)); err != nil {
		return err
	}
	for i, addr := range addrs {
		*addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.ports.First+i))
	}
	return nil
}

func port(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	return p
}

// configure fills in a configuration.
func (s *Server) configure(text, dir string, cfg Config, more ...string) string {
	if !strings.Contains(text, "$wssport") {
		s.Web = ""
	}
	return strings.NewReplacer(append(more, "$dir", dir, "$port", port(s.Addr), "$tlsport", port(s.TLS), "$wssport", port(s.Web),
		"$stanza", strconv.Itoa(cfg.MaxStanza), "$resume", seconds(cfg.ResumeTime), "$domain", cfg.Domain)...).Replace(text)
}

// WebSocket is the URI of WebSockets.
func (s *Server) WebSocket() string { return "wss://" + s.Web + "/xmpp-websocket" }

// start runs the command and waits until its ports answer and its accounts are
// there.
func (s *Server) start(ctx context.Context) error {
	log, err := os.Create(s.Log)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = ownGroup()
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.PID = s.cmd.Process.Pid
	go func() { s.exited <- s.cmd.Wait() }()
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		if s.serves(ctx) {
			return nil
		}
		select {
		case err := <-s.exited:
			s.exited <- err
			return fmt.Errorf("ended at once: %w\n%s", err, s.tail())
		case <-ctx.Done():
			s.Stop()
			return fmt.Errorf("did not start: %w\n%s", ctx.Err(), s.tail())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// ready is what a server writes to its log when its accounts are there.
const ready = "accounts are there"

func (s *Server) serves(ctx context.Context) bool {
	if s.Kind == Ejabberd {
		if b, err := os.ReadFile(s.Log); err != nil || !bytes.Contains(b, []byte(ready)) {
			return false
		}
	}
	for _, addr := range []string{s.Addr, s.TLS, s.Web} {
		if addr == "" {
			continue
		}
		nc, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			return false
		}
		nc.Close()
	}
	return true
}

func (s *Server) tail() []byte {
	b, err := os.ReadFile(s.Log)
	if err != nil {
		return nil
	}
	return b[max(0, len(b)-4000):]
}

// Stop ends the server as its own tools would, or, after 10 s, at once.
func (s *Server) Stop() {
	defer s.ports.Release()
	select {
	case err := <-s.exited: // before
		s.exited <- err
		return
	default:
	}
	terminate(s.PID)
	select {
	case err := <-s.exited:
		s.exited <- err
	case <-time.After(10 * time.Second):
		s.Kill()
	}
}

// Kill ends the server at once, as a crash does.
func (s *Server) Kill() {
	kill(s.PID)
	err := <-s.exited
	s.exited <- err
}

// Restart starts a server again that was stopped or killed: the same ports,
// files and accounts.
func (s *Server) Restart(ctx context.Context) error {
	<-s.exited
	old := s.cmd
	s.cmd = exec.Command(old.Path, old.Args[1:]...)
	s.cmd.Dir, s.cmd.Env = old.Dir, old.Env
	return s.start(ctx)
}

// writeFile writes a file of a server, with directories as needed.
func writeFile(text string, path ...string) error {
	name := filepath.Join(path...)
	return errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600))
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }
