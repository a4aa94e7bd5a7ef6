package ibb_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/farreach/farreach/internal/xmppservers"
	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/ibb"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stanza"
)

// TestSlixmppEcho: a peer by other hands, on a server by other hands, sends back
// what it gets. It takes blocks of 4,000 bytes at most, and answers in iqs
// whatever form the session has.
func TestSlixmppEcho(t *testing.T) {
	const python, password = "/usr/bin/python3", "venus and mars"
	if err := exec.Command(python, "-c", "import slixmpp").Run(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("python3-slixmpp is not installed")
		}
		t.Skip("python3-slixmpp is not installed")
	}
	srv := xmppservers.Run(t, xmppservers.Prosody, xmppservers.Config{Accounts: map[string]string{"ann": password}})
	peer := address(t, "ann@"+srv.Domain+"/echo")
	startEcho(t, exec.CommandContext(t.Context(), python, "testdata/echo.py", srv.Addr, peer.String(), password, srv.CAFile))

	e := ibb.New(ibb.Config{})
	defer e.Close()
	cfg := xmpp.Config{
		JID: address(t, "ann@"+srv.Domain+"/phone"), Password: password, Addr: srv.Addr, TLS: &tls.Config{RootCAs: srv.Roots},
		Handlers: new(xmpp.Handlers), Log: slog.New(slog.DiscardHandler),
	}
	e.Handle(cfg.Handlers)
	s, err := xmpp.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Send(t.Context(), &stanza.Presence{Priority: -1}); err != nil {
		t.Fatal(err)
	}
	for _, form := range []ibb.Form{ibb.IQ, ibb.Message} {
		exchange(t, e, s, peer, form)
	}
}

// exchange sends something to the peer and wants it back.
func exchange(t *testing.T, e *ibb.Endpoint, s *xmpp.Session, peer jid.JID, form ibb.Form) {
	c, err := e.Open(t.Context(), s, peer, form)
	if err != nil {
		t.Fatal(err)
	}
	if c.Block() > 4000 {
		t.Errorf("blocks of %d bytes", c.Block())
	}
	data := make([]byte, 50_000)
	rand.Read(data)
	c.SetDeadline(time.Now().Add(time.Minute))
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(data)
		wrote <- err
	}()
	got := make([]byte, len(data))
	if n, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%s: %d bytes came back: %v", form, n, err)
	}
	if err := <-wrote; err != nil {
		t.Errorf("%s: %v", form, err)
	}
	c.Close()
}

// startEcho starts the peer and waits until it is available.
func startEcho(t *testing.T, cmd *exec.Cmd) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		cmd.Wait()
		t.Fatalf("slixmpp says %q, %v: %s", line, err, log.String())
	}
}

func address(t *testing.T, s string) jid.JID {
	j, err := jid.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return j
}
