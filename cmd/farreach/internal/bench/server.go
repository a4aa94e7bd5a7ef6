package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/internal/secret"
)

// server is a whole farreach, as a user starts it.
type server struct {
	cmd   *exec.Cmd
	err   bytes.Buffer
	where struct { // its address file
		HTTP         string `json:"http"`
		CoAPTCP      string `json:"coap_tcp"`
		CoAPSTCP     string `json:"coaps_tcp"`
		XMPP         string `json:"xmpp"`
		Domain       string `json:"domain"`
		Account      string `json:"account"`
		PasswordFile string `json:"password_file"`
		TokenFile    string `json:"token_file"`
		CAFile       string `json:"ca_file"`
	}
	token secret.String
	ready time.Duration // from its start until it said so
}

// up starts a server on data, a name below the temporary directory, and waits
// until it is ready. Nothing of the user's own is touched.
func (r *run) up(ctx context.Context, data string, flags ...string) (*server, error) {
	home := filepath.Join(r.dir, data)
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, err
	}
	addrFile := filepath.Join(home, "addr")
	s := &server{cmd: exec.CommandContext(ctx, r.Program, append([]string{"up",
		"--data", filepath.Join(home, "data"), "--profile-dir", filepath.Join(home, "profiles"),
		"--port-offset", "auto", "--addr-file", addrFile}, flags...)...)}
	s.cmd.Env = append(ownEnviron(), "HOME="+home)
	s.cmd.Stderr = &s.err
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(os.Interrupt) }
	s.cmd.WaitDelay = patience
	start := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	text, err := awaitFile(ctx, addrFile)
	s.ready = time.Since(start)
	if err == nil {
		err = s.enter(text)
	}
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("farreach up: %w: %s", err, bytes.TrimSpace(s.err.Bytes()))
	}
	return s, nil
}

// ownEnviron is the environment without what would configure farreach.
func ownEnviron() (env []string) {
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "FARREACH_") {
			env = append(env, e)
		}
	}
	return env
}

// awaitFile returns what is in a file as soon as it is there.
func awaitFile(ctx context.Context, name string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for tick := time.NewTicker(2 * time.Millisecond); ; {
		text, err := os.ReadFile(name)
		if err == nil {
			tick.Stop()
			return text, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tick.Stop()
			return nil, fmt.Errorf("not ready: %w", ctx.Err())
		}
	}
}

func (s *server) enter(addr []byte) error {
	if err := json.Unmarshal(addr, &s.where); err != nil {
		return err
	}
	token, err := os.ReadFile(s.where.TokenFile)
	s.token = secret.String(bytes.TrimSpace(token))
	return err
}

// stop ends the server as Ctrl-C does.
func (s *server) stop() {
	s.cmd.Process.Signal(os.Interrupt) // fails if it has ended by itself
	s.cmd.Wait()                       // how it ends does not matter: it has served
}

func (s *server) api() *apiclient.Client {
	return apiclient.New(apiclient.Config{Base: "http://" + s.where.HTTP, Token: s.token, Timeout: patience})
}

// uri is where devices go, without TLS.
func (s *server) uri() string { return "coap+tcp://" + s.where.CoAPTCP }
