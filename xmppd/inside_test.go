package xmppd_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmppd"
	"github.com/farreach/farreach/xmppd/xmppdtest"
)

// clients is a pass for resources that begin with "in", until it is taken away.
type clients struct {
	mu  sync.Mutex
	end func()
}

func (*clients) May(resource string) bool { return len(resource) > 1 && resource[:2] == "in" }

func (c *clients) Enter(end func()) (leave func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end = end
	return func() {}, nil
}

func (c *clients) revoke() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end()
}

// A part of the process is on the server as an account without a password, with
// the resources of its pass and as long as that holds; and the process is told who
// comes and goes, and when it was heard last.
func TestInside(t *testing.T) {
	var srv *xmppdtest.Server
	came := make(chan string, 16)
	cfg := xmppdtest.Config{}
	cfg.Presence = func(j jid.JID) {
		last, there := srv.Seen(j)
		if there && time.Since(last) > time.Minute {
			t.Errorf("%s was heard %v ago", j, time.Since(last))
		}
		came <- map[bool]string{true: "+", false: "-"}[there] + j.String()
	}
	srv = xmppdtest.Run(t, cfg)
	in := srv.Inside()
	ctx, cancel := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() { srv.Serve(ctx, in) })
	defer serving.Wait()
	defer cancel()
	pass := new(clients)
	dial := func(resource string) (*xmpp.Session, error) {
		j, _ := jid.New("ann", srv.Domain, resource)
		return xmpp.Dial(t.Context(), xmpp.Config{JID: j, Addr: "inside", Inside: true, Log: slog.New(slog.DiscardHandler),
			Dial: func(ctx context.Context, _, _ string) (net.Conn, error) { return in.Dial(ctx, "ann", pass) }})
	}
	says := func(want string) {
		t.Helper()
		select {
		case got := <-came:
			if got != want {
				t.Errorf("told %s, want %s", got, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("nobody told of %s", want)
		}
	}
	if s, err := dial("out"); err == nil {
		t.Errorf("%s is bound, which the pass does not name", s.JID())
	}
	s, err := dial("inner")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(t.Context(), &stanza.Presence{}); err != nil {
		t.Fatal(err)
	}
	says("+ann@home.example/inner")
	far, err := xmpp.Dial(t.Context(), srv.Client("ann", "far"))
	if err != nil {
		t.Fatal(err)
	}
	if err := far.Send(t.Context(), &stanza.Presence{}); err != nil {
		t.Fatal(err)
	}
	says("+ann@home.example/far")
	far.Close()
	says("-ann@home.example/far")
	pass.revoke()
	says("-ann@home.example/inner")
	select {
	case <-s.Done():
	case <-time.After(time.Minute):
		t.Error("a session outlives its pass")
	}
	cancel()
	serving.Wait()
	if _, err := in.Dial(t.Context(), "ann", pass); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

var _ net.Listener = (*xmppd.Inside)(nil)
