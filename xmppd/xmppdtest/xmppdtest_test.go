package xmppdtest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/ping"
	"github.com/farreach/farreach/xmppd/xmppdtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ask(t *testing.T, cfg xmpp.Config) {
	s, err := xmpp.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if n := s.Terms().Limits.Stanza; n != 262_144 {
		t.Errorf("the server takes stanzas of %d bytes", n)
	}
	if _, err := ping.Send(t.Context(), s, jid.JID{}); err != nil {
		t.Error(err)
	}
}

func TestLoopback(t *testing.T) {
	srv := xmppdtest.Run(t, xmppdtest.Config{})
	ask(t, srv.Client("ann", "x"))
	direct := srv.Client("bob", "")
	direct.Addr, direct.Direct = srv.TLS, true
	ask(t, direct)
}

// TestMemory: hours pass at once.
func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := xmppdtest.Run(t, xmppdtest.Config{Memory: true})
		s, err := xmpp.Dial(t.Context(), srv.Client("ann", "x"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Hour)
		if s.Err() != nil {
			t.Error(s.Err())
		}
		s.Close()
		srv.Stop()
	})
}
