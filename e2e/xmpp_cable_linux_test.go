package e2e_test

import (
	"context"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmppd"
)

// A cut cable, as XMPP sees it: a session is in a network of its own, whose
// only link goes down without a word to either end. Its sibling sees it
// unavailable within the configured ping time: the silence after which the
// server asks, and its patience with the answer (RA-083).
func TestXMPPCutCable(t *testing.T) {
	t.Parallel()
	const ping = 2 * time.Second
	i := newIsland(t, 80)
	c := newChild(t, "--listen", i.near, "--xmpp-ping", ping.String())
	c.command = "xmppd"
	c.start()
	text, err := os.ReadFile(c.where().PasswordFile)
	if err != nil {
		t.Fatal(err)
	}
	password := strings.TrimSpace(string(text))
	enter := func(cfg xmpp.Config) *xmpp.Session {
		s, err := xmpp.Dial(t.Context(), cfg)
		if err == nil {
			t.Cleanup(func() { s.Close() })
			err = s.Send(t.Context(), &stanza.Presence{Priority: -1})
		}
		if err != nil {
			t.Fatal(err)
		}
		return s
	}

	seen := make(chan string, 10)
	near := c.config("home", "phone", password)
	near.Handlers = new(xmpp.Handlers)
	near.Handlers.Presence(func(_ *xmpp.Session, p *stanza.Presence) {
		if p.From.Resource() == "lamp" {
			seen <- p.Type
		}
	})
	enter(near)
	far := c.config("home", "lamp", password)
	far.Dial, far.NoResume = i.dial, true
	enter(far)
	sees(t, seen, "")

	i.ip("link", "set", i.here, "down")
	cut := time.Now()
	sees(t, seen, "unavailable")
	took := time.Since(cut)
	t.Logf("unavailable %v after the cable was cut", took.Round(10*time.Millisecond))
	if most := ping + xmppd.DefaultPatience; took > most+busy {
		t.Errorf("unavailable after %v, want at most %v", took, most)
	}
}

// dial opens a connection from the island: a socket stays in the network in
// which it was made.
func (i *island) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	defer here.Close()
	there, err := os.Open("/run/netns/" + i.name)
	if err != nil {
		return nil, err
	}
	defer there.Close()
	runtime.LockOSThread() // for good unless the way back is found: then the thread ends with its goroutine
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	nc, dialErr := new(net.Dialer).DialContext(ctx, network, addr)
	if err := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	runtime.UnlockOSThread()
	return nc, dialErr
}
